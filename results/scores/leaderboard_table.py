"""The leaderboard as a table of 80 columns, as JSON and as CSV."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, Final

from rich.table import Table

from results.run.split_labels import GROUPED, caption_of, interval_header
from results.scores.cost_columns import COST_COLUMNS, GPU_HEADER, gpu_cells, said_of_costs
from results.scores.interval import Interval
from results.scores.leaderboard import Row
from results.scores.metric import Metric
from results.scores.metrics import metric_named
from results.scores.ranking import BY_AUC, Objectives
from results.tables import csv_text, result_table
from trainables.common.text import count_text
from trainables.config.unit_config import PLURALS, UnitName
from trainables.data.group_names import GroupUnit

OPTIMISTIC: Final = "†"  # behind the number of a trial, in tables
OPTIMISTIC_NOTE: Final = (
    "too high: held-out labels chose the epoch (training.checkpoint_metric=metric or "
    "training.early_stopping_scope=fold), so its rank is not a fair one."
)
FEW_PATIENTS: Final = 10  # of one class; below, a table says so


def rows_as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as plain dictionaries of numbers, text, lists and None."""
    return [{**asdict(row), "collapsed": list(row.collapsed), "missed": list(row.missed)} for row in rows]


def rows_as_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV with a header; None is empty, and collapsed folds are separated by spaces.

    Each of the other metrics that the search optimises or requires something of has a column.
    """
    names = [name.name for name in fields(Row) if name.name != "values"]
    more = [name for name in dict.fromkeys(name for row in rows for name in row.values) if name not in names]
    cells = [
        {**asdict(row), **{name: row.value_of(name) for name in more}, "missed": "; ".join(row.missed)}
        for row in rows
    ]
    return csv_text([{name: own[name] for name in (*names, *more)} for own in cells], [*names, *more])


def other_columns(objectives: Objectives, usual: Sequence[str], *, most: int) -> list[Metric]:
    """Return the metrics that a table shows besides the main one.

    Args:
        objectives: What the search optimises and requires; all of it is shown.
        usual: Names of metrics that are shown where there is room.
        most: Number of columns for which there is room.
    """
    asked = list(objectives.needed[1:])
    room = [name for name in usual if name not in objectives.needed][: max(0, most - len(asked))]
    return [metric_named(name) for name in (*asked, *room)]


def best_rows(rows: Sequence[Row], limit: int | None) -> list[Row]:
    """Return the rows of the best trials, and those that any trial is compared with.

    Args:
        rows: Rows from `leaderboard`, the best first.
        limit: Largest number of trials; the best trial on colour and intensity only, or the reference in its
            place, and the majority baseline are always among the rows. None keeps all.
    """
    trials = [row for row in rows if row.trial is not None]
    kept = {row.trial for row in (trials if limit is None else trials[:limit])} | {None}
    baselines = [row.trial for row in trials if row.is_baseline and row.rank is not None]
    kept |= set(baselines[:1])
    return [row for row in rows if row.trial in kept]


def leaderboard_table(
    rows: Sequence[Row],
    limit: int | None = 20,
    objectives: Objectives = BY_AUC,
    unit: UnitName = "image",
    classes: int = 2,
) -> Table:
    """Return a table that fits 80 columns.

    Args:
        rows: Rows from `leaderboard`.
        limit: Largest number of trials to show, as `best_rows` takes it.
        objectives: What the search optimises and requires.
        unit: What was scored.
        classes: Number of classes; more than two are decided without a threshold.
    """
    table = result_table()
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("trial", justify="right", no_wrap=True)
    split = rows[0].split if rows else GROUPED
    table.add_column(interval_header(split, metric_named(objectives.metrics[0]).header), no_wrap=True)
    has_costs = any(row.ms_per_image is not None for row in rows)
    usual = (*COST_COLUMNS, "auc", "f2") if has_costs else ("auc", "f2", "balanced_accuracy")
    others = other_columns(objectives, usual, most=3 if has_costs else 2)
    for metric in others:
        table.add_column(metric.header, justify="right", no_wrap=True)
    has_gpu = any(row.gpu_ms_per_image is not None for row in rows)
    if has_gpu:
        table.add_column(GPU_HEADER, justify="right", no_wrap=True)
    table.add_column("settings")
    trials = [row for row in rows if row.trial is not None]
    shown = best_rows(rows, limit)
    for row in shown:
        *cells, settings = _cells(row, others)
        on_gpu = gpu_cells(row.gpu_ms_per_image, has_gpu=has_gpu)
        table.add_row(*cells, *on_gpu, settings, style="dim" if row.rank is None else None)
    names = [metric.name for metric in others]
    shown_trials = [row for row in shown if row.trial is not None]
    said = _caption(trials, len(shown_trials), objectives, names, has_thresholds=classes == 2)
    if unit != "image":
        said = f"Scores are of {PLURALS[unit]}. {said}"
    if any(row.is_optimistic for row in shown_trials):
        said += f" {OPTIMISTIC} {OPTIMISTIC_NOTE}"
    table.caption = caption_of(said, split)
    return table


def _cells(row: Row, others: Sequence[Metric]) -> list[str]:
    rank = "" if row.rank is None else f"{row.rank}{_mark(row)}"
    trial = "" if row.trial is None else f"{row.trial}{OPTIMISTIC if row.is_optimistic else ''}"
    outcome = f"{row.state}: {row.cause or 'unknown'}" if row.state in ("pruned", "failed") else row.interval
    collapsed = f" (collapsed in fold {', '.join(map(str, row.collapsed))})" if row.collapsed else ""
    is_scored = row.rank is not None or row.state in ("reference", "baseline")
    scores = [metric.text(row.value_of(metric.name) if is_scored else None) for metric in others]
    return [rank, trial, outcome, *scores, f"{row.settings}{collapsed}"]


def _mark(row: Row) -> str:
    if row.missed:
        return "!"
    if row.is_on_front is not None:
        return "*" if row.is_on_front else " "
    return " " if row.tied is None else ("=" if row.tied else "<")


def _caption(
    trials: Sequence[Row],
    shown: int,
    objectives: Objectives,
    others: Sequence[str],
    *,
    has_thresholds: bool,
) -> str:
    if not trials:
        return "No trial has ended yet."
    hidden = f"{count_text(len(trials) - shown, 'more trial')} not shown. " if len(trials) > shown else ""
    first = trials[0]
    if first.rank != 1:
        return hidden.strip()
    said = f"{_said_of_ranks(objectives)}{_said_of_missed(trials, objectives)}"
    if has_thresholds and "f2" not in objectives.metrics and "f2" in others:
        said += "F2 is at its own best threshold. "
    low, high = first.selected_low, first.selected_high
    if first.selected_value is not None and low is not None and high is not None:
        chosen, digits = Interval(first.selected_value, low, high), metric_named(first.metric).digits
        said += (
            "Rank 1 was selected by its score: selected anew without each fold, the best has "
            f"{chosen.text(digits)}. "
        )
    if "ms_per_image" in others:
        said += said_of_costs(row.gpu_runtime for row in trials)
    return f"{hidden}{said}{few_patients_warning(first.fewest_patients, first.group_unit)}".strip()


def _said_of_ranks(objectives: Objectives) -> str:
    if len(objectives.metrics) > 1:
        return f"* on the front: no other trial is better in all of {', '.join(objectives.metrics)}. "
    return "= may be the best (95 % confidence set), < worse. "


def _said_of_missed(trials: Sequence[Row], objectives: Objectives) -> str:
    if not any(row.missed for row in trials):
        return ""
    asked = ", ".join(
        f"{own.metric} {'>=' if own.is_at_least else '<='} {own.bound:g}" for own in objectives.requirements
    )
    return f"! misses what was required ({asked}), so it ranks behind. "


def few_patients_warning(patients: int | None, unit: GroupUnit = "patient") -> str:
    """Return a sentence if a class has fewer than ten patients, or what else they are; empty otherwise."""
    if patients is None or patients >= FEW_PATIENTS:
        return ""
    return f"Only {count_text(patients, unit)} of one class: every number is rough. "
