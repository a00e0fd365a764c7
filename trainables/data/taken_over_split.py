"""Splits that keep the parts of an earlier one, which was made for another task or with fewer patients."""

from collections.abc import Mapping
from dataclasses import replace

from trainables.common.errors import SplitError
from trainables.data.extra_rows import extra_groups
from trainables.data.patches import TaskRows
from trainables.data.split_parts import SplitRequest, check_classes, check_units, counted
from trainables.data.split_record import TEST, TRAINING, Split, by_split_unit, some_of, split_unit


def taken_over(
    rows: TaskRows, *, fingerprint: str, task: str, classes: tuple[str, ...], like: Split
) -> Split:
    """Return the split of another task on the same data, for this one; see `make_split`.

    Raises:
        SplitError: If it is of other data, does not know a group, seals extra images, trains on the source's
            own test set, or has a part without a class.
    """
    like.check_fingerprint(fingerprint)
    by_unit = by_split_unit(rows, is_naive=like.is_naive)
    groups = sorted(set(by_unit.groups.tolist()))
    unknown = [group for group in groups if group not in like.fold_of_group]
    if unknown:
        noun = like.unit + ("" if len(groups) == 1 else "s")
        raise SplitError(
            f"{len(unknown)} of {len(groups)} {noun} of {task} have no part in the split of {like.task} that "
            f"is taken over: {some_of(unknown)}; start from a run whose task knows them, or make a new split "
            "without starting from a run"
        )
    kept = {group: like.fold_of_group[group] for group in groups}
    sealed = [group for group, part in kept.items() if part == TEST]
    extra = extra_groups(by_unit, like.unit, sealed=sealed)
    fold_of_group = kept | dict.fromkeys(extra, TRAINING)
    unseen_test_groups(by_unit, fold_of_group)
    way_out = f"take over the split of a task whose parts hold every class of {task}"
    return with_counts(replace(like, task=task, fold_of_group=fold_of_group), rows, classes, way_out)


def with_counts(split: Split, rows: TaskRows, classes: tuple[str, ...], way_out: str | None = None) -> Split:
    """Return a split with the counts of its parts.

    Args:
        split: The split, which knows every group.
        rows: Rows of the task.
        classes: Names of the classes.
        way_out: What to do about a part without a class, for the message.

    Raises:
        SplitError: If a part lacks a class, or has units of a single one.
    """
    by_unit = by_split_unit(rows, is_naive=split.is_naive)
    noun = split_unit(is_grouped=split.is_grouped, is_naive=split.is_naive)
    request = SplitRequest(by_unit, classes, split.folds, split.test_share, split.holdout, noun)
    counts = counted(request, split.fold_of_group)
    check_classes(request, counts, way_out)
    check_units(request, split.fold_of_group, way_out)
    return replace(split, counts=counts)


def unseen_test_groups(rows: TaskRows, known: Mapping[str, int]) -> set[str] | None:
    """Return the groups that the source itself tests on; None if it has no test part.

    Args:
        rows: Rows of the task.
        known: Group -> part of an earlier split that it keeps.

    Raises:
        SplitError: If one of them is trained on, here or in the earlier search.
    """
    if rows.is_test is None or not rows.is_test.any():
        return None
    test = set(rows.groups[rows.is_test].tolist())
    both = test & set(rows.groups[~rows.is_test].tolist())
    trained = {group for group in test if known.get(group, TEST) != TEST} | both
    if trained:
        raise SplitError(
            f"the test part of these data holds {len(trained)} that are trained on, here or in the earlier "
            f"search: {some_of(sorted(trained))}; test on others, or search without starting from that run"
        )
    return test
