"""What past results have taught: ranges of numbers, and how good configurations were on other sets.

`python -m benchmarks.portfolio learn` writes both.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

LEARNED_FILE: Final = Path(__file__).parent / "learned.json"
TRIED_FILE: Final = Path(__file__).parent / "tried.json"


@dataclass(frozen=True, slots=True)
class TriedElsewhere:
    """A configuration that was tried on other sets.

    Attributes:
        settings: Dotted setting -> value; what is missing has its default.
        merit: How good it is likely to be on a set: 0 for an AUC of one half, 1 for the best configuration
            there; mean over sets, each smoothed over what lies near.
    """

    settings: Mapping[str, Any]
    merit: float


@functools.lru_cache(maxsize=1)
def learned_ranges() -> Mapping[str, tuple[float, float]]:
    """Return name of a parameter of the space -> smallest and largest value worth trying."""
    content: dict[str, Any] = json.loads(LEARNED_FILE.read_text())
    return MappingProxyType({name: (low, high) for name, (low, high) in content["ranges"].items()})


@functools.lru_cache(maxsize=1)
def tried_elsewhere() -> tuple[TriedElsewhere, ...]:
    """Return the configurations that were tried on other sets, and how good they were."""
    content: dict[str, Any] = json.loads(TRIED_FILE.read_text())
    return tuple(TriedElsewhere(MappingProxyType(own["settings"]), own["merit"]) for own in content["tried"])


def tried_space() -> str:
    """Return the name of the space that the configurations were drawn from, in the form `module:function`."""
    return str(json.loads(TRIED_FILE.read_text())["space"])


@functools.lru_cache(maxsize=1)
def tried_digest() -> str:
    """Return a short text that changes with the configurations and what is known of them."""
    return hashlib.sha256(TRIED_FILE.read_bytes()).hexdigest()[:16]
