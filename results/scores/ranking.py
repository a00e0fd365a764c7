"""Ranking of trials by the search metric: only this module knows the direction of the metric."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from results.run.records import TrialRecord
from results.scores.metrics import metric_named

Direction = Literal["maximize", "minimize"]


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
