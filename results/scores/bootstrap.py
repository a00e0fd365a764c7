"""Resamples of patients, and the AUC of many resamples at once.

A resample of patients with replacement gives each image a count, the number of times that it is drawn. A
statistic is therefore a function of counts of shape (resamples, images), and an AUC of counts is a weighted
Mann-Whitney count on scores that are sorted once. Choosing again on resampled patients and the bands of
curves are built on it; intervals of an AUC are not, see `auc_interval`.

Source:
    Field and Welsh (2007), "Bootstrapping clustered data".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.scores.decisions import ranking_scores, scored_classes
from trainables.common.types import FloatArray, IntArray

# Counts (resamples, images) -> values (resamples,); NaN where a resample does not define the statistic.
Statistic = Callable[[IntArray], FloatArray]


@dataclass(frozen=True, slots=True)
class _Ranking:
    """Images of one fold sorted by one score.

    Attributes:
        order: Images by ascending score, shape (images of the fold,).
        is_positive: True for positive images, in that order, shape (images of the fold,).
        starts: Position at which each run of equal scores begins, shape (distinct scores,).
    """

    order: IntArray
    is_positive: NDArray[np.bool_]
    starts: IntArray

    def areas(self, counts: IntArray) -> FloatArray:
        """Area under the ROC curve of each resample, NaN where it holds one class."""
        drawn = counts[:, self.order]
        positives = np.add.reduceat(drawn * self.is_positive, self.starts, axis=1)
        negatives = np.add.reduceat(drawn, self.starts, axis=1) - positives
        below = np.cumsum(negatives, axis=1) - negatives
        twice_wins = (positives * (2 * below + negatives)).sum(axis=1)
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        undefined = np.full(len(counts), np.nan)
        return np.divide(twice_wins, 2 * pairs, out=undefined, where=pairs > 0)


def fold_auc_statistic(
    labels: IntArray, probabilities: FloatArray, folds: IntArray | None = None
) -> Statistic:
    """Return the mean over folds of the AUC within each fold, as a function of counts.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Class probabilities, shape (images, classes); more than two classes give the macro
            one-against-rest mean.
        folds: Fold of each image, shape (images,); None takes all images as one fold. A fold that has a
            single class in a resample is left out of that resample's mean.

    >>> area = fold_auc_statistic(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    >>> area(np.array([[1, 1], [2, 0]]))
    array([ 1., nan])
    """
    folds = np.zeros_like(labels) if folds is None else folds
    classes = scored_classes(probabilities.shape[1])
    rankings = [
        [
            _ranking(np.flatnonzero(folds == fold), labels == index, ranking_scores(probabilities, index))
            for index in classes
        ]
        for fold in np.unique(folds)
    ]

    def mean_area(counts: IntArray) -> FloatArray:
        return _mean_of_defined([_mean_of_defined([one.areas(counts) for one in fold]) for fold in rankings])

    return mean_area


def draw_counts(patients: IntArray, resamples: int, random: np.random.Generator) -> IntArray:
    """Draw patients with replacement, and return how often each image is drawn with its patient.

    Args:
        patients: 0-based number of the patient of each image, shape (images,).
        resamples: Number of resamples.
        random: Where the draws come from.

    Returns:
        Counts, shape (resamples, images).
    """
    number = int(patients.max()) + 1
    drawn = random.integers(number, size=(resamples, number))
    drawn += np.arange(resamples)[:, None] * number
    counts = np.bincount(drawn.ravel(), minlength=resamples * number).reshape(resamples, number)
    return counts[:, patients]


def _ranking(images: IntArray, is_positive: NDArray[np.bool_], values: NDArray[Any]) -> _Ranking:
    order = images[np.argsort(values[images], kind="stable")]
    changes = np.flatnonzero(np.diff(values[order])) + 1
    return _Ranking(order, is_positive[order], np.concatenate([[0], changes]).astype(np.int64))


def _mean_of_defined(values: list[FloatArray]) -> FloatArray:
    """Mean over a list of (resamples,) arrays without their NaN values; NaN where all are NaN."""
    stacked = np.stack(values)
    defined = ~np.isnan(stacked)
    number = defined.sum(axis=0)
    undefined = np.full(stacked.shape[1], np.nan)
    return np.divide(np.where(defined, stacked, 0).sum(axis=0), number, out=undefined, where=number > 0)
