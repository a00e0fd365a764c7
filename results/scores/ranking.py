"""Ranking of trials by what a search optimises: only this module knows the directions of metrics.

With several metrics no trial is the best. Those that no other trial beats in all of them form the front, and
come first; the first metric orders what is equally far from the front.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from results.run.records import SearchRecord, TrialRecord
from results.scores.metrics import metric_named
from trainables.common.errors import ConfigError
from trainables.common.types import FloatArray

Direction = Literal["maximize", "minimize"]

_REQUIREMENT: Final = re.compile(r"\s*([\w@.:]+)\s*(>=|<=)\s*(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Objective:
    """The metric that a search optimises.

    Attributes:
        metric: Name of the metric in `results.scores.metrics.METRICS`.

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

    def violation(self, value: float | None) -> float:
        """Return by how much a value breaks the bound; 0 or less if it keeps it, infinity for None.

        >>> parse_requirement("recall>=0.9").violation(0.8)
        0.1
        """
        if value is None:
            return math.inf
        return round(self.bound - value if self.is_at_least else value - self.bound, 12)


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
    metric_named(name)
    return Requirement(name, value, sign == ">=")


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a search optimises and requires.

    Attributes:
        metrics: Names of the metrics, the main one first; at least one.
        requirements: Bounds that a trial must keep.
    """

    metrics: tuple[str, ...]
    requirements: tuple[Requirement, ...] = ()

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

    def violation(self, record: TrialRecord) -> float:
        """Return the sum of what a trial misses of its requirements; 0 if it keeps them all."""
        values = self._values(record)
        return sum(max(0.0, own.violation(values.get(own.metric))) for own in self.requirements)

    def merits(self, record: TrialRecord) -> tuple[float, ...]:
        """Return a number for each metric that is larger for better values; minus infinity without one."""
        values = self._values(record)
        return tuple(Objective(metric).merit(values.get(metric)) for metric in self.metrics)

    def rank(self, records: Iterable[TrialRecord]) -> list[TrialRecord]:
        """Sort trials from best to worst.

        Those that keep the requirements come first, and of the others those that miss least. Of equals come
        first those nearer to the front, then the better in the first metric, then the earlier.
        """
        kept = list(records)
        merits = [self.merits(record) for record in kept]
        violations = [self.violation(record) for record in kept]
        layers = [0] * len(kept) if len(self.metrics) == 1 else _layers(merits, violations)
        order = sorted(
            range(len(kept)),
            key=lambda place: (violations[place], layers[place], -merits[place][0], kept[place].number),
        )
        return [kept[place] for place in order]

    def best(self, records: Iterable[TrialRecord]) -> TrialRecord | None:
        """Return the trial that ranks first; None where there is none."""
        return next(iter(self.rank(records)), None)

    def front(self, records: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
        """Return the trials that keep the requirements and that no such trial beats in all metrics."""
        able = [record for record in records if record.value is not None and self.violation(record) == 0]
        inside = front_of(np.array([self.merits(record) for record in able]).reshape(len(able), -1))
        return tuple(record for record, is_in in zip(able, inside, strict=True) if is_in)

    def _values(self, record: TrialRecord) -> dict[str, float | None]:
        return {self.metrics[0]: record.value, **record.values}


def objectives_of(search: SearchRecord) -> Objectives:
    """Return what a recorded search optimises and requires."""
    return Objectives(search.metrics, tuple(map(parse_requirement, search.request.requirements)))


def front_of(merits: FloatArray) -> list[bool]:
    """Tell which rows no other row beats: is at least as good in all columns, and better in one.

    Args:
        merits: Larger is better, shape (trials, metrics).

    >>> front_of(np.array([[0.9, -5.0], [0.8, -3.0], [0.8, -6.0]]))
    [True, True, False]
    """
    as_good = (merits[None] >= merits[:, None]).all(axis=2)
    better = (merits[None] > merits[:, None]).any(axis=2)
    return [not beaten for beaten in np.any(as_good & better, axis=1).tolist()]


def _layers(merits: Sequence[tuple[float, ...]], violations: Sequence[float]) -> list[int]:
    """Number of fronts that lie before each trial, among the trials that break requirements equally."""
    table, left, layers = np.array(merits), np.array(violations), [0] * len(merits)
    for violation in np.unique(left):
        places, layer = np.flatnonzero(left == violation), 0
        while len(places):
            inside = np.array(front_of(table[places]))
            for place in places[inside]:
                layers[place] = layer
            places, layer = places[~inside], layer + 1
    return layers
