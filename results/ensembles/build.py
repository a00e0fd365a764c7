"""Ensembles of a run's finished trials: choice of members, fit, calibration and nested scores."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from results.ensembles.choice import choose_members
from results.ensembles.costs import costs_of_members, costs_of_trial
from results.ensembles.ensemble import BEST, Ensemble, NestedScore, nothing_completed
from results.ensembles.limits import DEFAULT_MEMBERS, considered_among
from results.ensembles.members import Members, align, kind_of
from results.ensembles.methods import FittedEnsemble, fit, method_named, methods_for
from results.ensembles.nested import (
    BASELINE,
    BEST_SINGLE,
    EnsembleScore,
    choose,
    nested_evaluation,
    orders_of_choice,
)
from results.ensembles.weighted_mean import WeightedMean, weighted_mean
from results.errors import EnsembleError
from results.run.prediction_costs import PredictionTime
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.decision_rule import fit_decision_rule
from results.scores.fold_scores import collapsed_folds, out_of_fold_metrics
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.ranking import MOST_COMPARED, Objectives, objectives_of
from trainables.config.baseline import is_baseline

# Numbers of members of models, the most important first -> ascending numbers of members -> cost of those that
# can be measured. `results.export.graph_cost.measure_models` of a run is one.
Measure = Callable[[Sequence[Sequence[int]]], Mapping[tuple[int, ...], PredictionTime]]


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
) -> list[Ensemble]:
    """Fit every method on out-of-fold predictions of some trials and write the ensembles to the run folder.

    Members are the best trials of each kind in turn, see `choose_members`. Their choice out of all complete
    trials, the fit, the calibration and the thresholds are scored on folds that had no part in them, and so
    is the best single trial. Members need weights, or are classical models, which need none. Trials with
    collapsed folds are no members unless all have them. Members are ranked, and weights and method chosen, by
    what the search optimises. A requirement is one of the ensemble: members may miss it, but those that do
    come last, and a method whose nested values miss it is chosen only if all do. The best trial on colour and
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
    objectives = objectives_of(search)
    readable = list(run.readable_predictions(_complete(run, search, trials)))
    costs = {record.number: costs_of_trial(record, objectives) for record, _ in readable}
    pool = align(
        {record.number: own for record, own in readable},
        objectives=objectives,
        costs=costs,
        kinds={record.number: kind_of(record.config) for record, _ in readable},
    )
    # Of records of earlier versions the collapsed folds followed another rule.
    collapsed = frozenset(record.number for record, own in readable if collapsed_folds(own))
    usable = _usable(search, [record for record, _ in readable], () if trials is not None else collapsed)
    baselines = frozenset(record.number for record in usable if is_baseline(record.config))
    pool = replace(pool, baselines=baselines)
    candidates = pool.only([pool.trials.index(record.number) for record in usable])
    considered = considered_among(len(pool.trials)) if trials is None else len(pool.trials)
    if max_ms is not None:
        candidates = _fast_enough(
            candidates, measure, max_ms, max_members=max_members, considered=considered, seed=seed
        )
        pool = candidates  # the choice without a fold is made among the same trials
        max_members = _fitting(
            candidates, measure, max_members=max_members, considered=considered, max_ms=max_ms
        )
        methods = methods if max_members > 1 else ()
    scored = nested_evaluation(
        pool,
        methods if len(candidates.trials) > 1 else (),
        max_members=max_members,
        seed=seed,
        considered=considered,
    )
    all_fitted = [_fitted(candidates, score.method, max_members, considered, seed) for score in scored]
    measured = {} if measure is None else measure([members for members, _ in all_fitted])
    times = [measured.get(tuple(sorted(members))) for members, _ in all_fitted]
    summed = [
        costs_of_members(members, time, costs, objectives)
        for (members, _), time in zip(all_fitted, times, strict=True)
    ]
    best = choose(scored, seed=seed, objectives=objectives, costs=summed)
    claimed = [best if score.method == best.method else score for score in scored]
    nested = _kept(claimed, summed, objectives, operation)
    digests = {record.number: own.digest for record, own in readable}
    built = []
    for score, kept, (members, fitted), time in zip(scored, nested, all_fitted, times, strict=True):
        # What is chosen is calibrated by its own predictions, also where its score is that of the choice.
        rule = fit_decision_rule(
            score.out_of_fold,
            searched=objectives.metrics,
            operation=operation,
        )
        built.append(
            Ensemble(
                method=score.method,
                classes=search.classes,
                trials=members,
                digests=tuple(digests[number] for number in members),
                fitted=fitted,
                calibration=rule.calibration,
                mean_calibration=rule.mean_calibration,
                threshold=rule.threshold,
                thresholds=rule.thresholds,
                best_for=rule.best_for,
                operation=rule.operation,
                triage=rule.triage,
                nested=kept,
                is_chosen=score.method == best.method,
                chosen_without=best.chosen_without if score.method == best.method else (),
                collapsed=tuple(number for number in members if number in collapsed),
                pool=pool.trials,
                baselines=tuple(number for number in pool.trials if number in baselines),
                fingerprint=search.fingerprint,
                seed=seed,
                max_members=max_members,
                considered=considered,
                split=search.split_name,
                cost=None if time is None else PredictionTime(**time.model_dump(exclude={"trials"})),
                max_ms=max_ms,
            )
        )
    for ensemble in built:
        run.write_json(run.ensemble_file(ensemble.method), ensemble.model_dump(mode="json"))
        if ensemble.is_chosen:
            run.write_json(run.ensemble_file(BEST), ensemble.model_dump(mode="json"))
    return built


def _complete(run: RunFolder, search: SearchRecord, trials: Sequence[int] | None) -> list[TrialRecord]:
    """Return the best complete trials, or all of the named ones that are complete, best first."""
    records = [record for record in run.records() if trials is None or record.number in trials]
    complete = [record for record in records if record.state == "complete" and record.value is not None]
    if not complete and trials is None:
        raise nothing_completed(run)
    if not complete:
        raise EnsembleError(
            f"an ensemble needs a complete trial, found none among {len(records)} in {run.path}; "
            f"allow more time or trials with: {run.command('resume', '--minutes', '30')}"
        )
    _check_same_data(complete, search.fingerprint)
    ranked = objectives_of(search).rank(complete)
    return ranked[:MOST_COMPARED] if trials is None else ranked


def _usable(
    search: SearchRecord, complete: Sequence[TrialRecord], without: Collection[int]
) -> list[TrialRecord]:
    """Return the trials that can be members; those in `without` only if there are no others."""
    weighted = [record for record in complete if record.can_predict]
    if not weighted:
        raise EnsembleError(
            "an ensemble needs trials that kept their weights, "
            f"found none among {len(complete)} complete ones; the search kept the weights of "
            f"{search.request.keep_weights} trials: search again keeping more"
        )
    return [record for record in weighted if record.number not in without] or weighted


def _check_same_data(records: Sequence[TrialRecord], fingerprint: str) -> None:
    strangers = [record.number for record in records if record.fingerprint != fingerprint]
    if strangers:
        raise EnsembleError(
            f"members need the run's own data {fingerprint[:12]}; trials {strangers} were run on other data. "
            "Move them out of the run folder"
        )


def _fitted(
    pool: Members, method: str, max_members: int, considered: int, seed: int
) -> tuple[tuple[int, ...], FittedEnsemble]:
    """Members and rule, fitted on all out-of-fold predictions; members without a weight are dropped."""
    is_single = method in (BEST_SINGLE, BASELINE)
    pool = pool.simplest if method == BASELINE else pool
    members = pool.only(choose_members(pool, 1 if is_single else max_members, considered))
    fitted = fit("average" if is_single else method, members, seed)
    if isinstance(fitted, WeightedMean):
        members, fitted = _without_idle_members(members, fitted)
    return members.trials, fitted


def _without_idle_members(members: Members, fitted: WeightedMean) -> tuple[Members, WeightedMean]:
    used = np.flatnonzero(fitted.weights)
    return members.only(used.tolist()), weighted_mean(np.asarray(fitted.weights)[used])


def _fast_enough(
    candidates: Members,
    measure: Measure | None,
    max_ms: float,
    *,
    max_members: int,
    considered: int,
    seed: int,
) -> Members:
    """Keep the candidates that are fast enough alone, as far as any fold would choose them.

    A measurement takes seconds, so each fold's order of choice is walked until there are enough.
    """
    if measure is None:
        raise EnsembleError("a limit of time needs something that measures it: give `measure`, too")
    found: dict[tuple[int, ...], PredictionTime] = {}
    asked: set[int] = set()
    fast: set[int] = set()
    for order in orders_of_choice(candidates, considered=considered, seed=seed):
        enough = 0
        for place in order:
            number = candidates.trials[place]
            if place not in asked:
                asked.add(place)
                found |= measure([(number,)])
            if _is_fast(found, (number,), max_ms):
                fast.add(place)
                enough += 1
            if enough == max_members:
                break
    if not fast:
        raise EnsembleError(
            f"no trial that kept its weights answers within {max_ms:g} ms an image on one core: "
            f"{_fastest_of(found)}. Allow more (--max-ms), or search with --max-ms {max_ms:g}"
        )
    return candidates.only(sorted(fast))


def _fitting(
    candidates: Members, measure: Measure | None, *, max_members: int, considered: int, max_ms: float
) -> int:
    """The largest number of first members that are fast enough all together; 1 where two are not.

    A method that leaves most members without a weight would be fast with any number, and leave the others
    without members that are fast together.
    """
    for number in range(min(max_members, len(candidates.trials)), 1, -1):
        members = candidates.only(choose_members(candidates, number, considered)).trials
        found = {} if measure is None else measure([members])
        if _is_fast(found, members, max_ms):
            return number
    return 1


def _is_fast(found: Mapping[tuple[int, ...], PredictionTime], members: Sequence[int], max_ms: float) -> bool:
    cost = found.get(tuple(sorted(members)))
    return cost is not None and cost.core_ms <= max_ms


def _fastest_of(found: Mapping[tuple[int, ...], PredictionTime]) -> str:
    if not found:
        return "none of them could be measured"
    members, cost = min(found.items(), key=lambda pair: pair[1].core_ms)
    return f"the fastest, trial {members[0]}, takes {cost.core_ms:.1f} ms"


def _kept(
    scored: Sequence[EnsembleScore],
    costs: Sequence[Mapping[str, float]],
    objectives: Objectives,
    operation: Operation,
) -> list[NestedScore]:
    metrics = [
        score.metrics
        if operation.at is None
        else out_of_fold_metrics(score.out_of_fold, objectives, operation)
        for score in scored
    ]
    values = [{**score, **own} for score, own in zip(metrics, costs, strict=True)]
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
