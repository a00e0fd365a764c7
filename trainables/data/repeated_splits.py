"""Splits that cut the training patients of a search anew, and leave its sealed part sealed."""

from dataclasses import replace

from trainables.config.tasks import Task
from trainables.data.patches import TaskRows
from trainables.data.splits import TEST, Split, make_split


def repeated_split(rows: TaskRows, split: Split, task: Task, *, seed: int) -> Split:
    """Return a split by the same protocol with another seed; the test part is the same.

    Args:
        rows: Rows of the task.
        split: Split of the search.
        task: The task.
        seed: Seed of the cut.

    Raises:
        SplitError: If the folds of this cut would lack a class.
    """
    is_test = split.folds_of(rows) == TEST
    return make_split(
        replace(rows, is_test=is_test if is_test.any() else None),
        fingerprint=split.fingerprint,
        task=task,
        folds=split.folds,
        test_share=split.test_share,
        seed=seed,
        holdout=split.holdout,
        is_naive=split.is_naive,
    )
