"""The decision curve of a model as a table of 80 columns, and as CSV."""

from typing import Any

from rich.table import Table

from results.run.split_labels import GROUPED, SplitName, caption_of, scored
from results.scores.decision_curve import DecisionCurve
from results.tables import csv_text, result_table
from trainables.config.unit_config import PLURALS


def decision_curve_table(curve: DecisionCurve, *, split: SplitName = GROUPED) -> Table:
    """Return the curve as a table that fits 80 columns; thresholds at which the model is useful are bold."""
    table = result_table(
        title=f"{scored(curve.model, split)}, out of fold, at prevalence {curve.prevalence:.3g}",
        title_justify="left",
    )
    for header in ("act from", "net benefit [95 %]", "all", "avoided/100", "recalled", "needed"):
        table.add_column(header, justify="right", no_wrap=True)
    for one in curve.points:
        table.add_row(
            f"{one.threshold:.2f}{'*' if one.is_useful else ' '}",
            one.benefit.text(3),
            f"{one.of_all:.3f}",
            f"{one.avoided.estimate:.1f}",
            f"{one.recalled:.2f}",
            "-" if one.needed is None else f"{one.needed:.1f}",
            style="bold" if one.is_useful else None,
        )
    useful = curve.useful
    said = (
        "The data show at no threshold that the model is worth more than acting on all or on none."
        if useful is None
        else f"* worth more than acting on all or on none, from {useful[0]:.2f} to {useful[1]:.2f}."
    )
    units = PLURALS[curve.unit]
    caption = (
        f"{said} Net benefit of acting on none is 0. Avoided: interventions spared of 100 {units}, against "
        f"acting on all. Needed: {units} acted on for each one found."
    )
    table.caption = caption_of(caption, split)
    return table


def decision_curve_as_csv(curve: DecisionCurve) -> str:
    """Return one row for each threshold, as CSV with a header."""
    rows: list[dict[str, Any]] = []
    for one in curve.points:
        row: dict[str, Any] = {"model": curve.model, "prevalence": curve.prevalence}
        row |= {"threshold": one.threshold, "of_all": one.of_all}
        for name in ("benefit", "gain", "avoided"):
            value = getattr(one, name)
            row |= {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}
        rows.append(row | {"recalled": one.recalled, "needed": one.needed, "is_useful": one.is_useful})
    return csv_text(rows, list(rows[0]))
