"""What a split comes to: images to train on and predict, uneven parts, and few patients of a class."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.types import IntArray
from trainables.data.extra_rows import without_extra
from trainables.data.patches import TaskRows
from trainables.data.split_record import TEST, TRAINING, Split

FEWEST: Final = 10  # patients of a class below which a score is hardly worth its interval
_VERY_FEW: Final = 2
_UNEVEN: Final = 1.5  # a part this many times as large, or as small, as it should be is named
_DOMINATES: Final = 0.15  # share of the images of one patient that explains uneven parts


def trained_and_predicted(folds: IntArray) -> tuple[int, int]:
    """Numbers of images that all folds train on and predict in an epoch, counted once per fold.

    Args:
        folds: Fold of each image, `TRAINING` or `TEST`, shape (n,).

    >>> trained_and_predicted(np.array([0, 1, 2, 0, 1, 2, TEST]))
    (12, 6)
    >>> trained_and_predicted(np.array([TRAINING, TRAINING, TRAINING, 0, TEST]))
    (3, 1)
    """
    predicted = int((folds >= 0).sum())
    return (int(folds.max()) + 1) * int((folds != TEST).sum()) - predicted, predicted


def split_warnings(rows: TaskRows, split: Split, classes: Sequence[str]) -> list[str]:
    """Return sentences on parts that are far from what was asked, and on classes with few patients.

    Args:
        rows: Rows of the task that were split.
        split: Their split.
        classes: Names of the classes, in the order of their labels.
    """
    folds = split.folds_of(rows)
    groups = rows.groups if not split.is_naive else rows.rows.astype(np.str_)
    if rows.is_extra is not None:  # they are in no part that was asked for
        groups, folds, rows = groups[~rows.is_extra], folds[~rows.is_extra], without_extra(rows)
    return [
        *_uneven_parts(groups, folds, split),
        *_few_of_a_class(rows.labels, groups, folds, classes, split.unit),
    ]


def _uneven_parts(groups: NDArray[np.str_], folds: IntArray, split: Split) -> Iterator[str]:
    parts = [text for text in (_uneven_test(folds, split), _uneven_folds(folds, split)) if text]
    if parts:
        yield f"WARNING: {'; '.join(parts)}{_largest(groups, split.unit)}"


def _uneven_test(folds: IntArray, split: Split) -> str:
    found = float((folds == TEST).mean())
    if split.has_own_test or not split.test_share or not _is_far(found, split.test_share):
        return ""
    return f"the test part holds {found:.0%} of the images where {split.test_share:.0%} was asked for"


def _uneven_folds(folds: IntArray, split: Split) -> str:
    training = folds[folds != TEST]
    if split.holdout is not None:
        found = float((training != TRAINING).mean())
        asked = f"where {split.holdout:.0%} was asked for"
        return f"the validation part holds {found:.0%} of the images {asked}" * _is_far(found, split.holdout)
    sizes = np.bincount(training, minlength=split.folds)
    if not any(_is_far(size * split.folds, len(training)) for size in sizes.tolist()):
        return ""
    return f"the folds are uneven, {sizes.min()} to {sizes.max()} images"


def _is_far(found: float, asked: float) -> bool:
    return not asked / _UNEVEN <= found <= asked * _UNEVEN


def _largest(groups: NDArray[np.str_], unit: str) -> str:
    names, counts = np.unique(groups, return_counts=True)
    largest = int(counts.argmax())
    if counts[largest] < _DOMINATES * len(groups):
        return f", since a {unit} stays whole"
    return f", since {unit} {names[largest]} alone has {counts[largest]} of {len(groups)}"


def _few_of_a_class(
    labels: IntArray, groups: NDArray[np.str_], folds: IntArray, classes: Sequence[str], unit: str
) -> Iterator[str]:
    for part, rows in (("test", folds == TEST), ("training", folds != TEST)):
        few = {
            name: count
            for label, name in enumerate(classes)
            if (count := len(set(groups[rows & (labels == label)].tolist()))) < FEWEST
        }
        if few and rows.any():
            yield f"WARNING: the {part} part holds only {_listed(few, unit)}{_meaning(part, few, unit)}"


def _listed(few: Mapping[str, int], unit: str) -> str:
    return " and ".join(f"{count} {name} {unit}{'' if count == 1 else 's'}" for name, count in few.items())


def _meaning(part: str, few: Mapping[str, int], unit: str) -> str:
    if part == "training":
        return f"; expect wide intervals and little to learn from: more {unit}s help most"
    if min(few.values()) <= _VERY_FEW:
        return (
            ", so its scores say next to nothing: recall can take a handful of values. Use a larger "
            "--test-share, or --test-share 0 and the out-of-fold scores"
        )
    return f", fewer than {FEWEST}, so its intervals are wide"
