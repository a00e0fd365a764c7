"""Ensembles of a run's finished trials: choice of members, fit, calibration and nested scores."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from results.ensembles.choice import choose_members
from results.ensembles.costs import costs_of_members
from results.ensembles.ensemble import BEST, BUILT, Ensemble, NestedScore
from results.ensembles.ground import Ground, Measure, ground_of, limited
from results.ensembles.limits import DEFAULT_MEMBERS
from results.ensembles.members import Members
from results.ensembles.methods import FittedEnsemble, fit, method_named, methods_for
from results.ensembles.nested import BASELINE, BEST_SINGLE, EnsembleScore, choose, nested_evaluation
from results.ensembles.weighted_mean import WeightedMean, weighted_mean
from results.errors import EnsembleError
from results.run.prediction_costs import PredictionTime
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from results.scores.decision_rule import fit_decision_rule
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.ranking import Objectives
from trainables.features.locks import held


def build_ensembles(  # noqa: PLR0913 - who may be a member, how they are combined, and what is asked
    run: RunFolder,
    *,
    trials: Sequence[int] | None = None,
    max_members: int = DEFAULT_MEMBERS,
    methods: Sequence[str] | None = None,
    seed: int,
    measure: Measure | None = None,
    max_ms: float | None = None,
    operation: Operation = NOTHING_ASKED,
    recipe: str = "",
) -> list[Ensemble]:
    """Fit every method on out-of-fold predictions of some trials and write the ensembles to the run folder.

    The run folder then holds the ensembles of this build, `best` among them, and those of recipes; others of
    an earlier build are removed, since they knew other trials or were asked for other decisions.

    Members are the best trials of each kind in turn, see `choose_members`. Their choice out of all complete
    trials, the fit, the calibration and the thresholds are scored on folds that had no part in them, and so
    is the best single trial. Members need weights, or are classical models, which need none. Trials with
    collapsed folds are no members unless all have them. Members are ranked, and weights and method chosen, by
    what the search optimises. A requirement is one of the ensemble: members may miss it, but those that do
    come last, and a method whose nested values, of the decisions that are asked for, miss it is chosen only
    if all do. The best trial on colour and
    intensity only is chosen where nothing did better, see `choose`.

    Args:
        run: Folder of the search.
        trials: Numbers of the only trials that may be members; None allows the better half, 40 at most.
        max_members: Largest number of members of an ensemble.
        methods: Names in `METHODS`; None takes all that combine as many classes. If there is only one
            candidate, the single trial is the result.
        seed: Random seed of methods and comparisons.
        measure: Measures what models cost; None leaves that open.
        max_ms: Longest time of an image on one core, in milliseconds, which needs `measure`. Members are
            trials that are fast enough alone, and fewer than `max_members` where these together would be
            too slow; if the first two are, the single trial is the result.
        operation: What is asked of the decisions of all ensembles.
        recipe: Name of the recipe that names trials and its one method: the ensemble is written under this
            name, none is chosen, and those of the run stay as they are. Empty for ensembles of the run.

    Returns:
        Ensembles: the best single trial first, then the methods as given, then the baseline if there is one.

    Raises:
        EnsembleError: If no trial can be a member, or the trials do not belong together.
        ScoreError: If too few patients are left to hold any out, or no threshold keeps what is asked for.
        UnknownNameError: If there is no such method.
    """
    if max_members < 1:
        raise EnsembleError(f"an ensemble has at least 1 member, found members {max_members}")
    search = run.search()
    methods = methods_for(len(search.classes)) if methods is None else methods
    for method in methods:
        method_named(method)
    ground = ground_of(run, search, trials, max_members)
    if max_ms is not None:
        ground = limited(ground, measure, max_ms, seed)
        methods = methods if ground.max_members > 1 else ()
    models = _models(ground, methods, measure, operation, seed, has_choice=not recipe)
    built = [
        _ensemble(model, ground, search, operation=operation, seed=seed, max_ms=max_ms) for model in models
    ]
    if recipe:
        built = [one.model_copy(update={"recipe": recipe}) if one.method in methods else one for one in built]
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # without locks, `read_ensemble` tells two builds apart
            stack.enter_context(held(run.ensembles_lock, may_wait=True))
        _write(run, built, recipe)
    return built


def _write(run: RunFolder, built: Sequence[Ensemble], recipe: str) -> None:
    """Put a build in the place of an earlier one; two at once come one after the other."""
    if recipe:
        run.ensemble_file(recipe).unlink(missing_ok=True)  # of an earlier build, where nothing is built now
    else:
        for name in set(BUILT) - {one.method for one in built}:
            run.ensemble_file(name).unlink(missing_ok=True)
    for one in built:
        if one.recipe == recipe:  # what a recipe's is compared with is none of the run's
            run.write_json(run.ensemble_file(one.name), one.model_dump(mode="json"))
    for one in built:
        if one.is_chosen:
            run.write_json(run.ensemble_file(BEST), one.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class _Model:
    """A method with its nested predictions, and what is shipped of it.

    Attributes:
        score: Score of the method itself.
        kept: Score that is claimed, of the choice where the folds do not agree on it.
        members: Trial numbers of the members.
        fitted: Combination rule.
        cost: What the members cost; None where it was not measured.
        is_chosen: The method is chosen.
        chosen_without: What would have been chosen without each fold, see `Ensemble`.
    """

    score: EnsembleScore
    kept: NestedScore
    members: tuple[int, ...]
    fitted: FittedEnsemble
    cost: PredictionTime | None
    is_chosen: bool
    chosen_without: tuple[str, ...]


def _models(
    ground: Ground,
    methods: Sequence[str],
    measure: Measure | None,
    operation: Operation,
    seed: int,
    *,
    has_choice: bool,
) -> list[_Model]:
    """Score and fit every method, and choose one where there is a choice, by the decisions asked for."""
    objectives = ground.pool.objectives.at(operation)
    scored = nested_evaluation(
        ground.pool,
        methods if len(ground.candidates.trials) > 1 else (),
        max_members=ground.max_members,
        seed=seed,
        considered=ground.considered,
        operation=operation,
    )
    fitted = [_fitted(ground, score.method, seed) for score in scored]
    measured = {} if measure is None else measure([members for members, _ in fitted])
    times = [measured.get(tuple(sorted(members))) for members, _ in fitted]
    summed = [
        costs_of_members(members, time, ground.costs, objectives)
        for (members, _), time in zip(fitted, times, strict=True)
    ]
    chosen = [choose(scored, seed=seed, objectives=objectives, costs=summed)] if has_choice else []
    best = {one.method: one for one in chosen}
    nested = _kept([best.get(one.method, one) for one in scored], summed, objectives)
    return [
        _Model(
            score=score,
            kept=kept,
            members=members,
            fitted=rule,
            cost=None if time is None else PredictionTime(**time.model_dump(exclude={"trials"})),
            is_chosen=score.method in best,
            chosen_without=best[score.method].chosen_without if score.method in best else (),
        )
        for score, kept, (members, rule), time in zip(scored, nested, fitted, times, strict=True)
    ]


def _ensemble(
    model: _Model,
    ground: Ground,
    search: SearchRecord,
    *,
    operation: Operation,
    seed: int,
    max_ms: float | None,
) -> Ensemble:
    # What is chosen is calibrated by its own predictions, also where its score is that of the choice.
    rule = fit_decision_rule(model.score.out_of_fold, searched=search.metrics, operation=operation)
    pool = ground.pool
    return Ensemble(
        method=model.score.method,
        classes=search.classes,
        trials=model.members,
        digests=tuple(ground.digests[number] for number in model.members),
        fitted=model.fitted,
        calibration=rule.calibration,
        mean_calibration=rule.mean_calibration,
        threshold=rule.threshold,
        thresholds=rule.thresholds,
        best_for=rule.best_for,
        operation=rule.operation,
        triage=rule.triage,
        nested=model.kept,
        is_chosen=model.is_chosen,
        chosen_without=model.chosen_without,
        collapsed=tuple(number for number in model.members if number in ground.collapsed),
        pool=pool.trials,
        is_named=ground.is_named,
        compared=ground.compared,
        complete=ground.complete,
        baselines=tuple(number for number in pool.trials if number in pool.baselines),
        fingerprint=search.fingerprint,
        seed=seed,
        max_members=ground.max_members,
        considered=ground.considered,
        split=search.split_name,
        cost=model.cost,
        max_ms=max_ms,
    )


def _fitted(ground: Ground, method: str, seed: int) -> tuple[tuple[int, ...], FittedEnsemble]:
    """Members and rule, fitted on all out-of-fold predictions; members without a weight are dropped."""
    is_single = method in (BEST_SINGLE, BASELINE)
    pool = ground.candidates.simplest if method == BASELINE else ground.candidates
    chosen = choose_members(pool, 1 if is_single else ground.max_members, ground.considered)
    members = pool.only(chosen)
    fitted = fit("average" if is_single else method, members, seed)
    if isinstance(fitted, WeightedMean):
        members, fitted = _without_idle_members(members, fitted)
    return members.trials, fitted


def _without_idle_members(members: Members, fitted: WeightedMean) -> tuple[Members, WeightedMean]:
    used = np.flatnonzero(fitted.weights)
    return members.only(used.tolist()), weighted_mean(np.asarray(fitted.weights)[used])


def _kept(
    scored: Sequence[EnsembleScore], costs: Sequence[Mapping[str, float]], objectives: Objectives
) -> list[NestedScore]:
    values = [{**score.metrics, **own} for score, own in zip(scored, costs, strict=True)]
    on_front: Sequence[bool | None] = [None] * len(scored)
    if len(objectives.metrics) > 1:
        on_front = objectives.is_on_front(values)
    return [
        NestedScore(
            metric=objectives.metrics[0],
            value=score.value.estimate,
            low=score.value.low,
            high=score.value.high,
            auc=score.auc.estimate,
            auc_low=score.auc.low,
            auc_high=score.auc.high,
            fold_auc=score.fold_auc,
            difference=None if score.difference is None else score.difference.estimate,
            difference_low=None if score.difference is None else score.difference.low,
            difference_high=None if score.difference is None else score.difference.high,
            metrics=own,
            missed=objectives.missed(own),
            is_on_front=is_on_front,
        )
        for score, own, is_on_front in zip(scored, values, on_front, strict=True)
    ]
