"""What students are scored too high by, where their teachers were trained on the labels of their fold.

    python -m benchmarks.students

Patients with random labels, and with one feature that tells them a little; a logistic regression is its own
teacher. Its student learns labels, the teacher's own out-of-fold predictions, or the predictions of teachers
that were trained without the student's fold as well. With random labels every AUC should be 0.5.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.scores.metrics import mean_fold_auc
from trainables.common.types import Float64Array, IntArray

_PATIENTS, _FEATURES, _FOLDS = 100, 30, 4
_TAUGHT = ("labels", "own out of fold", "without its fold")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sets", type=int, default=24, help="simulated sets of patients (default: 24)")
    asked = parser.parse_args(arguments)
    print("| signal | weight of the teacher | teacher |", " | ".join(_TAUGHT), "|")
    print("|" + " --- |" * (3 + len(_TAUGHT)))
    for signal in (0.0, 1.0):
        for weight in (0.5, 1.0):
            found = np.array([areas(signal, weight, seed) for seed in range(asked.sets)])
            errors = found.std(axis=0, ddof=1) / np.sqrt(len(found))
            cells = [
                f"{mean:.3f} ± {error:.3f}" for mean, error in zip(found.mean(axis=0), errors, strict=True)
            ]
            print("|", " | ".join([f"{signal:g}", f"{weight:g}", *cells]), "|", flush=True)


def areas(signal: float, weight: float, seed: int) -> list[float]:
    """AUC of the teacher, and of students that learn each of `_TAUGHT`, on one simulated set.

    Args:
        signal: Distance of the classes in the one feature that tells them, in standard deviations.
        weight: Share of the teacher in what a student learns.
        seed: Seed of patients and folds.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(_PATIENTS) % 2
    features = random.normal(size=(_PATIENTS, _FEATURES))
    features[:, 0] += signal * labels
    folds = random.permutation(_PATIENTS) % _FOLDS
    everyone = np.ones(_PATIENTS, dtype=bool)
    own = _out_of_fold(features, labels, folds, everyone)
    predicted = {name: np.zeros(_PATIENTS) for name in _TAUGHT}
    for fold in range(_FOLDS):
        training = folds != fold
        without = _out_of_fold(features, labels, folds, training)
        taught = (labels, (1 - weight) * labels + weight * own, (1 - weight) * labels + weight * without)
        for name, targets in zip(_TAUGHT, taught, strict=True):
            student = _fitted(features[training], np.asarray(targets, dtype=np.float64)[training])
            predicted[name][~training] = student.predict_proba(features[~training])[:, 1]
    return [_auc(labels, scores, folds) for scores in (own, *predicted.values())]


def _out_of_fold(
    features: Float64Array, labels: IntArray, folds: IntArray, allowed: NDArray[np.bool_]
) -> Float64Array:
    """Predictions of each fold by a model of the other allowed patients; 0 for those that are not allowed."""
    found = np.zeros(len(labels))
    for fold in np.unique(folds[allowed]):
        training, own = allowed & (folds != fold), allowed & (folds == fold)
        teacher = _fitted(features[training], labels[training].astype(np.float64))
        found[own] = teacher.predict_proba(features[own])[:, 1]
    return found


def _fitted(features: Float64Array, targets: Float64Array) -> Any:
    """A logistic regression on shares: each patient once for each class."""
    from sklearn.linear_model import LogisticRegression

    classes = np.repeat([0, 1], len(targets))
    shares = np.concatenate([1 - targets, targets])
    kept = shares > 0
    model = LogisticRegression(C=1.0, max_iter=300)
    return model.fit(np.tile(features, (2, 1))[kept], classes[kept], sample_weight=shares[kept])


def _auc(labels: IntArray, scores: Float64Array, folds: IntArray) -> float:
    return float(mean_fold_auc(labels, np.stack([1 - scores, scores], axis=1), folds))


if __name__ == "__main__":
    main()
