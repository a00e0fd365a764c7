"""Splits: the fold of each patient, and the patients of the sealed test part.

A split is made once per data set by a seeded, stratified, grouped splitter, written to a manifest with the
fingerprint of the data, and checked by every trial that uses it.

Three protocols: k-fold cross-validation; hold-out, with a single validation part that is fold 0; and the
naive split of single images, whose only purpose is comparison with published scores.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import SplitError
from trainables.common.files import write_atomically
from trainables.common.text import command_text, typed_path
from trainables.common.types import IntArray
from trainables.config.tasks import Task, task_named
from trainables.data.extra_rows import extra_groups, without_extra
from trainables.data.patches import TaskRows, TextArray
from trainables.data.stratified_cut import drawn_groups, grouped_cut
from trainables.data.units import only_class_of_units

TEST: Final = -1  # the "fold" of the sealed test part
TRAINING: Final = -2  # the "fold" of groups that no fold holds out: of a hold-out, or extra ones
TRAINING_PART: Final = "training"  # names of parts in the manifest
VALIDATION_PART: Final = "validation"
TEST_PART: Final = "test"
EXTRA_PART: Final = "extra"  # of folds; in a hold-out they are in the training part
_NAMES: Final = MappingProxyType({TEST: TEST_PART, TRAINING: TRAINING_PART})
ATTEMPTS: Final = 20  # number of derived seeds that are tried before a split is called impossible


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
    def unit(self) -> str:
        """Noun for a group: `patient`, `image group`, or `image` in a naive split."""
        return _unit(is_grouped=self.is_grouped, is_naive=self.is_naive)

    @property
    def digest(self) -> str:
        """Digest of the manifest's content."""
        return _digest(_content(self))

    def folds_of(self, rows: TaskRows) -> IntArray:
        """Return the fold of each row, `TEST` or `TRAINING`; shape (n,), int64.

        Raises:
            SplitError: If a row's group is not in the split.
        """
        return self.fold_of(_by_unit(rows, is_naive=self.is_naive).groups)

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


def make_split(  # noqa: PLR0913 - the data, the protocol, and a split to copy it from
    rows: TaskRows,
    *,
    fingerprint: str,
    task: str | Task,
    folds: int,
    test_share: float,
    seed: int,
    holdout: float | None = None,
    is_naive: bool = False,
    like: Split | None = None,
) -> Split:
    """Seal a test part, then cut the remaining groups into stratified folds. Every group stays whole.

    If the source has its own test rows they are the test part and `test_share` is not used. Otherwise the
    test part is `test_share` of a stratified, grouped cut, rounded to tenths or a simpler fraction. A
    hold-out cuts the other rows in the same way, so that 80/10/10 is a test share of 0.1 and a hold-out of
    1/9.

    Extra rows are in no fold and not in the test part: every fold trains on them.

    Where `rows` know their units, each fold and the test part have units of two classes, and of single images
    every class.

    A naive split takes single images as groups. It separates images of one patient, and a baseline from its
    abnormalities, so scores on it are too high; it exists for comparison with scores from such splits.

    Args:
        rows: Rows of the task with labels and groups, and with the units of a search that has some.
        fingerprint: Fingerprint of the patch set, stored in the split.
        task: The task, for class names; of a built-in one its name will do.
        folds: Number of folds, at least 2; not used with `holdout`.
        test_share: Share of the rows in the test part, in [0, 1); 0 seals nothing.
        seed: Seed of the splitter; the same seed gives the same split.
        holdout: Share of the remaining rows in the single validation part, in (0, 1); None cuts folds.
        is_naive: True to split images without regard to patients.
        like: Another split of the same data. Each group stays in the part it has there, and the protocol,
            test part and seed are those of `like`, whatever the other arguments say. A group that is extra
            in this task trains in every fold instead.

    Raises:
        SplitError: If there are too few groups, if a fold or the test part would lack a class or have units
            of a single one, if a patient is in both parts of a source with its own test set, or both extra
            and not, if `like` is of other data, or if it seals extra images or trains on the source's own
            test set.
        UnknownNameError: If there is no such task.
    """
    question = task_named(task) if isinstance(task, str) else task
    name, classes = question.name, question.classes
    if like is not None:
        return _taken_over(rows, fingerprint=fingerprint, task=name, classes=classes, like=like)
    request = _Request(
        _by_unit(rows, is_naive=is_naive),
        classes,
        folds=1 if holdout is not None else folds,
        test_share=test_share,
        holdout=holdout,
        unit=_unit(is_grouped=rows.is_grouped, is_naive=is_naive),
    )
    _check_request(request, seed)
    extra = extra_groups(request.rows, request.unit)
    scored = replace(request, rows=without_extra(request.rows))
    own_test = _own_test(scored)
    cut = _assign(scored, own_test, seed) | dict.fromkeys(extra, TRAINING)
    fold_of_group = dict(sorted(cut.items()))
    return Split(
        fingerprint=fingerprint,
        task=name,
        seed=seed,
        folds=request.folds,
        test_share=test_share,
        is_grouped=request.rows.is_grouped,
        has_own_test=own_test is not None,
        fold_of_group=fold_of_group,
        counts=_count(request, fold_of_group),
        holdout=holdout,
        is_naive=is_naive,
    )


def write_split(path: Path, split: Split) -> None:
    """Write the manifest: readable JSON with counts for each part and a digest of its content."""
    content = _content(split)
    write_atomically(path, json.dumps({"digest": _digest(content), **content}, indent=1) + "\n")


def digest_of(split: Split) -> str:
    """Return the SHA-256 of a split, as its manifest holds it."""
    return _digest(_content(split))


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


@dataclass(frozen=True, slots=True)
class _Request:
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


def _unit(*, is_grouped: bool, is_naive: bool) -> str:
    if is_naive:
        return "image"
    return "patient" if is_grouped else "image group"


def _by_unit(rows: TaskRows, *, is_naive: bool) -> TaskRows:
    """Rows with the groups that the split keeps whole."""
    if not is_naive:
        return rows
    groups = np.array([f"row-{row}" for row in rows.rows.tolist()])
    return replace(rows, groups=groups, is_grouped=False, units=None)  # it cuts units


def _taken_over(
    rows: TaskRows, *, fingerprint: str, task: str, classes: tuple[str, ...], like: Split
) -> Split:
    like.check_fingerprint(fingerprint)
    by_unit = _by_unit(rows, is_naive=like.is_naive)
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
    by_unit = _by_unit(rows, is_naive=split.is_naive)
    request = _Request(by_unit, classes, split.folds, split.test_share, split.holdout, split.unit)
    counts = _count(request, split.fold_of_group)
    _check_classes(request, counts, way_out)
    _check_units(request, split.fold_of_group, way_out)
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


def some_of(names: Sequence[str]) -> str:
    """Return the first five names, and that there are more."""
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"


def _check_request(request: _Request, seed: int) -> None:
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


def _assign(request: _Request, own_test: set[str] | None, seed: int) -> dict[str, int]:
    """Try seeds derived from `seed` until every part has its classes; report the first failure."""
    first: SplitError | None = None
    for attempt in range(ATTEMPTS):
        derived = int(np.random.SeedSequence((seed, attempt)).generate_state(1)[0])
        try:
            test = _sealed(request, derived) if own_test is None else own_test
            cut = _cut_into_folds if request.holdout is None else _hold_out
            fold_of_group = cut(request, test, derived) | dict.fromkeys(test, TEST)
            _check_classes(request, _count(request, fold_of_group))
            _check_units(request, fold_of_group)
        except SplitError as error:
            first = first or error
        else:
            return dict(sorted(fold_of_group.items()))
    raise first or SplitError("no split was tried")


def _own_test(request: _Request) -> set[str] | None:
    """Test groups of the source itself, disjoint from its training groups; None if it has no test set."""
    rows = request.rows
    if rows.is_test is None or not rows.is_test.any():
        return None
    test, training = (set(rows.groups[part].tolist()) for part in (rows.is_test, ~rows.is_test))
    both = sorted(test & training)
    if both:
        raise SplitError(
            f"{len(both)} {request.noun(len(both))} in both the training and the test part of the source: "
            f"{some_of(both)}; keep all images of a {request.unit} in one part"
        )
    return test


def _sealed(request: _Request, seed: int) -> set[str]:
    """Groups of about `test_share` of the rows, with the classes in proportion."""
    if request.test_share == 0.0:
        return set()
    need = (
        f"a test share of {request.test_share:g} needs at least 2; "
        f"use --test-share 0 or add {request.noun(2)}"
    )
    everything = np.ones(len(request.rows.rows), dtype=bool)
    _check_groups(request, everything, least=2, has="the data have", need=need)
    return drawn_groups(request.rows.labels, request.rows.groups, request.test_share, seed)


def _hold_out(request: _Request, test: set[str], seed: int) -> dict[str, int]:
    """Put about the requested share of the rows outside the test part into fold 0."""
    rows, share = request.rows, request.holdout or 0.0
    remaining = ~np.isin(rows.groups, sorted(test))
    need = f"a hold-out of {share:g} needs at least 2; use --test-share 0 or add {request.noun(2)}"
    _check_groups(request, remaining, least=2, has="the training part has", need=need)
    validation = drawn_groups(rows.labels[remaining], rows.groups[remaining], share, seed)
    return {
        group: 0 if group in validation else TRAINING
        for group in sorted(set(rows.groups[remaining].tolist()))
    }


def _cut_into_folds(request: _Request, test: set[str], seed: int) -> dict[str, int]:
    rows, folds = request.rows, request.folds
    training = ~np.isin(rows.groups, sorted(test))
    need = f"{folds} folds need at least {folds}"
    _check_groups(request, training, least=folds, has="the training part has", need=need)
    return grouped_cut(rows.labels[training], rows.groups[training], folds, seed)


def _check_groups(request: _Request, among: NDArray[np.bool_], *, least: int, has: str, need: str) -> None:
    """Check that an assignment exists: enough groups in total, and enough with each class."""
    rows = request.rows
    subsets = {"": among} | {
        f" with class {name}": among & (rows.labels == label) for label, name in enumerate(request.classes)
    }
    for which, subset in subsets.items():
        found = len(set(rows.groups[subset].tolist()))
        if found < least:
            way_out = "" if "use --" in need else f"; {_fewer_folds(request, found)}"
            raise SplitError(f"{has} {found} {request.noun(found)}{which}, {need}{way_out}")


def _fewer_folds(request: _Request, found: int) -> str:
    return f"use --folds {found}" if found >= 2 else f"add {request.noun(2)}"


def _check_classes(
    request: _Request, counts: Mapping[str, Mapping[str, int]], way_out: str | None = None
) -> None:
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


def _check_units(request: _Request, fold_of_group: Mapping[str, int], way_out: str | None = None) -> None:
    """Check that every part that is scored has units of two classes; its images may have both without."""
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


def _count(request: _Request, fold_of_group: Mapping[str, int]) -> dict[str, dict[str, int]]:
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


def _parts(request: _Request, found: set[int]) -> dict[str, int]:
    """Name -> the fold that stands for the part, of those that were found."""
    test = {TEST_PART: TEST} if TEST in found else {}
    if request.holdout is not None:
        return {TRAINING_PART: TRAINING, VALIDATION_PART: 0} | test
    extra = {EXTRA_PART: TRAINING} if TRAINING in found else {}
    return {f"fold {fold}": fold for fold in range(request.folds)} | test | extra


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
