"""Repeated cuts: whatever the seeds, the folds that chose the finalists are none of theirs."""

from typing import Any

import numpy as np
import pytest

from trainables.common.errors import SplitError
from trainables.config.tasks import task_named
from trainables.data.patches import TaskRows
from trainables.data.repeated_splits import repeated_split
from trainables.data.split_record import TEST, TRAINING, Split
from trainables.data.splits import make_split

TASK = task_named("benign_malignant")


def patients(count: int) -> TaskRows:
    """Even patients benign, odd ones malignant, two images each."""
    groups = np.repeat([f"p{number:03d}" for number in range(count)], 2)
    return TaskRows(np.arange(2 * count), np.repeat(np.arange(count) % 2, 2), groups, None, is_grouped=True)


def split(rows: TaskRows, **changes: Any) -> Split:
    asked: dict[str, Any] = {"folds": 4, "test_share": 0.2, "seed": 0}
    return make_split(rows, **{"fingerprint": "f" * 64, "task": TASK, **asked, **changes})


def held_out_together(made: Split) -> set[frozenset[str]]:
    folds = set(made.fold_of_group.values()) - {TEST, TRAINING}
    return {frozenset(group for group, own in made.fold_of_group.items() if own == fold) for fold in folds}


@pytest.mark.parametrize("protocol", [{}, {"test_share": 0.0}, {"holdout": 0.3}, {"is_naive": True}])
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_a_repeat_never_has_the_folds_of_the_search_whatever_its_split_seed(
    seed: int, protocol: dict[str, Any]
) -> None:
    rows = patients(40)
    made = split(rows, seed=seed, **protocol)
    again = [repeated_split(rows, made, TASK, repeat=repeat) for repeat in range(1, 5)]
    assert len({frozenset(held_out_together(one)) for one in (made, *again)}) == 5
    for one in again:
        np.testing.assert_array_equal(one.folds_of(rows) == TEST, made.folds_of(rows) == TEST)
        assert (one.folds, one.holdout, one.is_naive) == (made.folds, made.holdout, made.is_naive)
    assert repeated_split(rows, made, TASK, repeat=2) == again[1]


def test_a_cut_that_is_the_searchs_by_chance_is_drawn_again() -> None:
    rows = patients(4)  # two ways to part them
    made = split(rows, folds=2, test_share=0.0)
    for repeat in range(1, 9):
        again = repeated_split(rows, made, TASK, repeat=repeat)
        assert held_out_together(again) != held_out_together(made)


def test_patients_that_can_be_parted_in_one_way_alone_are_not_repeated() -> None:
    rows = patients(4)
    rows.labels[:] = 0  # with a patient a fold there is no other way
    rows.labels[1::2] = 1
    made = split(rows, folds=4, test_share=0.0)
    with pytest.raises(SplitError, match="repeat 1 would have the folds of the search, which have chosen"):
        repeated_split(rows, made, TASK, repeat=1)
