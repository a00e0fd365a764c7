"""Splits of data that have grown: patients of an earlier split keep their parts, new ones are cut likewise.

So a model that starts from weights of the earlier search is never scored on patients that those weights have
seen, and patients that were sealed once stay sealed.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from trainables.common.errors import SplitError
from trainables.common.types import IntArray
from trainables.config.tasks import Task
from trainables.data.extra_rows import extra_groups
from trainables.data.patches import TaskRows, TextArray
from trainables.data.shared_images import NOT_SHARED
from trainables.data.split_record import TEST, TRAINING, Split, some_of
from trainables.data.splits import ATTEMPTS
from trainables.data.stratified_cut import drawn_groups, grouped_cut
from trainables.data.taken_over_split import unseen_test_groups, with_counts

_WAY_OUT: Final = "add patients of that class, use --test-share 0, or start from no earlier run"


def known_parts(
    rows: TaskRows, earlier: Split, earlier_rows: TaskRows | None, same: IntArray
) -> dict[str, int]:
    """Return the part of an earlier split in which each known group of grown data was.

    A group is known by the names of its patients, where they are known on both sides, and by its images.
    Patients who share a picture are one group, whose own name is that of one of them alone.

    Args:
        rows: Rows of the grown data that have a part in the task.
        earlier: The earlier split.
        earlier_rows: Rows of the earlier data; None where they are gone, and names alone are known.
        same: Row of the earlier data that holds the same image as each row of the grown patch set, or
            `NOT_SHARED`, shape (N,).

    Returns:
        Group of `rows` -> fold, `TEST` or `TRAINING`; groups that are new are left out.

    Raises:
        SplitError: If a group was in several parts, so that it fits into none.
    """
    part_of_row: dict[int, int] = {}
    part_of_name = dict(earlier.fold_of_group) if rows.is_grouped and earlier.is_grouped else {}
    if earlier_rows is not None:
        parts = earlier.folds_of(earlier_rows).tolist()
        part_of_row = dict(zip(earlier_rows.rows.tolist(), parts, strict=True))
        if part_of_name:
            part_of_name |= dict(zip(_patients(earlier_rows), parts, strict=True))
    found = defaultdict[str, set[int]](set)
    for row, group, patient in zip(rows.rows.tolist(), rows.groups.tolist(), _patients(rows), strict=True):
        found[group] |= {part_of_name[name] for name in (group, patient) if name in part_of_name}
        if same[row] != NOT_SHARED and int(same[row]) in part_of_row:
            found[group].add(part_of_row[int(same[row])])
    torn = sorted(group for group, held in found.items() if len(held) > 1)
    if torn:
        raise SplitError(
            f"{len(torn)} {'group' if len(torn) == 1 else 'groups'} of images lay in several parts of the "
            f"earlier split: {some_of(torn)}. No part is left in which no model has seen them: name patients "
            "as in the earlier data, leave those out, or search without starting from that run"
        )
    return {group: held.pop() for group, held in found.items() if held}


def _patients(rows: TaskRows) -> list[str]:
    """Patient of each row by itself, whether or not the split ties it to others."""
    names: list[str] = (rows.groups if rows.patients is None else rows.patients).tolist()
    return names


def grow_split(
    rows: TaskRows,
    *,
    fingerprint: str,
    task: Task,
    like: Split,
    known: Mapping[str, int],
    test_share: float,
    seed: int,
) -> Split:
    """Split data that hold groups of an earlier split: those keep their parts, the others are cut likewise.

    Extra images are scored in no fold, whether or not the earlier search scored them.

    Args:
        rows: Rows of the task with labels and groups.
        fingerprint: Fingerprint of the patch set.
        task: The task.
        like: The earlier split, whose folds or hold-out hold here, too.
        known: Group -> its part, see `known_parts`. One that is extra by now trains in every fold instead.
        test_share: Share of the images of new groups in the test part, in [0, 1); images that the source
            itself marks as its test part are sealed instead.
        seed: Seed of the cut of the new groups.

    Raises:
        SplitError: If a part would lack a class or have units of a single one, if the source's own test part
            holds images that the earlier search trained on, or if a group is both extra and not, or extra
            and sealed by the earlier search.
    """
    known = _without_folds_of_extra(rows, known)
    own_test, first = unseen_test_groups(rows, known), None
    for attempt in range(ATTEMPTS):
        derived = int(np.random.SeedSequence((seed, attempt)).generate_state(1)[0])
        grown = replace(
            like,
            fingerprint=fingerprint,
            task=task.name,
            seed=seed,
            test_share=test_share,
            is_grouped=rows.is_grouped,
            has_own_test=own_test is not None,
            fold_of_group=_assigned(rows, like, known, own_test, test_share, derived),
            is_naive=False,
        )
        try:
            return with_counts(grown, rows, task.classes, _WAY_OUT)
        except SplitError as error:
            first = first or error
    raise first or SplitError("no split was tried")


def _assigned(
    rows: TaskRows,
    like: Split,
    known: Mapping[str, int],
    own_test: set[str] | None,
    test_share: float,
    seed: int,
) -> dict[str, int]:
    """Group -> part: the known ones' own, new extra ones' training, and a cut of the others."""
    is_new = ~np.isin(rows.groups, sorted(known))
    found = dict(known)
    if rows.is_extra is not None:
        found |= dict.fromkeys(rows.groups[is_new & rows.is_extra].tolist(), TRAINING)
        is_new &= ~rows.is_extra
    labels, groups = rows.labels[is_new], rows.groups[is_new]
    sealed = _drawn(labels, groups, test_share, seed) if own_test is None else own_test
    found |= dict.fromkeys(set(groups.tolist()) & sealed, TEST)
    is_open = ~np.isin(groups, sorted(sealed))
    found |= _cut(labels[is_open], groups[is_open], like, seed)
    return dict(sorted(found.items()))


def _without_folds_of_extra(rows: TaskRows, known: Mapping[str, int]) -> dict[str, int]:
    """The known parts, where groups that are extra by now train in every fold and are scored in none."""
    noun = "patient" if rows.is_grouped else "image group"
    sealed = [group for group, part in known.items() if part == TEST]
    extra = [group for group in extra_groups(rows, noun, sealed=sealed) if group in known]
    return dict(known) | dict.fromkeys(extra, TRAINING)


def _drawn(labels: IntArray, groups: TextArray, share: float, seed: int) -> set[str]:
    """Groups of about a share of the images; none of too few to stratify, which have to train."""
    if not share or len(set(groups.tolist())) < 2 or int(np.bincount(labels).max()) < 2:
        return set()
    return drawn_groups(labels, groups, share, seed)


def _cut(labels: IntArray, groups: TextArray, like: Split, seed: int) -> dict[str, int]:
    """Part of each of the new groups that are not sealed."""
    names = sorted(set(groups.tolist()))
    if like.holdout is not None:
        held_out = _drawn(labels, groups, like.holdout, seed)
        return {group: 0 if group in held_out else TRAINING for group in names}
    if len(names) < like.folds or int(np.bincount(labels).max()) < like.folds:  # too few to stratify
        order = np.random.default_rng(seed).permutation(len(names)).tolist()
        return {names[place]: number % like.folds for number, place in enumerate(order)}
    return grouped_cut(labels, groups, like.folds, seed)
