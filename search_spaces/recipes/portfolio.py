"""The first points of a search, learned on other sets: `python -m benchmarks.portfolio choose`."""

import json
from pathlib import Path
from typing import Any, Final

from trainables.config.trial_config import decode, flatten

POINTS_FILE: Final = Path(__file__).parent / "portfolio.json"


def portfolio_points() -> tuple[dict[str, Any], ...]:
    """Return all settings of each point, in the order in which to try them; dotted setting -> value."""
    points: list[dict[str, Any]] = _read()["points"]
    return tuple(flatten(decode(own).model_dump(mode="json")) for own in points)


def portfolio_nets() -> tuple[str, ...]:
    """Return the nets whose weights the points need, sorted."""
    return tuple(_read()["nets"])


def _read() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(POINTS_FILE.read_text())
    return content
