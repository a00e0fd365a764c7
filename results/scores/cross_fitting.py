"""Parts for cross-fitting: thresholds and calibrations are judged on parts that they were not fitted on."""

import functools
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.run.records import OutOfFold
from trainables.common.types import IntArray
from trainables.data.stratified_cut import grouped_cut

DRAWN_PARTS: Final = 5


def crossfit_parts(out_of_fold: OutOfFold) -> IntArray:
    """Return the parts on which thresholds and calibrations of out-of-fold predictions are cross-fitted.

    They are the folds of the predictions. A hold-out has a single fold, within which parts are drawn.

    Returns:
        Part of each image, shape (images,); all 0 if there are too few patients to cut.
    """
    return folds_or_drawn(out_of_fold.labels, out_of_fold.groups, out_of_fold.folds)


def folds_or_drawn(
    labels: IntArray,
    groups: NDArray[Any],
    folds: IntArray,
    *,
    fewest: int = 2,
    most: int = DRAWN_PARTS,
    seed: int = 0,
) -> IntArray:
    """Return the folds if there are enough, else stratified parts that keep the images of a patient together.

    Args:
        labels: Class indices, shape (images,).
        groups: Patient of each image, shape (images,).
        folds: Fold of each image, shape (images,).
        fewest: Number of folds that is enough.
        most: Number of parts to draw; at most the number of patients of the smallest class.
        seed: Random seed of the draw.

    Returns:
        Part of each image, shape (images,); all 0 if some class has a single patient.

    >>> labels, patients = np.array([0, 0, 1, 1]), np.array(["a", "b", "c", "d"])
    >>> sorted(folds_or_drawn(labels, patients, np.zeros(4, dtype=int)).tolist())
    [0, 0, 1, 1]
    """
    if len(np.unique(folds)) >= fewest:
        return folds
    number = min(most, fewest_patients(labels, groups))
    if number < 2:
        return np.zeros_like(labels)
    return _drawn(tuple(labels.tolist()), tuple(groups.tolist()), number, seed)


def fewest_patients(labels: IntArray, groups: NDArray[Any]) -> int:
    """Return the smallest number of patients in a class; 0 if there are no two classes."""
    classes = np.unique(labels)
    return min(len(np.unique(groups[labels == label])) for label in classes) if len(classes) > 1 else 0


@functools.lru_cache(maxsize=16)  # all trials of a run hold the same images
def _drawn(labels: tuple[int, ...], groups: tuple[str, ...], number: int, seed: int) -> IntArray:
    part_of_group = grouped_cut(np.array(labels), np.array(groups), number, seed)
    parts = np.array([part_of_group[group] for group in groups], dtype=np.int64)
    parts.flags.writeable = False  # the cache gives the same array to all callers
    return parts
