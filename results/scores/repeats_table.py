"""Scores of finalists that were trained again, as a table of 80 columns and as CSV."""

from typing import Any

from rich.table import Table

from results.run.split_labels import scored
from results.scores.metrics import metric_named
from results.scores.repeats import Repeats
from results.tables import csv_text, result_table


def repeats_table(found: Repeats) -> Table:
    """Return a table that fits 80 columns, with what the repeats show of the winner below."""
    metric = metric_named(found.metric)
    table = result_table(title=f"finalists, trained again {found.repeats} x", title_justify="left")
    table.add_column("trial", justify="right", no_wrap=True)
    for header in ("in the search", scored(f"mean {metric.header}", found.split), "sd", "lowest", "highest"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("best in", justify="right", no_wrap=True)
    for one in found.trials:
        known = one.known
        table.add_row(
            str(one.trial),
            metric.text(one.searched),
            metric.text(one.mean),
            "-" if one.deviation is None else f"{one.deviation:.3f}",
            metric.text(min(known, default=None)),
            metric.text(max(known, default=None)),
            f"{found.wins[one.trial]} of {found.repeats}",
        )
    table.caption = found.sentence()
    return table


def repeats_as_json(found: Repeats) -> dict[str, Any]:
    """The scores as JSON data, with what is computed of them."""
    content = found.model_dump(mode="json")
    for one, own in zip(found.trials, content["trials"], strict=True):
        own |= {"mean": one.mean, "sd": one.deviation, "best_in": found.wins[one.trial]}
    return content | {"sentence": found.sentence()}


def repeats_as_csv(found: Repeats) -> str:
    """The scores as CSV, one row a trial and repeat; repeat 0 is the search."""
    rows = [
        {"trial": one.trial, "repeat": repeat, found.metric: value, "split": found.split}
        for one in found.trials
        for repeat, value in enumerate((one.searched, *one.values))
    ]
    return csv_text(rows, ("trial", "repeat", found.metric, "split"))
