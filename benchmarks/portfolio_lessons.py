"""What the tables of `benchmarks.portfolio` teach a search, written where it reads it."""

import json
from collections.abc import Mapping
from typing import Any, Final

from orchestrator.simulation.learning import ranges_of, tried_of
from orchestrator.simulation.portfolio import chosen_points
from orchestrator.simulation.table import ResultTable, packaged_rates, packaged_table
from search_spaces.learned import LEARNED_FILE, TRIED_FILE
from search_spaces.recipes.portfolio import POINTS_FILE
from trainables.common.files import write_atomically
from trainables.models.registry import backbone_named

POINTS: Final = 16  # more than a search tries, since some need weights that are not at hand


def choose(without: str | None = None) -> None:
    """Choose the points and write them.

    Args:
        without: Name of a set to leave out; None for none.
    """
    table = _known(packaged_table(), without)
    chosen = chosen_points(table, POINTS)
    points = {
        "made": {"command": "python -m benchmarks.portfolio choose", "sets": sorted(table.sets)},
        "points": [dict(table.settings[index]) for index in chosen],
        "nets": sorted({net for index in chosen for net in nets_of(table.settings[index])}),
    }
    write_atomically(POINTS_FILE, json.dumps(points, indent=1, sort_keys=True) + "\n")
    for index in chosen:
        print(table.settings[index])


def learn(without: str | None = None) -> None:
    """Write the ranges that the tables teach, and how good configurations are likely to be.

    Args:
        without: Name of a set to leave out; None for none.
    """
    tables = _known(packaged_table(), without), _known(packaged_rates(), without)
    ranges = ranges_of(tables)
    content = {
        "made": {"command": "python -m benchmarks.portfolio learn", "sets": sorted(tables[0].sets)},
        "ranges": {name: list(ends) for name, ends in ranges.items()},
    }
    write_atomically(LEARNED_FILE, json.dumps(content, indent=1, sort_keys=True) + "\n")
    write_tried(tables[0])
    for name, ends in ranges.items():
        print(f"{name}: {ends[0]:g} to {ends[1]:g}")


def write_tried(table: ResultTable) -> None:
    """Write how good the configurations of a table are likely to be on another set, a line each."""
    facts = {
        "made": {"command": "python -m benchmarks.portfolio learn", "sets": sorted(table.sets)},
        "space": table.space,
    }
    lines = ",\n".join(
        json.dumps({"merit": own.merit, "settings": dict(own.settings)}, sort_keys=True)
        for own in tried_of(table)
    )
    head = json.dumps(facts, sort_keys=True)[:-1]
    write_atomically(TRIED_FILE, f'{head}, "tried": [\n{lines}\n]}}\n')


def nets_of(settings: Mapping[str, Any]) -> set[str]:
    """Return the nets whose weights a configuration needs."""
    taps = (str(settings["model.backbone"]), *settings.get("model.also", ()))
    nets = {tap.partition("/")[0] for tap in taps}
    return {net for net in nets if not backbone_named(net).is_fixed}


def _known(table: ResultTable, without: str | None) -> ResultTable:
    return table if without is None else table.without(without)
