"""What past results say about where to look: ranges of numbers, and points with what they were worth.

Both are made by `python -m benchmarks.portfolio learn` and lie in the repository as `learned.json`.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

LEARNED_FILE: Final = Path(__file__).parent / "learned.json"


@dataclass(frozen=True, slots=True)
class LearnedPoint:
    """A configuration that was tried on many sets.

    Attributes:
        settings: Dotted setting -> value; settings that are missing have their defaults.
        merit: What it is likely to be worth on another set, in [0, 1]: 0 for chance, 1 for the best known.
    """

    settings: Mapping[str, Any]
    merit: float


def learned_ranges() -> Mapping[str, tuple[float, float]]:
    """Return name of a parameter of the space -> smallest and largest value worth trying."""
    ranges: dict[str, list[float]] = _read()["ranges"]
    return MappingProxyType({name: (low, high) for name, (low, high) in ranges.items()})


def learned_points() -> tuple[LearnedPoint, ...]:
    """Return the points, the best first."""
    return tuple(LearnedPoint(MappingProxyType(own["settings"]), own["merit"]) for own in _read()["points"])


@functools.lru_cache(maxsize=1)
def _read() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(LEARNED_FILE.read_text())
    return content
