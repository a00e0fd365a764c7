"""The nested search of a run: inner searches one after the other, their outer folds, and the result."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from orchestrator.nesting.inner_search import InnerSearch
from orchestrator.nesting.outer_fold import predict_outer_fold
from orchestrator.postprocessing.test_set import scored_part
from orchestrator.reporting.outer_events import write_outer_events
from orchestrator.tuning.rebuild import read_points
from orchestrator.tuning.reopen import DEFAULT_OPTIONS, ResumeOptions, checked_space
from orchestrator.tuning.session import Begin, run_each
from orchestrator.tuning.surroundings import Surroundings
from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import read_ensemble
from results.ensembles.later_trials import said_of_later_trials
from results.errors import EnsembleError, RunError, ScoreError
from results.run.damage import damaged_trials
from results.run.outer_fold import FoldPredictions, OuterFold, damaged_outer_fold, read_outer_fold
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from results.scores.metrics import metric_named
from results.scores.outer_result import (
    OuterCost,
    OuterResult,
    readable_outer,
    score_outer,
    stability_of,
    trials_to_nest,
)
from results.scores.ranking import objectives_of
from trainables.common.files import set_aside
from trainables.common.text import count_text
from trainables.common.types import IntArray
from trainables.data.group_names import group_unit
from trainables.data.outer_folds import cut_outer_folds, fewest_in_a_fold, inner_split
from trainables.data.patches import PatchSet, TaskRows, select_rows
from trainables.data.split_checks import FEWEST
from trainables.data.split_record import TEST, Split, read_split
from trainables.data.units import ScoredRows, with_units

DEFAULT_OUTER: Final = 5


@dataclass(frozen=True, slots=True)
class NestedOutcome:
    """A nested search that has ended.

    Attributes:
        result: Its result; None where it was interrupted.
        is_interrupted: The user ended it; what is finished is kept.
    """

    result: OuterResult | None
    is_interrupted: bool


@dataclass(frozen=True, slots=True)
class _Ground:
    """What a nested search stands on: the outer search, its data, and the outer folds."""

    run: RunFolder
    search: SearchRecord
    patch_set: PatchSet
    rows: TaskRows
    split: Split
    outer: IntArray
    folds: int
    trials: int

    def unseen(self, fold: int) -> ScoredRows:
        """Rows of an outer fold, 1-based, that are scored."""
        return scored_part(self.rows, self.rows.units, self.outer == fold - 1)


def run_nested_search(
    run: RunFolder,
    surroundings: Surroundings,
    *,
    outer: int | None = None,
    by: str = "",
    options: ResumeOptions = DEFAULT_OPTIONS,
) -> NestedOutcome:
    """Run the search of a run once without each outer fold, and score it on these folds.

    What is finished is kept: an interrupted nested search goes on where it was, and one that is complete is
    not run again, unless the search has had more trials since.

    Args:
        run: Run folder of the search.
        surroundings: What the inner searches run on, and who follows them.
        outer: Number of outer folds; None takes those that are there, or asked for by the search, or 5.
        by: Command that asks for it, for the log of looks.
        options: What the user has said of code that is run: space, sampler and pruner.

    Raises:
        RunError: If the search has no result, lies within another one, builds on a trial that has seen the
            outer folds, or shares its study with other searches.
        SplitError: If patients, classes or protocol of the search allow no outer folds.
        OrchestrateError: If the run, its data, weights or space are not as they must be.
    """
    search = run.search()
    _check(run, search)
    folds = outer
    if folds is None:
        folds = _known_folds(run) or search.request.outer or DEFAULT_OUTER
    trials, known = trials_to_nest(run), readable_outer(run)
    is_damaged = any(damaged_trials(run.outer_run(fold + 1)) for fold in range(folds))
    if known is not None and (known.folds, known.asked) == (folds, trials) and not is_damaged:
        return NestedOutcome(known, is_interrupted=False)
    with run.exclusive():
        space = checked_space(run, search, surroundings.notify, options)
        ground = _ground(run, search, folds, trials)
        points, task = read_points(run, search, surroundings.notify), search.task_definition
        inner = [
            InnerSearch(
                run,
                search,
                fold + 1,
                folds,
                ground.trials,
                inner_split(ground.rows, ground.split, task, ground.outer, fold),
                points,
                space,
                options.for_inner,
            )
            for fold in range(folds)
        ]
        for one in inner:
            one.check()
        if not _predicted(inner, ground, surroundings, by):
            return NestedOutcome(None, is_interrupted=True)
        result = _result(ground)
        if known is None and run.outer_file.exists():
            set_aside(run.outer_file, "damaged")
        run.write_json(run.outer_file, result.model_dump(mode="json"))
        try:
            write_outer_events(run, result)
        except OSError as error:  # the result is there, and worth more
            surroundings.notify(f"TensorBoard will not show the nested score: {error}")
    return NestedOutcome(result, is_interrupted=False)


def _check(run: RunFolder, search: SearchRecord) -> None:
    if search.outer is not None:
        raise RunError(
            f"{run.path} is itself a search inside outer fold {search.outer.fold}; name the outer search: "
            f"{search.outer.run}"
        )
    if search.repeat is not None:
        raise RunError(
            f"{run.path} trains finalists of another search again, and chooses nothing by itself; name the "
            f"search that chose them: {search.repeat.run}"
        )
    if search.driver:
        raise RunError(
            f"{run.path} shares the study {search.study_name} with other searches, and has run a part of its "
            "trials only, while nesting repeats a whole search: nest a search without --study"
        )
    if search.start_from is not None or search.type_from is not None:
        option = "--start-from" if search.start_from is not None else "--type-from"
        raise RunError(
            f"{run.path} builds on a trial of another search ({option}), which has seen patients of every "
            "outer fold: nothing can be claimed for patients that the whole has not seen. Nest a "
            "search without it"
        )
    if not any(record.state == "complete" for record in run.records()):
        raise RunError(
            f"a nested search repeats a search that has a result, and no trial of {run.path} was completed; "
            f"go on with: {run.resume_command}"
        )


def _known_folds(run: RunFolder) -> int | None:
    """Number of outer folds that a nested search of the run has begun with; None without one."""
    first = run.outer_run(1)
    place = first.search().outer if first.search_file.is_file() else None
    return None if place is None else place.folds


def _ground(run: RunFolder, search: SearchRecord, folds: int, trials: int) -> _Ground:
    patch_set, split = run.patch_set(), read_split(run.split_file)
    task = search.task_definition
    rows = with_units(patch_set, select_rows(patch_set, task), search.request.unit, task)
    outer = cut_outer_folds(rows, split, task, folds=folds)
    return _Ground(run, search, patch_set, rows, split, outer, folds, trials)


def _predicted(inner: list[InnerSearch], ground: _Ground, surroundings: Surroundings, by: str) -> bool:
    """Run the inner searches that are not finished, and let each predict its fold; False if interrupted."""
    waiting = [one for one in inner if not _is_done(one, ground)]
    say, name = surroundings.notify, metric_named(ground.search.metric).header

    def begun() -> Iterator[Begin]:
        for one in waiting:
            seen = ground.outer[(ground.outer >= 0) & (ground.outer != one.fold - 1)]
            unseen = ground.unseen(one.fold)
            say(
                f"outer fold {one.fold} of {one.folds}: the search runs on {count_text(len(seen), 'image')} "
                f"and does not see {len(unseen.rows)}"
            )
            yield one.begin(say)

    outcomes = run_each(begun(), surroundings, request=ground.search.request)
    with closing(outcomes):
        for one, outcome in zip(waiting, outcomes, strict=False):
            if outcome.is_interrupted:
                return False
            fold = predict_outer_fold(
                one.run,
                ground.unseen(one.fold),
                asked=one.trials,
                keep_weights=ground.search.request.keep_weights,
                by=by,
            )
            shipped = fold.models["shipped"]
            say(
                f"outer fold {one.fold} of {one.folds} is predicted by {shipped.name} of "
                f"{count_text(fold.complete, 'complete trial')}, {name} {shipped.inner_value:.3f} inside"
            )
    return True


def _is_done(one: InnerSearch, ground: _Ground) -> bool:
    found = _predicted_fold(one.run, ground, one.fold)
    if found is None or (found[0].folds, found[0].asked) != (one.folds, one.trials):
        return False
    return not damaged_trials(one.run)


def _predicted_fold(inner: RunFolder, ground: _Ground, fold: int) -> tuple[OuterFold, FoldPredictions] | None:
    """Read an outer fold, 1-based; None where it was not predicted yet.

    Raises:
        DamagedFileError: If its files do not hold what they should, or are those of another fold.
    """
    read = read_outer_fold(inner)
    if read is None:
        return None
    known, found = read
    if known.fold != fold:
        raise damaged_outer_fold(inner, f"it is outer fold {known.fold}, and should be {fold}")
    unseen = ground.unseen(fold)
    if known.folds == ground.folds and not (
        np.array_equal(found.rows, unseen.rows)
        and np.array_equal(found.labels, unseen.labels)
        and np.array_equal(found.groups, unseen.groups.astype(np.str_))
    ):
        raise damaged_outer_fold(inner, f"its images are not those of outer fold {fold}")
    return read


def _result(ground: _Ground) -> OuterResult:
    folds: list[tuple[OuterFold, FoldPredictions]] = []
    for fold in range(1, ground.folds + 1):
        found = _predicted_fold(ground.run.outer_run(fold), ground, fold)
        if found is None:
            raise RunError(
                f"outer fold {fold} of {ground.run.path} is not predicted; was it removed meanwhile?"
            )
        folds.append(found)
    search, objectives = ground.search, objectives_of(ground.search)
    scores, gains = score_outer(folds, objectives, seed=search.request.seed)
    records = [one for one, _ in folds]
    best = objectives.best(record for record in ground.run.records() if record.state == "complete")
    return OuterResult(
        folds=ground.folds,
        trials=tuple(one.ended for one in records),
        asked=ground.trials,
        metric=search.metric,
        patients=sum(one.patients for one in records),
        group_unit=group_unit(np.concatenate([found.groups for _, found in folds])),
        images=sum(len(found.rows) for _, found in folds),
        scores=scores,
        gains=gains,
        stability=stability_of(records),
        cost=OuterCost(
            plain_seconds=sum(record.wall_seconds for record in ground.run.records()),
            nested_seconds=sum(one.worker_seconds for one in records),
            features_computed=sum(one.features_computed for one in records),
            features_again=sum(one.features_again for one in records),
            features_read=sum(one.features_read for one in records),
        ),
        plain_value=_shipped_value(ground.run, search),
        plain_best=None if best is None else best.value,
        caveats=_caveats(ground, records),
        split=search.split_name,
        unit=search.request.unit,
        finished_at=datetime.now(UTC),
    )


def _shipped_value(run: RunFolder, search: SearchRecord) -> float | None:
    """What the search itself claims for what it ships; its ensembles are built where none were."""
    try:
        return read_ensemble(run).nested.interval.estimate
    except EnsembleError:
        pass
    try:
        built = build_ensembles(run, seed=search.request.seed)
    except (EnsembleError, ScoreError):  # the inner searches say more
        return None
    return next((one.nested.interval.estimate for one in built if one.is_chosen), None)


def _caveats(ground: _Ground, folds: list[OuterFold]) -> tuple[str, ...]:
    said, unit = [], group_unit(ground.rows.groups)
    if not (ground.split.folds_of(ground.rows) == TEST).any():
        said.append(
            f"No part was sealed, so no {unit}s are left on which this score could be confirmed once."
        )
    if not ground.split.is_grouped:
        said.append(
            "Patients are unknown, so one may be in several outer folds: the score holds for new images, not "
            "for new patients."
        )
    few = fewest_in_a_fold(ground.rows, ground.outer)
    if few < FEWEST:
        said.append(
            f"An outer fold holds only {count_text(few, unit)} of a class: scores of single folds are rough."
        )
    short = [one.fold for one in folds if one.ended < one.asked]
    if short:
        said.append(
            f"Searches ran out of time before their {ground.trials} trials: without outer fold "
            f"{', '.join(map(str, short))}."
        )
    if any("first_point" not in one.models for one in folds):
        said.append(
            "The first point was not completed everywhere, so what the search gains over it is unknown."
        )
    if (later := said_of_later_trials(ground.run)) and _shipped_value(ground.run, ground.search) is not None:
        said.append(f"What the search itself claims is of an earlier state: {later}.")
    return tuple(said)
