"""Ways to calibrate as a table of 80 columns, and as CSV."""

from typing import Any

from rich.table import Table

from results.run.split_labels import GROUPED, SplitName, caption_of, scored
from results.scores.calibration_methods import CalibrationComparison
from results.tables import csv_text, result_table


def calibration_table(found: CalibrationComparison, *, split: SplitName = GROUPED) -> Table:
    """Return the ways to calibrate as a table that fits 80 columns; `*` marks the one that is shipped."""
    table = result_table(title=f"{scored(found.model, split)}, cross-fitted", title_justify="left")
    table.add_column("method", no_wrap=True)
    for header in ("LogLoss", "against platt [95 %]", "slope", "intercept", "error"):
        table.add_column(header, justify="right", no_wrap=True)
    for one in found.methods:
        quality = one.quality
        table.add_row(
            f"{'* ' if one.is_shipped else ''}{one.method}",
            f"{one.log_loss.estimate:.3f}",
            "-" if one.difference is None else one.difference.text(3),
            "-" if quality.slope is None else f"{quality.slope.estimate:.2f}",
            "-" if quality.intercept is None else f"{quality.intercept.estimate:+.2f}",
            f"{quality.smooth_error:.3f}",
            style="bold" if one.is_shipped else None,
        )
    shipped = next(one for one in found.methods if one.is_shipped).quality
    better = (
        f"By the data, corrected for the number of methods, {', '.join(found.better)} would be better. "
        if found.better
        else "The data, corrected for the number of methods, show no other to be better. "
    )
    caption = (
        f"* calibrates the model. {better}Slope 1 and intercept 0 are right; the smooth error of right "
        f"probabilities would be up to {shipped.smooth_error_of_chance:.3f} by chance."
    )
    table.caption = caption_of(caption, split)
    return table


def calibrations_as_csv(found: CalibrationComparison, *, split: SplitName = GROUPED) -> str:
    """Return one row for each method, as CSV with a header; JSON has the reliability curves, too.

    Args:
        found: The ways to calibrate.
        split: Name of the kind of split, which the scores carry.
    """
    columns = ["model", "method", "log_loss", "log_loss_low", "log_loss_high", "difference"]
    columns += [
        "difference_low",
        "difference_high",
        "adjusted",
        "slope",
        "intercept",
        "smooth_error",
        "is_shipped",
        "split",
    ]
    rows: list[dict[str, Any]] = []
    for one in found.methods:
        quality = one.quality
        row: dict[str, Any] = {"model": found.model, "method": one.method}
        for name, value in (("log_loss", one.log_loss), ("difference", one.difference)):
            if value is not None:
                row |= {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}
        rows.append(
            row
            | {
                "adjusted": one.adjusted,
                "slope": None if quality.slope is None else quality.slope.estimate,
                "intercept": None if quality.intercept is None else quality.intercept.estimate,
                "smooth_error": quality.smooth_error,
                "is_shipped": one.is_shipped,
                "split": split,
            }
        )
    return csv_text(rows, columns)
