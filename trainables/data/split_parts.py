"""The parts of a split that is made: what they hold, and whether each can be trained on and scored."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import SplitError
from trainables.data.patches import TaskRows
from trainables.data.split_record import EXTRA_PART, TEST, TEST_PART, TRAINING, TRAINING_PART, VALIDATION_PART
from trainables.data.units import only_class_of_units


@dataclass(frozen=True, slots=True)
class SplitRequest:
    """Data and protocol of a split to make; `unit` is the noun for a group of `rows`."""

    rows: TaskRows
    classes: tuple[str, ...]
    folds: int
    test_share: float
    holdout: float | None
    unit: str

    def noun(self, count: int) -> str:
        """The unit, in singular or plural."""
        return self.unit + ("" if count == 1 else "s")


def check_request(request: SplitRequest, seed: int) -> None:
    """Check that a protocol can be followed, whatever the data.

    Raises:
        SplitError: If a share, the number of folds or the seed is outside its range.
    """
    if request.holdout is not None and not 0.0 < request.holdout < 1.0:
        raise SplitError(
            f"the share of a hold-out must lie between 0 and 1, found {request.holdout:g}; "
            "use --holdout 0.3 for 70/30, or --folds"
        )
    if request.holdout is None and request.folds < 2:
        raise SplitError(f"a split needs at least 2 folds, {request.folds} asked for; use --folds 2 or more")
    if not 0.0 <= request.test_share < 1.0:
        raise SplitError(f"the test share must be in [0, 1), found {request.test_share:g}; 0 seals nothing")
    if seed < 0:
        raise SplitError(f"the seed of a split must be 0 or more, found {seed}")


def check_groups(request: SplitRequest, among: NDArray[np.bool_], *, least: int, has: str, need: str) -> None:
    """Check that an assignment exists: enough groups in total, and enough with each class.

    Args:
        request: Data and protocol.
        among: True for the rows that are cut, shape (n,).
        least: Number of groups that is needed.
        has: What has too few, such as `the data have`, for the message.
        need: What needs them, for the message.

    Raises:
        SplitError: If there are too few.
    """
    rows = request.rows
    subsets = {"": among} | {
        f" with class {name}": among & (rows.labels == label) for label, name in enumerate(request.classes)
    }
    for which, subset in subsets.items():
        found = len(set(rows.groups[subset].tolist()))
        if found < least:
            way_out = "" if "use --" in need else f"; {_fewer_folds(request, found)}"
            raise SplitError(f"{has} {found} {request.noun(found)}{which}, {need}{way_out}")


def _fewer_folds(request: SplitRequest, found: int) -> str:
    return f"use --folds {found}" if found >= 2 else f"add {request.noun(2)}"


def check_classes(
    request: SplitRequest, counts: Mapping[str, Mapping[str, int]], way_out: str | None = None
) -> None:
    """Check that every part holds every class; extra images need not.

    Raises:
        SplitError: If a part lacks a class; it says `way_out`, or how else to cut.
    """
    for part, own in counts.items():
        if part == EXTRA_PART:  # they need not hold every class
            continue
        missing = [name for name in request.classes if not own[name]]
        if missing:
            found = own[request.noun(2)]
            raise SplitError(
                f"{part} would hold no {' and no '.join(missing)} among its {found} "
                f"{request.noun(found)}; {way_out or _other_cut(part)}"
            )


def check_units(request: SplitRequest, fold_of_group: Mapping[str, int], way_out: str | None = None) -> None:
    """Check that every part that is scored has units of two classes; its images may have both without.

    Raises:
        SplitError: If a part has units of one class; it says `way_out`, or how else to cut.
    """
    rows = request.rows
    fold_of_row = np.array([fold_of_group[group] for group in rows.groups.tolist()])
    for part, number in _parts(request, set(fold_of_group.values())).items():
        if number == TRAINING:  # nothing scores it
            continue
        only = only_class_of_units(rows, fold_of_row == number, request.classes)
        if only is not None:
            raise SplitError(
                f"{part} would hold units of class {only} alone, since a unit has the largest label of its "
                f"images; {way_out or f'{_other_cut(part)}, or --unit image'}"
            )


def _other_cut(part: str) -> str:
    if part == TEST_PART:
        return "use another --test-share or --seed, or a source whose own test set holds every class"
    if part in (TRAINING_PART, VALIDATION_PART):
        return "use another --holdout or --seed"
    return "use fewer --folds or another --seed"


def counted(request: SplitRequest, fold_of_group: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Number of groups and of images of each class, for every part."""
    rows = request.rows
    fold_of_row = np.array([fold_of_group[group] for group in rows.groups.tolist()])
    return {
        part: {request.noun(2): sum(fold == number for fold in fold_of_group.values())}
        | {
            name: int(np.sum((fold_of_row == number) & (rows.labels == label)))
            for label, name in enumerate(request.classes)
        }
        for part, number in _parts(request, set(fold_of_group.values())).items()
    }


def _parts(request: SplitRequest, found: set[int]) -> dict[str, int]:
    """Name -> the fold that stands for the part, of those that were found."""
    test = {TEST_PART: TEST} if TEST in found else {}
    if request.holdout is not None:
        return {TRAINING_PART: TRAINING, VALIDATION_PART: 0} | test
    extra = {EXTRA_PART: TRAINING} if TRAINING in found else {}
    return {f"fold {fold}": fold for fold in range(request.folds)} | test | extra
