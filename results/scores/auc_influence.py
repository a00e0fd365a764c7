"""Influence of each patient on the mean fold AUC, the basis of its variance.

The influence of an image is how far its placement among the images of the other class lies from the AUC.
Images of a patient are correlated, so their influences are added up, and patients are what varies.

Source:
    DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44; Obuchowski (1997), "Nonparametric analysis of
    clustered ROC curve data", Biometrics 53.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.run.records import OutOfFold
from results.scores.decisions import ranking_scores, scored_classes
from trainables.common.errors import DataError
from trainables.common.types import FloatArray, IntArray


def auc_influences(predictions: OutOfFold) -> FloatArray:
    """Return the influence of each patient on the mean over folds of the AUC within each fold.

    Args:
        predictions: Out-of-fold predictions of one trial. A fold with a single class has no part in the mean;
            more than two classes give the macro one-against-rest mean.

    Returns:
        Shape (patients,), in sorted order of the patients' names; the sum of squares is the variance of the
        mean fold AUC for fold models that stay as they are. All 0 where no fold holds two classes.

    >>> found = auc_influences(OutOfFold(np.arange(4), np.array([0, 0, 1, 1]), np.zeros(4, dtype=int),
    ...     np.array(["a", "b", "c", "d"]), np.array([[1, 0], [0.3, 0.7], [0.4, 0.6], [0, 1]])))
    >>> found.round(3).tolist()
    [0.144, -0.144, -0.144, 0.144]
    """
    labels, folds = predictions.labels, predictions.folds
    by_image = np.zeros(len(labels))
    parts = [part for part in fold_parts(folds) if np.ptp(labels[part]) > 0]
    for part in parts:
        by_image[part] = _fold_influences(labels[part], predictions.probabilities[part]) / len(parts)
    patients = np.unique(predictions.groups, return_inverse=True)[1]
    number = int(patients.max()) + 1
    correction = np.sqrt(number / (number - 1)) if number > 1 else 1.0
    return np.bincount(patients, weights=by_image, minlength=number) * correction


def check_same_images(first: OutOfFold, second: OutOfFold) -> None:
    """Raise `DataError` unless both hold the same images in the same folds."""
    if not (np.array_equal(first.rows, second.rows) and np.array_equal(first.folds, second.folds)):
        raise DataError(
            "a paired difference needs predictions of the same images in the same folds; "
            f"found {len(first.rows)} and {len(second.rows)} rows that do not match"
        )


def fold_parts(folds: IntArray) -> list[IntArray]:
    """Return the positions of each fold, in order of the folds."""
    return [np.flatnonzero(folds == fold) for fold in np.unique(folds)]


def _fold_influences(labels: IntArray, probabilities: FloatArray) -> FloatArray:
    """Influence of each image on the AUC of its fold, shape (images,)."""
    classes = [one for one in scored_classes(probabilities.shape[1]) if (labels == one).any()]
    found = [_class_influences(labels == one, ranking_scores(probabilities, one)) for one in classes]
    return np.mean(found, axis=0)


def _class_influences(is_positive: NDArray[np.bool_], scores: NDArray[Any]) -> FloatArray:
    positives, negatives = np.sort(scores[is_positive]), np.sort(scores[~is_positive])
    placements = np.empty(len(scores))
    placements[is_positive] = _share_below(negatives, scores[is_positive])
    placements[~is_positive] = 1.0 - _share_below(positives, scores[~is_positive])
    area = placements[is_positive].mean()
    return (placements - area) / np.where(is_positive, len(positives), len(negatives))


def _share_below(ordered: NDArray[Any], scores: NDArray[Any]) -> NDArray[Any]:
    """Share of ordered values below each score; equal ones count one half."""
    left, right = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    return (left + right) / (2.0 * len(ordered))
