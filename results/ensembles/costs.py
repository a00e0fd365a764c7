"""What the members of an ensemble cost to use together, by the metrics of cost that a search asks for."""

from collections.abc import Mapping, Sequence

from results.run.prediction_costs import PredictionTime
from results.run.records import TrialRecord
from results.scores.ranking import Objectives


def costs_of_trial(record: TrialRecord, objectives: Objectives) -> dict[str, float]:
    """Return what a trial costs, by the metrics of cost that are asked for."""
    return {name: record.values[name] for name in objectives.costs if name in record.values}


def costs_of_members(
    members: Sequence[int],
    measured: PredictionTime | None,
    costs: Mapping[int, Mapping[str, float]],
    objectives: Objectives,
) -> dict[str, float]:
    """Return what members cost together, by the metrics that are asked for: as measured, else summed."""
    if measured is None:
        return _sum_of([costs[number] for number in members], objectives)
    found = {"ms_per_image": measured.core_ms, "megabytes": measured.megabytes}
    return {name: value for name, value in found.items() if name in objectives.costs}


def _sum_of(costs: Sequence[Mapping[str, float]], objectives: Objectives) -> dict[str, float]:
    """What members cost together, for costs that are known of all of them."""
    return {
        name: sum(own[name] for own in costs)
        for name in objectives.costs
        if all(name in own for own in costs)
    }
