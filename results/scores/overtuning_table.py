"""The overtuning of a search as a table and a curve of 80 columns, as JSON and as CSV."""

from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from results.run.split_labels import caption_of, interval_header
from results.scores.interval import Interval
from results.scores.metrics import metric_named
from results.scores.overtuning import Overtuning
from results.tables import csv_text, result_table

_WIDTH: Final = 64  # characters of the curve; with the scale at its left it fits 80 columns
_HEIGHT: Final = 11
_CLAIMED, _CORRECTED, _BOTH, _DEFAULT = "o", "*", "#", "-"


def overtuning_table(found: Overtuning) -> RenderableType:
    """Return the scores of a search from first trial to sealed part, and its curve."""
    metric, last = metric_named(found.metric), found.stages[-1]
    table = result_table()
    table.add_column("score", no_wrap=True)
    table.add_column(interval_header(found.split, metric.header), no_wrap=True)
    table.add_column("what it is")
    rows: list[tuple[str, Interval | None, str]] = [
        ("first trial", found.default, f"trial {found.default_trial}; nothing chose it"),
        ("best trial", found.claimed, f"trial {last.best} of {last.trials}; its luck included"),
        ("its worth", found.corrected, f"chosen and scored on different {found.group_unit}s"),
        ("ensemble", found.nested, "what the search ships, without each fold"),
        ("nested search", found.outer, "all of the search without each outer fold"),
        ("sealed part", found.sealed, f"{found.sealed_model}, {_look(found.sealed_opening)}"),
    ]
    for name, interval, text in rows:
        if interval is not None:
            table.add_row(name, interval.text(metric.digits), text)
    table.caption = caption_of(" ".join([found.sentence, *found.outdated]), found.split)
    return Group(table, Text(""), Text(curve(found)))


def _look(opening: int | None) -> str:
    return "at its first opening" if opening in (None, 1) else f"at opening number {opening}"


def curve(found: Overtuning) -> str:
    """Return the curve of a search as text: what the leaderboard says, and what that is worth."""
    stages = found.stages
    claimed, corrected = [one.claimed for one in stages], [one.corrected for one in stages]
    low, high = (edge([*claimed, *corrected, found.default.estimate]) for edge in (min, max))
    height = max(high - low, 1e-9)
    columns = min(_WIDTH, max(len(stages), 2) * 4)
    grid = [[" "] * columns for _ in range(_HEIGHT)]

    def row(value: float) -> int:
        return round((high - value) / height * (_HEIGHT - 1))

    grid[row(found.default.estimate)] = [_DEFAULT] * columns
    for column in range(columns):
        place = round(column / (columns - 1) * (len(stages) - 1))
        upper, lower = row(claimed[place]), row(corrected[place])
        grid[lower][column] = _CORRECTED
        grid[upper][column] = _BOTH if upper == lower else _CLAIMED
    digits = metric_named(found.metric).digits + 1
    scale = {0: high, _HEIGHT - 1: low}
    lines = [
        f"{f'{scale[place]:.{digits}f}' if place in scale else '':>8} |{''.join(cells).rstrip()}"
        for place, cells in enumerate(grid)
    ]
    end = f"{len(stages)} trials"
    axis = f"{'':>8} +{'-' * columns}\n{'':>10}1{end:>{max(columns - 1, len(end))}}"
    key = (
        f"{'':>10}{_CLAIMED} best trial   {_CORRECTED} its worth on other data   {_BOTH} both   "
        f"{_DEFAULT} first trial"
    )
    return "\n".join([*lines, axis, key])


def overtuning_as_json(found: Overtuning) -> dict[str, Any]:
    """Return it as plain values, with its sentence."""
    return {**found.model_dump(mode="json"), "optimism": found.optimism, "sentence": found.sentence}


def overtuning_as_csv(found: Overtuning) -> str:
    """Return one row for each stage of the search, as CSV with a header."""
    columns = ("trials", "best", "claimed", "corrected", "first", "metric", "split")
    return csv_text(
        (
            {
                **stage.model_dump(),
                "first": found.default.estimate,
                "metric": found.metric,
                "split": found.split,
            }
            for stage in found.stages
        ),
        columns,
    )
