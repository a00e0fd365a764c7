"""Ensembles as a table for the terminal, and as rows for CSV and JSON."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from results.ensembles.build import Ensemble
from results.run.split_labels import GROUPED, caption_of, interval_header
from results.scores.interval import Interval
from results.tables import csv_text, result_table


def ensembles_as_json(ensembles: Sequence[Ensemble]) -> list[dict[str, Any]]:
    """Return one plain dictionary for each ensemble: method, members, nested scores, threshold and split."""
    return [
        {
            "method": ensemble.method,
            "is_chosen": ensemble.is_chosen,
            "trials": list(ensemble.trials),
            **ensemble.nested.model_dump(mode="json", exclude={"metrics", "fold_auc"}),
            **{name: value for name, value in ensemble.nested.metrics.items() if name != "auc"},
            "threshold": ensemble.threshold,
            "split": ensemble.split,
        }
        for ensemble in ensembles
    ]


def ensembles_as_csv(ensembles: Sequence[Ensemble]) -> str:
    """Return the same rows as CSV with a header; trial numbers are separated by spaces."""
    rows = ensembles_as_json(ensembles)
    return csv_text(rows, list(rows[0]) if rows else [])


def ensemble_table(ensembles: Sequence[Ensemble]) -> Table:
    """Return a table that fits 80 columns, best first; the chosen ensemble carries a star."""
    table = result_table()
    table.add_column("method", no_wrap=True)
    table.add_column("trials", overflow="fold")
    split = ensembles[0].split if ensembles else GROUPED
    table.add_column(interval_header(split), no_wrap=True)
    table.add_column("vs single", no_wrap=True)
    for header in ("F2", "F1", "BAcc"):
        table.add_column(header, justify="right", no_wrap=True)
    for ensemble in sorted(ensembles, key=lambda one: -one.nested.auc):
        nested, metrics = ensemble.nested, ensemble.nested.metrics
        table.add_row(
            f"{'*' if ensemble.is_chosen else ' '} {ensemble.method}",
            " ".join(map(str, ensemble.trials)),
            str(Interval(nested.auc, nested.auc_low, nested.auc_high)),
            _difference(ensemble),
            *(f"{metrics[name]:.2f}" for name in ("f2", "f1", "balanced_accuracy")),
            style="bold" if ensemble.is_chosen else None,
        )
    table.caption = caption_of(_caption(ensembles), split)
    return table


def _difference(ensemble: Ensemble) -> str:
    """Text such as `+0.021`, or `+0.021 !` if the interval of the difference leaves out 0."""
    nested = ensemble.nested
    if nested.difference is None or nested.difference_low is None or nested.difference_high is None:
        return "-"
    is_clear = nested.difference_low > 0 or nested.difference_high < 0
    return f"{nested.difference:+.3f}{' !' if is_clear else ''}"


def _caption(ensembles: Sequence[Ensemble]) -> str:
    collapsed = sorted({number for ensemble in ensembles for number in ensemble.collapsed})
    warning = f"Collapsed in some fold: trials {', '.join(map(str, collapsed))}. " if collapsed else ""
    if len(ensembles) == 1:
        return f"{warning}Only one trial can be a member: the ensemble is that trial."
    return warning + (
        "* chosen: the simplest method that may be the best (95 % confidence set). Members were chosen out "
        "of all complete trials, and everything was fitted, without the fold that is scored. ! differs from "
        "the best single trial; the intervals of all methods hold together in 95 % of data sets."
        + (" F1 and F2 are at thresholds of their own." if len(ensembles[0].classes) == 2 else "")
    )
