"""An estimate with its 95 % interval."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

LEVEL: Final = 0.95  # of every interval
QUANTILE: Final = NormalDist().inv_cdf(0.5 + LEVEL / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its uncertainty; `low` and `high` are the ends of its 95 % interval."""

    estimate: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Tell whether the value lies inside, ends included."""
        return self.low <= value <= self.high

    def text(self, digits: int = 2) -> str:
        """Return text such as `0.71 [0.66, 0.76]`."""
        return f"{self.estimate:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def __str__(self) -> str:
        """Text such as `0.71 [0.66, 0.76]`."""
        return self.text()
