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
    units = PLURALS[curve.unit]
    caption = (
        f"{_said_of_use(curve)} Net benefit of acting on none is 0. Avoided: interventions spared of 100 "
        f"{units}, against acting on all. Needed: {units} acted on for each one found."
    )
    table.caption = caption_of(caption, split)
    return table


def _said_of_use(curve: DecisionCurve) -> str:
    runs = [
        f"at {first:.2f}" if first == last else f"from {first:.2f} to {last:.2f}"
        for first, last in curve.useful
    ]
    if not runs:
        return "The data show at no threshold that the model is worth more than acting on all or on none."
    where = " and ".join([", ".join(runs[:-1]), runs[-1]] if len(runs) > 1 else runs)
    return f"* worth more than acting on all or on none, {where}; each threshold is judged by itself."


def decision_curve_as_csv(curve: DecisionCurve, *, split: SplitName = GROUPED) -> str:
    """Return one row for each threshold, as CSV with a header.

    Args:
        curve: The curve.
        split: Name of the kind of split, which the curve carries.
    """
    rows: list[dict[str, Any]] = []
    for one in curve.points:
        row: dict[str, Any] = {"model": curve.model, "prevalence": curve.prevalence}
        row |= {"threshold": one.threshold, "of_all": one.of_all}
        for name in ("benefit", "gain", "avoided"):
            value = getattr(one, name)
            row |= {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}
        row |= {"recalled": one.recalled, "needed": one.needed, "is_useful": one.is_useful}
        rows.append(row | {"split": split})
    return csv_text(rows, list(rows[0]))
