"""Splits that cut the training patients of a search anew, and leave its sealed part sealed."""

from dataclasses import replace
from typing import Final

import numpy as np

from trainables.common.errors import SplitError
from trainables.config.tasks import Task
from trainables.data.patches import TaskRows
from trainables.data.split_record import TEST, TRAINING, Split
from trainables.data.splits import ATTEMPTS, make_split

_OWN_SEEDS: Final = 1983  # sets the seeds of these cuts apart from those of a search's own folds


def repeated_split(rows: TaskRows, split: Split, task: Task, *, repeat: int) -> Split:
    """Return a split by the same protocol that parts the patients otherwise; the test part is the same.

    Searches with one split have the same folds in each repeat, too.

    Args:
        rows: Rows of the task.
        split: Split of the search; its seed is that of the cut.
        task: The task.
        repeat: Number of the repeat, at least 1.

    Raises:
        SplitError: If the folds of this cut would lack a class, or if no cut is found that differs from that
            of the search by more than the numbers of its folds.
    """
    is_test, known = split.folds_of(rows) == TEST, _held_out_together(split)
    for attempt in range(ATTEMPTS):
        seeds = np.random.SeedSequence((_OWN_SEEDS, split.seed, repeat, attempt))
        found = make_split(
            replace(rows, is_test=is_test if is_test.any() else None),
            fingerprint=split.fingerprint,
            task=task,
            folds=split.folds,
            test_share=split.test_share,
            seed=int(seeds.generate_state(1)[0]),
            holdout=split.holdout,
            is_naive=split.is_naive,
        )
        if _held_out_together(found) != known:
            return found
    raise SplitError(
        f"repeat {repeat} would have the folds of the search, which have chosen its finalists: of {ATTEMPTS} "
        f"cuts of these {split.unit}s none is another one; add {split.unit}s, or search with other --folds"
    )


def _held_out_together(split: Split) -> set[frozenset[str]]:
    """The groups of each fold, whatever its number."""
    folds = set(split.fold_of_group.values()) - {TEST, TRAINING}
    return {frozenset(group for group, own in split.fold_of_group.items() if own == fold) for fold in folds}
