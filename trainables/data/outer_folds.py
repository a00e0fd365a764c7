"""Outer folds of a nested search: parts of the training part that take turns in being held out whole.

A whole search runs without each of them. The sealed test part is in none, so that it stays sealed.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import SplitError
from trainables.common.types import IntArray
from trainables.config.tasks import Task
from trainables.data.patches import TaskRows
from trainables.data.split_record import TEST, TRAINING, Split
from trainables.data.splits import make_split
from trainables.data.stratified_cut import grouped_cut
from trainables.data.units import only_class_of_units

FEWEST_OUTER_FOLDS: Final = 2
_ATTEMPTS: Final = 20  # seeds that are tried before the cut is called impossible
_OWN_SEEDS: Final = 1974  # sets the seeds of these cuts apart from those of a search's own folds


def cut_outer_folds(rows: TaskRows, split: Split, task: Task, *, folds: int) -> IntArray:
    """Cut the training part of a search into outer folds: patients stay whole, classes in proportion.

    Args:
        rows: Rows of the task, with the units of a search that has some.
        split: Split of the search; its seed is that of the cut.
        task: The task, for class names.
        folds: Number of outer folds.

    Returns:
        Outer fold of each row, 0 to folds - 1; `TEST` for the sealed part, and `TRAINING` for extra rows,
        which every search trains on; shape (n,).

    Raises:
        SplitError: If the split is a naive one, or there are too few patients of a class.
    """
    _check(rows, split, task, folds)
    own = _scored(rows, split)
    fault: SplitError | None = None
    for attempt in range(_ATTEMPTS):
        seed = int(np.random.SeedSequence((_OWN_SEEDS, split.seed, folds, attempt)).generate_state(1)[0])
        of_group = grouped_cut(rows.labels[own], rows.groups[own], folds, seed)
        found = np.where(split.folds_of(rows) == TEST, TEST, TRAINING)
        found[own] = [of_group[group] for group in rows.groups[own].tolist()]
        lacking = _lacking(rows, found, task.classes, folds)
        if not lacking:
            return found
        fault = fault or SplitError(
            f"outer fold {lacking[0] + 1} of {folds} would hold {lacking[1]}, so nothing could be said of "
            f"it; use fewer outer folds (--outer {max(FEWEST_OUTER_FOLDS, folds - 1)})"
        )
    raise fault or SplitError("no cut was tried")


def inner_split(rows: TaskRows, split: Split, task: Task, outer: IntArray, fold: int) -> Split:
    """Return the split of the search inside an outer fold.

    Its test part is what that search may not see: the outer fold, and the sealed part of the outer search.
    The other patients are cut by the protocol of the outer search.

    Args:
        rows: Rows of the task.
        split: Split of the outer search.
        task: The task.
        outer: Outer fold of each row, from `cut_outer_folds`.
        fold: 0-based outer fold.

    Raises:
        SplitError: If the patients that are left are too few for the folds of the search.
    """
    unseen = (outer == fold) | (outer == TEST)
    try:
        return make_split(
            replace(rows, is_test=unseen),
            fingerprint=split.fingerprint,
            task=task,
            folds=split.folds,
            test_share=split.test_share,
            seed=split.seed,
            holdout=split.holdout,
        )
    except SplitError as error:
        raise SplitError(
            f"without outer fold {fold + 1} too few {split.unit}s are left for the search itself: {error}"
        ) from error


def fewest_in_a_fold(rows: TaskRows, outer: IntArray) -> int:
    """Return the smallest number of patients of a class in an outer fold."""
    counts = [
        len(np.unique(rows.groups[(outer == fold) & (rows.labels == label)]))
        for fold in range(int(outer.max()) + 1)
        for label in np.unique(rows.labels)
    ]
    return min(counts)


def _scored(rows: TaskRows, split: Split) -> NDArray[np.bool_]:
    """Rows of the training part that are scored."""
    training = split.folds_of(rows) != TEST
    return training if rows.is_extra is None else training & ~rows.is_extra


def _check(rows: TaskRows, split: Split, task: Task, folds: int) -> None:
    if folds < FEWEST_OUTER_FOLDS:
        raise SplitError(
            f"a nested search needs at least {FEWEST_OUTER_FOLDS} outer folds, {folds} asked for; use "
            "--outer 5"
        )
    if split.is_naive:
        raise SplitError(
            "a nested search says what a search is worth on patients that it has not seen, and this one was "
            "split by image, so that patients are in several folds: nothing can be claimed for new patients. "
            "Search again without --naive-split"
        )
    own = _scored(rows, split)
    patients = {
        name: len(np.unique(rows.groups[own & (rows.labels == label)]))
        for label, name in enumerate(task.classes)
    }
    name = min(patients, key=lambda one: patients[one])
    if patients[name] >= folds:
        return
    advice = (
        f"use --outer {patients[name]}" if patients[name] >= FEWEST_OUTER_FOLDS else "more data are needed"
    )
    raise SplitError(
        f"{folds} outer folds need at least {folds} {split.unit}s of each class, the training part has "
        f"{patients[name]} of class {name}: a fold would hold none, and nothing could be said of it; {advice}"
    )


def _lacking(rows: TaskRows, outer: IntArray, classes: Sequence[str], folds: int) -> tuple[int, str] | None:
    """The first outer fold that lacks a class, and what it would hold; None if none does."""
    for fold in range(folds):
        own = outer == fold
        for label, name in enumerate(classes):
            if not (rows.labels[own] == label).any():
                return fold, f"no {name}"
        only = only_class_of_units(rows, own, classes)
        if only is not None:
            return fold, f"units of class {only} alone"
    return None
