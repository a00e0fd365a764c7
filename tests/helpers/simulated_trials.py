"""Out-of-fold predictions of simulated trials, for tests of rankings and ensembles."""

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


def simulate_two_kinds(images=400, folds=5, seed=0, each=2):
    """Trials that differ in what they are good at; a quarter of the images is positive.

    The even ones rank three quarters of the positives above all and lose the others: AUC 0.75, F2 0.79.
    The odd ones find all positives, below three tenths of the negatives: AUC 0.70, F2 0.85.
    """
    random = np.random.default_rng(seed)
    rows, patients = np.arange(images), np.arange(images) // 2
    labels = (random.permutation(images // 2) % 4 == 0).astype(np.int64)[patients]
    found = {}
    for number in range(2 * each):
        noise, luck = 0.3 * random.normal(size=images), np.empty(images)
        for label in (0, 1):  # the shares are exact, so that luck does not blur the two kinds
            own = labels == label
            luck[own] = (random.permutation(own.sum()) + 0.5) / own.sum()
        if number % 2 == 0:
            score = np.where(labels == 1, np.where(luck < 0.75, 3.0, -3.0), 0.0)
        else:
            score = np.where(labels == 1, 1.0, np.where(luck < 0.3, 3.0, -2.0))
        positive = sigmoid(score + noise)
        probabilities = np.stack([1 - positive, positive], axis=1)
        found[number] = OutOfFold(rows, labels, patients % folds, patients.astype(str), probabilities)
    return found
