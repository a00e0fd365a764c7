"""What ensembles are built on: the trials that members may be chosen from, and how many of them.

All complete trials may be members; a limit of time leaves those that are fast enough, alone and together.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from results.ensembles.choice import choose_members
from results.ensembles.costs import costs_of_trial
from results.ensembles.ensemble import nothing_completed
from results.ensembles.limits import considered_among
from results.ensembles.members import Members, align, kind_of
from results.ensembles.nested import orders_of_choice
from results.errors import EnsembleError
from results.run.prediction_costs import PredictionTime
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.fold_scores import collapsed_folds
from results.scores.ranking import MOST_COMPARED, objectives_of
from trainables.config.baseline import is_baseline

# Numbers of members of models, the most important first -> ascending numbers of members -> cost of those that
# can be measured. `results.export.graph_cost.measure_models` of a run is one.
Measure = Callable[[Sequence[Sequence[int]]], Mapping[tuple[int, ...], PredictionTime]]


@dataclass(frozen=True, slots=True)
class Ground:
    """What ensembles are built on.

    Attributes:
        pool: Trials that members may be chosen from without a fold.
        candidates: Those of them that can be shipped.
        considered: Number of best trials that may be members.
        max_members: Largest number of members.
        costs: Trial number -> metric -> value, for metrics that predictions do not tell.
        digests: Trial number -> digest of its predictions.
        collapsed: Trials that give every image of some fold the same score.
        is_named: The user named the only trials that may be members.
        compared: Number of trials that were compared, the best by all folds where there are very many.
        complete: Number of trials that could have been.
    """

    pool: Members
    candidates: Members
    considered: int
    max_members: int
    costs: Mapping[int, Mapping[str, float]]
    digests: Mapping[int, str]
    collapsed: frozenset[int]
    is_named: bool
    compared: int
    complete: int


def ground_of(run: RunFolder, search: SearchRecord, trials: Sequence[int] | None, max_members: int) -> Ground:
    """Return what the ensembles of a run are built on.

    Args:
        run: Folder of the search.
        search: Its record.
        trials: Numbers of the only trials that may be members; None allows the better half of all.
        max_members: Largest number of members.

    Raises:
        EnsembleError: If no trial can be a member, or the trials do not belong together.
    """
    objectives = objectives_of(search)
    complete = _complete(run, search, trials)
    compared = complete[:MOST_COMPARED] if trials is None else complete
    readable = list(run.readable_predictions(compared))
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
    return Ground(
        pool=pool,
        candidates=pool.only([pool.trials.index(record.number) for record in usable]),
        considered=considered_among(len(pool.trials)) if trials is None else len(pool.trials),
        max_members=max_members,
        costs=costs,
        digests={record.number: own.digest for record, own in readable},
        collapsed=collapsed,
        is_named=trials is not None,
        compared=len(compared),
        complete=len(complete),
    )


def limited(ground: Ground, measure: Measure | None, max_ms: float, seed: int) -> Ground:
    """Return the same with the candidates that are fast enough, and as many members as are fast together.

    Args:
        ground: What ensembles would be built on.
        measure: Measures what models cost.
        max_ms: Longest time of an image on one core, in milliseconds.
        seed: Random seed of the nested evaluation.

    Raises:
        EnsembleError: If there is no `measure`, or no candidate is fast enough.
        ScoreError: If too few patients are left to hold any out.
    """
    considered = ground.considered
    candidates = _fast_enough(
        ground.candidates, measure, max_ms, max_members=ground.max_members, considered=considered, seed=seed
    )
    max_members = _fitting(
        candidates, measure, max_members=ground.max_members, considered=considered, max_ms=max_ms
    )
    # The choice without a fold is made among the same trials.
    return replace(ground, pool=candidates, candidates=candidates, max_members=max_members)


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
    return objectives_of(search).rank(complete)


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
    fits, too_many = 1, min(max_members, len(candidates.trials)) + 1
    number = too_many - 1
    while fits < number:  # the more members, the slower: the largest number lies between these two
        members = candidates.only(choose_members(candidates, number, considered)).trials
        found = {} if measure is None else measure([members])
        if _is_fast(found, members, max_ms):
            fits = number
        else:
            too_many = number
        number = (fits + too_many) // 2
    return fits


def _is_fast(found: Mapping[tuple[int, ...], PredictionTime], members: Sequence[int], max_ms: float) -> bool:
    cost = found.get(tuple(sorted(members)))
    return cost is not None and cost.core_ms <= max_ms


def _fastest_of(found: Mapping[tuple[int, ...], PredictionTime]) -> str:
    if not found:
        return "none of them could be measured"
    members, cost = min(found.items(), key=lambda pair: pair[1].core_ms)
    return f"the fastest, trial {members[0]}, takes {cost.core_ms:.1f} ms"
