"""The record of a split: the part of each group, and the manifest that holds it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from trainables.common.errors import SplitError
from trainables.common.files import write_atomically
from trainables.common.text import command_text, typed_path
from trainables.common.types import IntArray
from trainables.data.group_names import GroupUnit, named_by_rows
from trainables.data.patches import TaskRows, TextArray

TEST: Final = -1  # the "fold" of the sealed test part
TRAINING: Final = -2  # the "fold" of groups that no fold holds out: of a hold-out, or extra ones
TRAINING_PART: Final = "training"  # names of parts in the manifest
VALIDATION_PART: Final = "validation"
TEST_PART: Final = "test"
EXTRA_PART: Final = "extra"  # of folds; in a hold-out they are in the training part
_NAMES: Final = MappingProxyType({TEST: TEST_PART, TRAINING: TRAINING_PART})


@dataclass(frozen=True)
class Split:
    """Assignment of each group to a fold or to the test part.

    Attributes:
        fingerprint: Fingerprint of the patch set that was split.
        task: Name of the task whose classes were stratified.
        seed: Seed of the splitter.
        folds: Number of folds; 1 for a hold-out, whose validation part is fold 0.
        test_share: Requested share of the rows in the sealed test part, in [0, 1).
        is_grouped: True where groups are patients.
        has_own_test: True where the source's own test set is the test part; `test_share` was not used then.
        fold_of_group: Group -> fold 0 to folds - 1, `TEST`, or `TRAINING` (training part of a hold-out, and
            extra images).
        counts: Part (`fold 0`, ..., or `training` and `validation`; `test`; `extra`) -> number of groups and
            of images of each class.
        holdout: Requested share of the rows outside the test part in the validation part, in (0, 1), or None.
        is_naive: True where each image is its own group, `row-<k>` for row k, without regard to patients.
    """

    fingerprint: str
    task: str
    seed: int
    folds: int
    test_share: float
    is_grouped: bool
    has_own_test: bool
    fold_of_group: Mapping[str, int]
    counts: Mapping[str, Mapping[str, int]]
    holdout: float | None = None
    is_naive: bool = False

    @property
    def unit(self) -> GroupUnit:
        """Noun for a group: `patient`; without patients `image`, or `image group` where some has several."""
        noun = split_unit(is_grouped=self.is_grouped, is_naive=self.is_naive)
        is_single = all(sum(own.values()) == 2 * own.get(f"{noun}s", 0) for own in self.counts.values())
        return "image" if noun == "image group" and is_single else noun

    @property
    def digest(self) -> str:
        """Digest of the manifest's content."""
        return _digest(_content(self))

    def folds_of(self, rows: TaskRows) -> IntArray:
        """Return the fold of each row, `TEST` or `TRAINING`; shape (n,), int64.

        Raises:
            SplitError: If a row's group is not in the split.
        """
        return self.fold_of(by_split_unit(rows, is_naive=self.is_naive).groups)

    def fold_of(self, groups: TextArray | Sequence[str]) -> IntArray:
        """Return the fold of each group, `TEST` or `TRAINING`; shape (n,), int64. For rows see `folds_of`.

        Raises:
            SplitError: If a group is not in the split.
        """
        try:
            return np.array([self.fold_of_group[str(group)] for group in groups], dtype=np.int64)
        except KeyError as error:
            raise SplitError(
                f"the split knows no {self.unit} {error.args[0]!r}; "
                "it was made for other data: make a new split for these"
            ) from error

    def check_fingerprint(self, fingerprint: str) -> None:
        """Check that the split belongs to the data at hand.

        Raises:
            SplitError: If it was made for other data.
        """
        if fingerprint != self.fingerprint:
            raise SplitError(
                f"the split was made for data {self.fingerprint[:12]}, "
                f"the data at hand are {fingerprint[:12]}; "
                "give the data of the first run, or make a new split under another run name"
            )


def write_split(path: Path, split: Split) -> None:
    """Write the manifest: readable JSON with counts for each part and a digest of its content."""
    content = _content(split)
    write_atomically(path, json.dumps({"digest": _digest(content), **content}, indent=1) + "\n")


def _content(split: Split) -> dict[str, Any]:
    named = {group: _NAMES.get(fold, fold) for group, fold in split.fold_of_group.items()}
    return asdict(split) | {"fold_of_group": named}


def read_split(path: Path) -> Split:
    """Read a manifest.

    Raises:
        SplitError: If it is missing, is not a manifest, or was changed after it was written.
    """
    try:
        content = json.loads(path.read_text())
        digest = content.pop("digest")
    except FileNotFoundError as error:
        raise SplitError(f"no split at {path}; {_made_again(path)}") from error
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise SplitError(f"{path} is not a split manifest ({error}); {_made_again(path)}") from error
    if digest != _digest(content):
        raise SplitError(
            f"{path} was changed after it was written: its digest does not fit. "
            f"A split is not edited by hand: restore the file, or {_made_again(path)}"
        )
    folds, numbers = content.pop("fold_of_group"), {name: fold for fold, name in _NAMES.items()}
    fold_of_group = {group: numbers.get(fold, fold) for group, fold in folds.items()}
    return Split(**content, fold_of_group=fold_of_group)


def _made_again(path: Path) -> str:
    """What makes the split of a run again, as the end of a sentence."""
    command = command_text("orchestrate", "resume", typed_path(path.parent))
    return f"to make it again from data and seed: {command}"


def split_unit(*, is_grouped: bool, is_naive: bool) -> GroupUnit:
    """Return the noun by which the file of a split counts groups, whatever they hold.

    It is `patient`, `image group`, or `image` in a naive split.
    """
    if is_naive:
        return "image"
    return "patient" if is_grouped else "image group"


def by_split_unit(rows: TaskRows, *, is_naive: bool) -> TaskRows:
    """Rows with the groups that the split keeps whole."""
    if not is_naive:
        return rows
    groups = named_by_rows(rows.rows.tolist())
    return replace(rows, groups=groups, is_grouped=False, units=None)  # it cuts units


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def some_of(names: Sequence[str]) -> str:
    """Return the first five names, and that there are more."""
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
