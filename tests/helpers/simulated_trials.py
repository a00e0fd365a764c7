"""Out-of-fold predictions of simulated trials, for tests of ensembles."""

import numpy as np

from results.run.records import OutOfFold
from results.scores.calibration import sigmoid


def simulate(trials=4, images=300, strength=1.0, seed=0, folds=5, labels=None, shift=0.0):
    """Trials whose scores share the signal and have independent noise."""
    random = np.random.default_rng(seed)
    patients = np.arange(images) // 2
    labels = random.permutation(np.arange(images) % 2) if labels is None else labels
    found = {}
    for number in range(trials):
        positive = sigmoid(strength * labels + random.normal(size=images) + shift)
        probabilities = np.stack([1 - positive, positive], axis=1)
        found[number] = OutOfFold(
            np.arange(images), labels, patients % folds, patients.astype(str), probabilities
        )
    return found
