"""Comparisons of models as a table of 80 columns, and as CSV."""

from rich.console import Group, RenderableType

from results.run.split_labels import interval_header
from results.scores.metrics import metric_named
from results.scores.model_comparison import Comparison, Comparisons
from results.tables import csv_text, result_table
from trainables.config.unit_config import PLURALS
from trainables.data.group_names import of_groups


def comparison_table(found: Comparisons) -> RenderableType:
    """Return the models and their comparisons as tables that fit 80 columns."""
    metric = metric_named(found.metric)
    whose = of_groups(found.groups, found.group_unit)
    title = f"{found.images} {PLURALS[found.unit]}{whose} that all models predicted"
    models = result_table(title=title, title_justify="left")
    models.add_column("model", overflow="fold")
    models.add_column(interval_header(found.split, metric.header), justify="right", no_wrap=True)
    for one in found.models:
        interval = (
            f"{one.value:.{metric.digits}f} [{one.low:.{metric.digits}f}, {one.high:.{metric.digits}f}]"
        )
        models.add_row(one.name, interval)
    table = result_table()
    table.add_column("first", overflow="fold", max_width=20)
    table.add_column("against", overflow="fold", max_width=20)
    for header in ("difference", "p", "P(better)"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("so it is", no_wrap=True)
    for pair in found.comparisons:
        table.add_row(*_cells(pair), style="bold" if pair.is_better is not None else None)
    table.caption = " ".join(
        [
            f"Paired by {found.group_unit}, {_CAPTION}",
            *(f"{note[0].upper()}{note[1:]}." for note in found.notes),
        ]
    )
    return Group(models, table)


_CAPTION = (
    "other training parts covered; intervals and p hold for all comparisons of this table together. † was "
    "asked for before the search."
)


def comparisons_as_csv(found: Comparisons) -> str:
    """Return one row for each comparison, as CSV with a header."""
    rows = [{"metric": found.metric, **one.model_dump(), "split": found.split} for one in found.comparisons]
    return csv_text(rows, ["metric", *Comparison.model_fields, "split"])


def _cells(pair: Comparison) -> list[str]:
    mark = " †" if pair.is_pre_registered else ""
    claim = {True: "better", False: "worse", None: "cannot tell"}[pair.is_better]
    return [
        f"{pair.first}{mark}",
        pair.second,
        f"{pair.difference:+.3f} [{pair.low:+.2f}, {pair.high:+.2f}]",
        f"{pair.adjusted:.3f}",
        f"{pair.superiority:.2f}",
        claim,
    ]
