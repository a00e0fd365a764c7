"""Decisions by thresholds, and confusion matrices. Pure functions of arrays.

Probabilities have shape (images, classes), labels (images,) are class indices, and the last class is the
finding.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError, OneClassError
from trainables.common.types import FloatArray, IntArray

BoolArray = NDArray[np.bool_]

_BITS_OF_ONE: Final = int(np.float64(1.0).view(np.int64))


def decisions(probabilities: FloatArray, threshold: float = 0.5) -> IntArray:
    """Decide a class for each image, shape (images,).

    Two classes: 1 where the positive probability reaches `threshold`. More: the most probable class.
    """
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= threshold).astype(np.int64)
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)


def confusion(labels: IntArray, decided: IntArray, classes: int) -> IntArray:
    """Count cases, shape (classes, classes): rows are the true class, columns the decided one.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
    array([[1, 0],
           [1, 1]])
    """
    counts = np.bincount(labels * classes + decided, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def confusion_of_groups(
    labels: IntArray, decided: IntArray, groups: NDArray[Any], classes: int
) -> tuple[NDArray[Any], IntArray]:
    """Return the groups, sorted, and the confusion matrix of each, shape (groups, classes, classes)."""
    names, place = np.unique(groups, return_inverse=True)
    cells = (place * classes + labels) * classes + decided
    counts = np.bincount(cells, minlength=len(names) * classes * classes)
    return names, counts.reshape(len(names), classes, classes).astype(np.int64)


def decisions_by_threshold(labels: IntArray, probabilities: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return every distinct set of decisions of two classes, one threshold for each.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Class probabilities, shape (images, 2).

    Returns:
        Ascending thresholds, through the midpoints between neighbouring scores, shape (scores + 1,), and the
        confusion matrix of each, shape (scores + 1, 2, 2).
    """
    counts = counts_by_score(labels == 1, probabilities[:, 1].astype(np.float64))
    return _between(counts.scores), matrices_by_threshold(counts)


def check_predictions(labels: IntArray, probabilities: FloatArray) -> None:
    """Raise `DataError` unless labels and probabilities belong together and are numbers in range."""
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise DataError(
            "predictions need labels of shape (images,) and probabilities of shape (images, classes); "
            f"found {labels.shape} and {probabilities.shape}"
        )
    outside = int((~((probabilities >= 0) & (probabilities <= 1))).any(axis=1).sum())
    if outside:
        raise DataError(f"probabilities lie in [0, 1]; {outside} of {len(labels)} rows hold others or NaN")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise DataError(
            f"labels are 0 to {probabilities.shape[1] - 1}; found {int(labels.min())} to {int(labels.max())}"
        )


def check_two_classes(labels: IntArray, what: str) -> None:
    """Raise `OneClassError` unless two classes occur among the labels, shape (images,)."""
    if not len(labels) or np.ptp(labels) == 0:
        only = f"only class {int(labels[0])}" if len(labels) else "no image"
        raise OneClassError(
            f"{what} needs two classes, found {only} in {len(labels)} labels; use fewer folds or more data"
        )


def scored_classes(classes: int) -> range:
    """Return the classes whose one-against-rest scores count: the positive one of two, or all of more."""
    return range(1, 2) if classes == 2 else range(classes)


def ranking_scores(probabilities: FloatArray, index: int) -> NDArray[Any]:
    """Return what ranks images by the probability of a class, shape (..., images).

    Of two classes the smaller probability is read, which floating-point numbers hold with all their digits:
    probabilities that are rounded to 1, or lie close to it, keep their order by what is left to the other
    class. With more classes it is the probability itself.

    Args:
        probabilities: Class probabilities, shape (..., images, classes); rows of two sum to 1.
        index: Index of the class.

    >>> saturated = np.array([[1e-9, 1.0], [1e-12, 1.0], [0.7, 0.3]])
    >>> ranking_scores(saturated, 1).argsort().tolist(), ranking_scores(saturated, 0).argsort().tolist()
    ([2, 0, 1], [1, 0, 2])
    """
    own = probabilities[..., index]
    if probabilities.shape[-1] != 2:
        return own
    # The bits of numbers from 0 up, read as whole numbers, have the order of the numbers: nothing is rounded.
    bits, other = (
        np.abs(one.astype(np.float64)).view(np.int64) for one in (own, probabilities[..., 1 - index])
    )
    return np.where(bits <= other, bits, 2 * _BITS_OF_ONE - other)


def positive_or_macro(values: FloatArray, matrices: NDArray[Any]) -> FloatArray:
    """Return the value of the positive class of two, else the mean over the classes that have cases.

    Args:
        values: Value of each class, shape (..., classes).
        matrices: Confusion matrices that they are of, shape (..., classes, classes).

    Returns:
        Shape (...); 0 for a matrix of more than two classes without a case.
    """
    if values.shape[-1] == 2:
        return np.asarray(values[..., 1])
    has_cases = matrices.sum(axis=-1) > 0
    return ratio((values * has_cases).sum(axis=-1), has_cases.sum(axis=-1))


def one_against_rest(matrices: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Hits, false alarms, misses and the rest of each class, each of shape (..., classes)."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    missed = matrices.sum(axis=-1) - hits
    alarms = matrices.sum(axis=-2) - hits
    return hits, alarms, missed, matrices.sum(axis=(-2, -1))[..., None] - hits - alarms - missed


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> FloatArray:
    """Divide, elementwise; a ratio without cases is 0, as sklearn's `zero_division=0`."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


@dataclass(frozen=True, slots=True)
class Counts:
    """Cases at each distinct score, ascending; every array has shape (scores,)."""

    scores: NDArray[Any]
    positives: IntArray
    total: IntArray


def counts_by_score(positive: BoolArray, values: NDArray[Any]) -> Counts:
    """Count the cases at each distinct score; both of shape (images,)."""
    distinct, place, total = np.unique(values, return_inverse=True, return_counts=True)
    return Counts(distinct, np.bincount(place[positive], minlength=len(distinct)), total)


def matrices_by_threshold(counts: Counts) -> IntArray:
    """Confusion matrices when the lowest 0, 1, 2 ... scores are called negative, shape (scores + 1, 2, 2)."""
    missed = np.concatenate([[0], np.cumsum(counts.positives)])
    rejected = np.concatenate([[0], np.cumsum(counts.total - counts.positives)])
    return np.stack(
        [
            np.stack([rejected, rejected[-1] - rejected], axis=-1),
            np.stack([missed, missed[-1] - missed], axis=-1),
        ],
        axis=-2,
    )


def _between(values: FloatArray) -> FloatArray:
    """Thresholds below, between and above ascending distinct scores, shape (scores + 1,)."""
    middle = (values[:-1] + values[1:]) / 2
    # Between adjacent floating-point numbers there is no midpoint: the upper one separates them as well.
    middle = np.where(middle > values[:-1], middle, values[1:])
    above = max((values[-1] + 1) / 2, np.nextafter(values[-1], 2.0))
    return np.concatenate([[values[0] / 2], middle, [above]])
