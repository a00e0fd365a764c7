"""Splits: the fold of each patient, and the patients of the sealed test part.

A split is made once per data set by a seeded, stratified, grouped splitter, written to a manifest with the
fingerprint of the data, and checked by every trial that uses it.

Three protocols: k-fold cross-validation; hold-out, with a single validation part that is fold 0; and the
naive split of single images, whose only purpose is comparison with published scores.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from trainables.common.errors import SplitError
from trainables.config.tasks import Task, task_named
from trainables.data.extra_rows import extra_groups, without_extra
from trainables.data.patches import TaskRows
from trainables.data.split_parts import (
    SplitRequest,
    check_classes,
    check_groups,
    check_request,
    check_units,
    counted,
)
from trainables.data.split_record import TEST, TRAINING, Split, by_split_unit, some_of, split_unit
from trainables.data.stratified_cut import drawn_groups, grouped_cut
from trainables.data.taken_over_split import taken_over

ATTEMPTS: Final = 20  # number of derived seeds that are tried before a split is called impossible


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
        return taken_over(rows, fingerprint=fingerprint, task=name, classes=classes, like=like)
    request = SplitRequest(
        by_split_unit(rows, is_naive=is_naive),
        classes,
        folds=1 if holdout is not None else folds,
        test_share=test_share,
        holdout=holdout,
        unit=split_unit(is_grouped=rows.is_grouped, is_naive=is_naive),
    )
    check_request(request, seed)
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
        counts=counted(request, fold_of_group),
        holdout=holdout,
        is_naive=is_naive,
    )


def _assign(request: SplitRequest, own_test: set[str] | None, seed: int) -> dict[str, int]:
    """Try seeds derived from `seed` until every part has its classes; report the first failure."""
    first: SplitError | None = None
    for attempt in range(ATTEMPTS):
        derived = int(np.random.SeedSequence((seed, attempt)).generate_state(1)[0])
        try:
            test = _sealed(request, derived) if own_test is None else own_test
            cut = _cut_into_folds if request.holdout is None else _hold_out
            fold_of_group = cut(request, test, derived) | dict.fromkeys(test, TEST)
            check_classes(request, counted(request, fold_of_group))
            check_units(request, fold_of_group)
        except SplitError as error:
            first = first or error
        else:
            return dict(sorted(fold_of_group.items()))
    raise first or SplitError("no split was tried")


def _own_test(request: SplitRequest) -> set[str] | None:
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


def _sealed(request: SplitRequest, seed: int) -> set[str]:
    """Groups of about `test_share` of the rows, with the classes in proportion."""
    if request.test_share == 0.0:
        return set()
    need = (
        f"a test share of {request.test_share:g} needs at least 2; "
        f"use --test-share 0 or add {request.noun(2)}"
    )
    everything = np.ones(len(request.rows.rows), dtype=bool)
    check_groups(request, everything, least=2, has="the data have", need=need)
    return drawn_groups(request.rows.labels, request.rows.groups, request.test_share, seed)


def _hold_out(request: SplitRequest, test: set[str], seed: int) -> dict[str, int]:
    """Put about the requested share of the rows outside the test part into fold 0."""
    rows, share = request.rows, request.holdout or 0.0
    remaining = ~np.isin(rows.groups, sorted(test))
    need = f"a hold-out of {share:g} needs at least 2; use --test-share 0 or add {request.noun(2)}"
    check_groups(request, remaining, least=2, has="the training part has", need=need)
    validation = drawn_groups(rows.labels[remaining], rows.groups[remaining], share, seed)
    return {
        group: 0 if group in validation else TRAINING
        for group in sorted(set(rows.groups[remaining].tolist()))
    }


def _cut_into_folds(request: SplitRequest, test: set[str], seed: int) -> dict[str, int]:
    rows, folds = request.rows, request.folds
    training = ~np.isin(rows.groups, sorted(test))
    need = f"{folds} folds need at least {folds}"
    check_groups(request, training, least=folds, has="the training part has", need=need)
    return grouped_cut(rows.labels[training], rows.groups[training], folds, seed)
