"""Ranges of numbers that past results have narrowed: `python -m benchmarks.portfolio learn`."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

LEARNED_FILE: Final = Path(__file__).parent / "learned.json"


@functools.lru_cache(maxsize=1)
def learned_ranges() -> Mapping[str, tuple[float, float]]:
    """Return name of a parameter of the space -> smallest and largest value worth trying."""
    content: dict[str, Any] = json.loads(LEARNED_FILE.read_text())
    return MappingProxyType({name: (low, high) for name, (low, high) in content["ranges"].items()})
