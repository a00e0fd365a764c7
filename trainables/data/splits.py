"""One split: which patients are in which fold, and which are sealed for the test.

Decided once per data set by a seeded, stratified, grouped splitter, written to a manifest that names the
data by fingerprint, and checked by every trial that uses it.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.data.files import write_atomically
from trainables.data.patches import TaskRows, TextArray
from trainables.errors import SplitError
from trainables.tasks import IntArray, task_named

TEST: Final = -1  # the "fold" of the sealed test part
_MOST_PARTS: Final = 10  # a test share is rounded to a fraction with at most this denominator
_ATTEMPTS: Final = 20  # seeds derived from the given one, before a split is called impossible


@dataclass(frozen=True)
class Split:
    """Where each group belongs.

    Attributes:
        fingerprint: Of the patch set that was split.
        task: Name of the task whose classes were stratified.
        seed: Seed of the splitter.
        folds: Number of folds, at least 2.
        test_share: Share of the rows that was asked for as sealed test part, in [0, 1).
        is_grouped: True where groups are patients.
        has_own_test: True where the source's own test set is the test part; `test_share` was not used then.
        fold_of_group: Group -> fold 0 to folds - 1, or `TEST`.
        counts: Part (`fold 0`, ..., `test`) -> number of groups and of images of each class.
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

    def fold_of(self, groups: TextArray | Sequence[str]) -> IntArray:
        """Return the fold of each group, `TEST` for the sealed part; shape (n,), int64.

        Raises:
            SplitError: If a group is not in the split.
        """
        try:
            return np.array([self.fold_of_group[str(group)] for group in groups], dtype=np.int64)
        except KeyError as error:
            raise SplitError(
                f"the split knows no {'patient' if self.is_grouped else 'image group'} {error.args[0]!r}; "
                "it was made for other data: make a new split for these"
            ) from error

    def verify(self, fingerprint: str) -> None:
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


def make_split(
    rows: TaskRows, *, fingerprint: str, task: str, folds: int, test_share: float, seed: int
) -> Split:
    """Seal a test part, then cut the remaining groups into stratified folds. No group is ever torn apart.

    If the source has its own test rows they are the test part and `test_share` is not used. Otherwise the
    test part is `test_share` of a stratified, grouped cut, rounded to tenths or a simpler fraction.

    Args:
        rows: Rows of the task with labels and groups.
        fingerprint: Of the patch set, kept in the split.
        task: Name of the task, for class names.
        folds: Number of folds, at least 2.
        test_share: In [0, 1); 0 seals nothing.
        seed: Same seed, same split.

    Raises:
        SplitError: If there are too few groups, if a fold or the test part would lack a class, or if a
            patient is in both parts of a source with its own test set.
        UnknownNameError: If there is no such task.
    """
    request = _Request(rows, task_named(task).classes, folds, test_share)
    _check_request(request, seed)
    own_test = _own_test(rows)
    fold_of_group = _assign(request, own_test, seed)
    return Split(
        fingerprint=fingerprint,
        task=task,
        seed=seed,
        folds=folds,
        test_share=test_share,
        is_grouped=rows.is_grouped,
        has_own_test=own_test is not None,
        fold_of_group=fold_of_group,
        counts=_count(request, fold_of_group),
    )


def write_split(path: Path, split: Split) -> None:
    """Write the manifest: readable JSON with counts for each part and a digest over all it says."""
    content = asdict(split)
    content["fold_of_group"] = {
        group: "test" if fold == TEST else fold for group, fold in split.fold_of_group.items()
    }
    write_atomically(path, json.dumps({"digest": _digest(content), **content}, indent=1) + "\n")


def read_split(path: Path) -> Split:
    """Read a manifest.

    Raises:
        SplitError: If it is missing, no manifest, or was changed after it was written.
    """
    try:
        content = json.loads(path.read_text())
        digest = content.pop("digest")
    except FileNotFoundError as error:
        raise SplitError(f"no split at {path}; start the search again to make one") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise SplitError(
            f"{path} is no split manifest ({error}); restore it from the run's backup"
        ) from error
    if digest != _digest(content):
        raise SplitError(
            f"{path} was changed after it was written: its digest does not fit. "
            "A split is not edited by hand: restore the file, or start a run with another seed"
        )
    folds = content.pop("fold_of_group")
    fold_of_group = {group: TEST if fold == "test" else fold for group, fold in folds.items()}
    return Split(**content, fold_of_group=fold_of_group)


@dataclass(frozen=True, slots=True)
class _Request:
    """What is to be split, and how."""

    rows: TaskRows
    classes: tuple[str, ...]
    folds: int
    test_share: float


def _check_request(request: _Request, seed: int) -> None:
    if request.folds < 2:
        raise SplitError(f"a split needs at least 2 folds, {request.folds} asked for; use --folds 2 or more")
    if not 0.0 <= request.test_share < 1.0:
        raise SplitError(f"the test share must be in [0, 1), found {request.test_share:g}; 0 seals nothing")
    if seed < 0:
        raise SplitError(f"the seed of a split must be 0 or more, found {seed}")


def _assign(request: _Request, own_test: set[str] | None, seed: int) -> dict[str, int]:
    """Try seeds derived from `seed` until every part has every class; report the first failure."""
    first: SplitError | None = None
    for attempt in range(_ATTEMPTS):
        derived = int(np.random.SeedSequence((seed, attempt)).generate_state(1)[0])
        try:
            test = _sealed(request, derived) if own_test is None else own_test
            fold_of_group = _cut_into_folds(request, test, derived) | dict.fromkeys(test, TEST)
            _check_classes(request, fold_of_group)
        except SplitError as error:
            first = first or error
        else:
            return dict(sorted(fold_of_group.items()))
    raise first or SplitError("no split was tried")


def _own_test(rows: TaskRows) -> set[str] | None:
    """The source's own test groups, none of which may be in its training part; None if it has no test set."""
    if rows.is_test is None or not rows.is_test.any():
        return None
    test, training = (set(rows.groups[part].tolist()) for part in (rows.is_test, ~rows.is_test))
    both = sorted(test & training)
    if both:
        noun = _noun(rows, 1)
        raise SplitError(
            f"{len(both)} {_noun(rows, len(both))} in both the training and the test part of the source: "
            f"{', '.join(both[:5])}{', ...' if len(both) > 5 else ''}; "
            f"keep all images of a {noun} in one part"
        )
    return test


def _sealed(request: _Request, seed: int) -> set[str]:
    """Groups of about `test_share` of the rows, with the classes in proportion."""
    if request.test_share == 0.0:
        return set()
    rows = request.rows
    everything = np.ones(len(rows.rows), dtype=bool)
    need = (
        f"a test share of {request.test_share:g} needs at least 2; use --test-share 0 or add {_noun(rows, 2)}"
    )
    _check_groups(request, everything, least=2, has="the data have", need=need)
    share = _fraction(request.test_share, most_parts=min(_MOST_PARTS, len(set(rows.groups.tolist()))))
    parts = _grouped_cut(rows.labels, rows.groups, share.denominator, seed)
    # The splitter deals the largest groups to the first parts, so the sealed ones are drawn among all.
    drawn = np.random.default_rng(seed).permutation(share.denominator)[: share.numerator].tolist()
    return {group for group, part in parts.items() if part in drawn}


def _fraction(share: float, *, most_parts: int) -> Fraction:
    near = Fraction(share).limit_denominator(most_parts)
    return min(max(near, Fraction(1, most_parts)), Fraction(most_parts - 1, most_parts))


def _cut_into_folds(request: _Request, test: set[str], seed: int) -> dict[str, int]:
    rows, folds = request.rows, request.folds
    training = ~np.isin(rows.groups, sorted(test))
    need = f"{folds} folds need at least {folds}"
    _check_groups(request, training, least=folds, has="the training part has", need=need)
    return _grouped_cut(rows.labels[training], rows.groups[training], folds, seed)


def _grouped_cut(labels: IntArray, groups: TextArray, parts: int, seed: int) -> dict[str, int]:
    from sklearn.model_selection import StratifiedGroupKFold  # workers read splits, and start sooner without

    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    part_of_group: dict[str, int] = {}
    with warnings.catch_warnings():
        # A class with fewer rows than parts: whether that matters is checked on the result.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for part, (_, held_out) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
            part_of_group |= dict.fromkeys(np.unique(groups[held_out]).tolist(), part)
    return part_of_group


def _check_groups(request: _Request, among: NDArray[np.bool_], *, least: int, has: str, need: str) -> None:
    """Refuse what no assignment can satisfy: too few groups at all, or too few with some class."""
    rows = request.rows
    subsets = {"": among} | {
        f" with class {name}": among & (rows.labels == label) for label, name in enumerate(request.classes)
    }
    for which, subset in subsets.items():
        found = len(set(rows.groups[subset].tolist()))
        if found < least:
            way_out = "" if "use --" in need else f"; {_fewer_folds(rows, found)}"
            raise SplitError(f"{has} {found} {_noun(rows, found)}{which}, {need}{way_out}")


def _fewer_folds(rows: TaskRows, found: int) -> str:
    return f"use --folds {found}" if found >= 2 else f"add {_noun(rows, 2)}"


def _check_classes(request: _Request, fold_of_group: Mapping[str, int]) -> None:
    for part, counts in _count(request, fold_of_group).items():
        missing = [name for name in request.classes if not counts[name]]
        if missing:
            found = counts[_noun(request.rows, 2)]
            raise SplitError(
                f"{part} would hold no {' and no '.join(missing)} among its {found} "
                f"{_noun(request.rows, found)}; {_other_cut(part)}"
            )


def _other_cut(part: str) -> str:
    if part == "test":
        return "use another --test-share or --seed, or a source whose own test set holds every class"
    return "use fewer --folds or another --seed"


def _count(request: _Request, fold_of_group: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Groups and images of each class, for every part."""
    rows = request.rows
    fold_of_row = np.array([fold_of_group[group] for group in rows.groups.tolist()])
    names = {f"fold {fold}": fold for fold in range(request.folds)}
    if TEST in fold_of_group.values():
        names["test"] = TEST
    return {
        part: {_noun(rows, 2): sum(fold == number for fold in fold_of_group.values())}
        | {
            name: int(np.sum((fold_of_row == number) & (rows.labels == label)))
            for label, name in enumerate(request.classes)
        }
        for part, number in names.items()
    }


def _noun(rows: TaskRows, count: int) -> str:
    return ("patient" if rows.is_grouped else "image group") + ("" if count == 1 else "s")


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
