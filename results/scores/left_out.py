"""Influences of patients by leaving each of them out once: the jackknife.

The change is scaled so that the sum of squares is the jackknife's variance, which errs on the wide side where
a class has few patients. A patient without whom a class is missing tells nothing, and counts as 0.

Source:
    Efron and Stein (1981), "The jackknife estimate of variance", Annals of Statistics 9:586.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.scores.decisions import BoolArray
from trainables.common.types import FloatArray, IntArray

# Positives and negatives at each score, ascending, both of shape (..., scores) -> values of shape (...).
ValueOfCounts = Callable[[IntArray, IntArray], FloatArray]

_CELLS_AT_ONCE: Final = 20_000  # counts of this many patients times scores; they stay in a processor's cache


def left_out_influences(
    value: Callable[[IntArray], float], labels: IntArray, patients: IntArray
) -> FloatArray:
    """Return the influence of each patient on any function of images, which is called once a patient.

    Args:
        value: Function of the positions of the images that count.
        labels: Class indices, shape (images,).
        patients: 0-based number of the patient of each image, shape (images,).

    Returns:
        Shape (patients,).
    """
    images, classes = np.arange(len(labels)), len(np.unique(labels))
    found = np.zeros(int(patients.max()) + 1)
    whole = value(images)
    for patient in range(len(found)):
        others = images[patients != patient]
        if len(np.unique(labels[others])) == classes:
            found[patient] = whole - value(others)
    return _scaled(found)


def left_out_of_counts(
    value: ValueOfCounts, positive: BoolArray, scores: NDArray[Any], patients: IntArray
) -> FloatArray:
    """Return the influence of each patient on a function of the counts at each score, many at a time.

    Args:
        value: Function of the numbers of positives and negatives at each distinct score, ascending.
        positive: True for images of the class that is looked for, shape (images,).
        scores: Score of each image, shape (images,).
        patients: 0-based number of the patient of each image, shape (images,).

    Returns:
        Shape (patients,).

    >>> share = lambda positives, negatives: positives.sum(-1) / (positives + negatives).sum(-1)
    >>> labels, patients = np.array([1, 0, 0, 1]) == 1, np.array([0, 0, 1, 2])
    >>> left_out_of_counts(share, labels, np.arange(4.0), patients).round(3).tolist()
    [0.0, -0.111, 0.111]
    """
    place = _runs(positive, scores)
    number, points = int(patients.max()) + 1, int(place.max()) + 1
    positives, negatives = (np.bincount(place[own], minlength=points) for own in (positive, ~positive))
    found, whole = np.zeros(number), value(positives, negatives)
    block = max(1, _CELLS_AT_ONCE // points)
    for start in range(0, number, block):
        size = min(block, number - start)
        own = (patients >= start) & (patients < start + size)
        cells, is_positive = (patients[own] - start) * points + place[own], positive[own]
        taken = [
            np.bincount(cells[part], minlength=size * points).reshape(size, points)
            for part in (is_positive, ~is_positive)
        ]
        kept = positives - taken[0], negatives - taken[1]
        is_told = kept[0].any(axis=1) & kept[1].any(axis=1)
        if not is_told.all():
            kept = kept[0][is_told], kept[1][is_told]
        found[start : start + size][is_told] = whole - value(*kept)
    return _scaled(found)


def _runs(positive: BoolArray, scores: NDArray[Any]) -> IntArray:
    """Ascending 0-based place of each image's score; neighbouring scores without a positive are one place."""
    distinct, place = np.unique(scores, return_inverse=True)
    place = place.reshape(-1)
    holds = np.bincount(place[positive], minlength=len(distinct)) > 0
    begins = holds | np.concatenate([[True], holds[:-1]])
    return np.asarray((np.cumsum(begins) - 1)[place])


def _scaled(changes: FloatArray) -> FloatArray:
    return changes * (len(changes) - 1) / len(changes)
