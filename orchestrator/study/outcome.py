"""The end of a trial as Optuna is told it.

Trials that crash, run out of memory or get a loss of NaN or infinity are reported to Optuna as PRUNED: the
sampler learns from pruned trials, but ignores failed ones and would keep proposing configurations that crash.
The true cause stays in the record and as a user attribute of the trial. With several metrics no value of an
unfinished trial is told, since Optuna takes none; that it was stopped or crashed is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from optuna.trial import TrialState

from results.run.records import TrialRecord
from results.scores.ranking import Objectives

UNOPENED: Final = "unopened"  # attribute of a trial that ended before its features were there


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a trial as Optuna is told it.

    Attributes:
        state: COMPLETE, PRUNED or FAIL.
        values: Value of each metric of a complete trial; None for others.
        constraints: Requirement -> by how much a complete trial misses it; 0 or less if it keeps it.
        intermediate_values: Epoch -> value, by which the sampler ranks an unfinished trial.
    """

    state: TrialState
    values: tuple[float, ...] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    intermediate_values: Mapping[int, float] = field(default_factory=dict)


def outcome_of(record: TrialRecord, objectives: Objectives) -> Outcome:
    """Return what Optuna is told about a trial that has ended."""
    if record.cause == "environment":
        return Outcome(TrialState.FAIL)  # it says nothing about the configuration
    found = {objectives.metrics[0]: record.value, **record.values}
    values = tuple(value for name in objectives.metrics if (value := found.get(name)) is not None)
    if record.state == "complete" and len(values) == len(objectives.metrics):
        missed = {own.metric: own.violation(found.get(own.metric)) for own in objectives.requirements}
        return Outcome(TrialState.COMPLETE, values, missed)
    is_told = record.value is not None and record.epochs > 0 and len(objectives.metrics) == 1
    reached = {record.epochs: record.value} if is_told and record.value is not None else {}
    return Outcome(TrialState.PRUNED, intermediate_values=reached)


def is_unopened(record: TrialRecord) -> bool:
    """Tell whether a trial ended before its features were there, so that others may lack them, too."""
    return record.prefix is None and record.state != "complete"
