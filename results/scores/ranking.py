"""Ranking of trials by what a search optimises: only this module knows the directions of metrics.

With several metrics no trial is the best. Those that no other trial beats in all of them form the front, and
come first; the first metric orders what is equally far from the front.
"""

import bisect
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from results.run.records import SearchRecord, TrialRecord
from results.run.registered_objects import require_registered
from results.run.search_request import SearchRequest
from results.scores.metrics import ORDINAL, metric_named
from results.scores.operating_point import NOTHING_ASKED, Operation
from trainables.common.errors import ConfigError
from trainables.common.types import FloatArray

Direction = Literal["maximize", "minimize"]

_REQUIREMENT: Final = re.compile(r"\s*([\w@.:]+)\s*(>=|<=)\s*(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Objective:
    """The metric that a search optimises.

    Attributes:
        metric: Name of the metric, as `results.scores.metrics.metric_named` takes it.

    >>> Objective("auc").is_better(0.8, 0.7), Objective("log_loss").is_better(0.8, 0.7)
    (True, False)
    """

    metric: str

    @property
    def higher_is_better(self) -> bool:
        """True if the search maximises the metric."""
        return metric_named(self.metric).higher_is_better

    @property
    def direction(self) -> Direction:
        """Direction of the metric, as Optuna names it."""
        return "maximize" if self.higher_is_better else "minimize"

    def is_better(self, value: float, other: float | None) -> bool:
        """Tell whether a value beats another; every value beats None."""
        return other is None or self.merit(value) > self.merit(other)

    def merit(self, value: float | None) -> float:
        """Return a number that is larger for better values, and minus infinity for None."""
        if value is None:
            return -math.inf
        return value if self.higher_is_better else -value

    def rank(self, records: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Sort trials from best to worst: of equal ones the earlier first, those without a value last."""
        return sorted(records, key=lambda record: (-self.merit(record.value), record.number))

    def best(self, records: Iterable[TrialRecord]) -> TrialRecord | None:
        """Return the best trial; None where there is none."""
        return next(iter(self.rank(records)), None)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A bound that a trial must keep to be chosen.

    Attributes:
        metric: Name of the metric.
        bound: Value that the metric must reach, or stay below.
        is_at_least: True if the bound is the least allowed value, False if it is the largest.
    """

    metric: str
    bound: float
    is_at_least: bool

    @property
    def text(self) -> str:
        """The requirement as it is typed.

        >>> parse_requirement("recall >= 0.90").text
        'recall>=0.9'
        """
        return f"{self.metric}{'>=' if self.is_at_least else '<='}{self.bound:g}"

    def violation(self, value: float | None) -> float:
        """Return by how much a value breaks the bound; 0 or less if it keeps it, infinity for None.

        >>> parse_requirement("recall>=0.9").violation(0.8)
        0.1
        """
        if value is None:
            return math.inf
        return round(self.bound - value if self.is_at_least else value - self.bound, 12)

    def value_at(self, violation: float) -> float:
        """Return the value that breaks the bound by this much; the opposite of `violation`.

        >>> parse_requirement("recall>=0.9").value_at(0.1)
        0.8
        """
        return round(self.bound - violation if self.is_at_least else self.bound + violation, 12)

    def missed(self, value: float | None) -> str:
        """Say how a value misses the bound.

        >>> parse_requirement("recall>=0.9").missed(0.85)
        'recall 0.85 < 0.9'
        """
        found = "unknown" if value is None else f"{value:.4g}"
        return f"{self.metric} {found} {'<' if self.is_at_least else '>'} {self.bound:g}"


def parse_requirement(text: str) -> Requirement:
    """Read a requirement such as `recall>=0.9` or `ms_per_image<=20`.

    Raises:
        ConfigError: If it has another form.
        UnknownNameError: If there is no such metric.
    """
    found = _REQUIREMENT.fullmatch(text)
    try:
        name, sign, bound = found.groups() if found else ("", "", "")
        value = float(bound)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"--require needs a metric, >= or <=, and a number, found {text!r}")
    return Requirement(metric_named(name).name, value, sign == ">=")


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a search optimises and requires.

    Attributes:
        metrics: Names of the metrics, the main one first; at least one.
        requirements: Bounds that a trial must keep.
        also: Names of further metrics of predictions that tables show, such as those of ordered classes.
        operation: What the user asks of the decisions that metrics judge; a search asks for nothing.
    """

    metrics: tuple[str, ...]
    requirements: tuple[Requirement, ...] = ()
    also: tuple[str, ...] = ()
    operation: Operation = NOTHING_ASKED

    def at(self, operation: Operation) -> "Objectives":
        """Return the same, which judges the decisions that a user asks for."""
        return replace(self, operation=operation)

    @property
    def main(self) -> Objective:
        """The first metric."""
        return Objective(self.metrics[0])

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Direction of each metric, as Optuna names it."""
        return tuple(Objective(metric).direction for metric in self.metrics)

    @property
    def needed(self) -> tuple[str, ...]:
        """Names of all metrics that are optimised or required, each once."""
        return tuple(dict.fromkeys((*self.metrics, *(own.metric for own in self.requirements))))

    @property
    def predicted(self) -> tuple[str, ...]:
        """Those of `needed` that predictions tell; the others are measured."""
        return tuple(name for name in self.needed if not metric_named(name).is_cost)

    @property
    def shown(self) -> tuple[str, ...]:
        """Metrics of predictions that tables show besides the standard ones, each once."""
        return tuple(dict.fromkeys((*self.predicted, *self.also)))

    @property
    def costs(self) -> tuple[str, ...]:
        """Those of `needed` that are measured."""
        return tuple(name for name in self.needed if metric_named(name).is_cost)

    def violation_of(self, values: Mapping[str, float | None]) -> float:
        """Return the sum of what values, by metric, miss of the requirements; 0 if they keep them all."""
        return sum(max(0.0, own.violation(values.get(own.metric))) for own in self.requirements)

    def merits_of(self, values: Mapping[str, float | None]) -> tuple[float, ...]:
        """Return a number for each metric that is larger for better values; minus infinity without one."""
        return tuple(Objective(metric).merit(values.get(metric)) for metric in self.metrics)

    def missed(self, values: Mapping[str, float | None]) -> tuple[str, ...]:
        """Return the requirements that values, by metric, do not keep, such as `recall 0.85 < 0.9`."""
        return tuple(
            own.missed(values.get(own.metric))
            for own in self.requirements
            if own.violation(values.get(own.metric)) > 0
        )

    def violation(self, record: TrialRecord) -> float:
        """Return the sum of what a trial misses of its requirements; 0 if it keeps them all."""
        return self.violation_of(self.values_of(record))

    def merits(self, record: TrialRecord) -> tuple[float, ...]:
        """Return a number for each metric that is larger for better values; minus infinity without one."""
        return self.merits_of(self.values_of(record))

    def order(
        self, values: Sequence[Mapping[str, float | None]], ties: Sequence[Any] | None = None
    ) -> list[int]:
        """Return the positions of some values, by metric, from best to worst.

        Those that keep the requirements come first, and of the others those that miss least. Of equals come
        first those nearer to the front, then the better in the first metric, then the smaller of `ties`.

        Args:
            values: Values of each candidate, by metric.
            ties: What orders candidates that are equal; None takes their positions.
        """
        first = [self.merits_of(own)[0] for own in values]
        standing = self.standing(values)
        last = range(len(values)) if ties is None else ties
        return sorted(range(len(values)), key=lambda place: (standing[place], -first[place], last[place]))

    def standing(self, values: Sequence[Mapping[str, float | None]]) -> list[tuple[float, int]]:
        """Return what counts before the first metric: smaller is better, and equal where nothing does.

        Args:
            values: Values of each candidate, by metric.

        Returns:
            How far each misses the requirements, and how many fronts of candidates lie before its own.
        """
        merits = [self.merits_of(own) for own in values]
        violations = [self.violation_of(own) for own in values]
        layers = [0] * len(values) if len(self.metrics) == 1 else _layers(merits, violations)
        return list(zip(violations, layers, strict=True))

    def rank(self, records: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Sort trials from best to worst, see `order`.

        Of equal ones the one with fewer weights that were trained step by step comes first, so that a head
        in closed form goes before a net, then the earlier.
        """
        kept = list(records)
        ties = [(one.trained_parameters or 0, one.number) for one in kept]
        return [kept[place] for place in self.order([self.values_of(one) for one in kept], ties)]

    def best(self, records: Iterable[TrialRecord]) -> TrialRecord | None:
        """Return the trial that ranks first; None where there is none."""
        return next(iter(self.rank(records)), None)

    def is_on_front(self, values: Sequence[Mapping[str, float | None]]) -> list[bool]:
        """Tell which values, by metric, keep the requirements and are beaten in all metrics by none that do.

        Values that lack a metric are not on the front.
        """
        merits = [self.merits_of(own) for own in values]
        able = [
            place
            for place, own in enumerate(values)
            if self.violation_of(own) == 0 and np.isfinite(merits[place]).all()
        ]
        inside = front_of(np.array([merits[place] for place in able]).reshape(len(able), -1))
        on_front = {place for place, is_in in zip(able, inside, strict=True) if is_in}
        return [place in on_front for place in range(len(values))]

    def values_of(self, record: TrialRecord) -> dict[str, float | None]:
        """Return the values of a trial by metric; records of earlier versions hold the main one only."""
        return {self.metrics[0]: record.value, **record.values}


# Trials whose predictions are compared, the best by their records. Reading and comparing those of all would
# take minutes after a search of many thousands, whose last ones are neither chosen nor shown.
MOST_COMPARED: Final = 1000

BY_AUC: Final = Objectives(("auc",))


def objectives_of(search: SearchRecord) -> Objectives:
    """Return what a recorded search optimises and requires.

    Raises:
        RunError: If a metric is missing that the program which started the search had registered.
    """
    require_registered(search, kinds=("metric",))
    requirements = requirements_of(search.request)
    of_order = ORDINAL if search.task_definition.is_ordinal else ()
    return Objectives(search.metrics, requirements, tuple(of_order))


def requirements_of(request: SearchRequest) -> tuple[Requirement, ...]:
    """Return the bounds that a request sets: those of `--require`, and the time of `--max-ms`.

    Raises:
        ConfigError: If a requirement has another form.
        UnknownNameError: If there is no such metric.
    """
    found = tuple(map(parse_requirement, request.requirements))
    if request.max_ms is not None:
        found += (Requirement("ms_per_image", request.max_ms, is_at_least=False),)
    return found


def front_of(merits: FloatArray) -> list[bool]:
    """Tell which rows no other row beats: is at least as good in all columns, and better in one.

    Args:
        merits: Larger is better, shape (trials, metrics).

    >>> front_of(np.array([[0.9, -5.0], [0.8, -3.0], [0.8, -6.0]]))
    [True, True, False]
    """
    inside, front = [False] * len(merits), _Front(merits)
    for place in _best_first(merits):
        inside[place] = not front.beats(merits[place])
        if inside[place]:
            front.add(merits[place])
    return inside


class _Front:
    """Rows none of which beats another.

    Args:
        like: Rows that may be among them, shape (trials, metrics).
    """

    def __init__(self, like: FloatArray) -> None:
        self._rows, self._count = np.empty((8, like.shape[1])), 0

    def add(self, row: FloatArray) -> None:
        """Take in a row."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = row
        self._count += 1

    def beats(self, row: FloatArray) -> bool:
        """Tell whether one of them is at least as good in all columns, and better in one."""
        own = self._rows[: self._count]
        return bool(((own >= row).all(axis=1) & (own > row).any(axis=1)).any())


def _best_first(merits: FloatArray) -> list[int]:
    """Places of rows by their first column, then the second and so on: what beats a row comes before it."""
    if not len(merits):
        return []
    order: list[int] = np.lexsort(-merits.T[::-1]).tolist()
    return order


def _layers(merits: Sequence[tuple[float, ...]], violations: Sequence[float]) -> list[int]:
    """Number of fronts that lie before each trial, among the trials that break requirements equally.

    What one front beats, all fronts before it beat as well, so that the front of a trial is found by halving.
    """
    table, left, layers = np.array(merits), np.array(violations), [0] * len(merits)
    for violation in np.unique(left):
        places, fronts = np.flatnonzero(left == violation), list[_Front]()
        for place in places[_best_first(table[places])].tolist():
            own = bisect.bisect_left(fronts, True, key=lambda front: not front.beats(table[place]))
            if own == len(fronts):
                fronts.append(_Front(table))
            fronts[own].add(table[place])
            layers[place] = own
    return layers
