"""Ensembles as a table for the terminal, and as rows for CSV and JSON."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from results.ensembles.ensemble import Ensemble, NestedScore
from results.ensembles.nested import BASELINE
from results.run.split_labels import GROUPED, caption_of, interval_header
from results.scores.cost_columns import COST_COLUMNS, GPU_HEADER, gpu_cells, said_of_costs
from results.scores.decision_rule import OWN_THRESHOLD
from results.scores.leaderboard_table import other_columns
from results.scores.metric import Metric
from results.scores.metrics import metric_named
from results.scores.ranking import BY_AUC, Objectives
from results.tables import csv_text, result_table
from trainables.common.text import trials_text
from trainables.config.baseline import BASELINE_TEXT


def ensembles_as_json(ensembles: Sequence[Ensemble]) -> list[dict[str, Any]]:
    """Return one plain dictionary for each ensemble: method, members, nested scores, threshold and split."""
    return [
        {
            "method": ensemble.method,
            "is_chosen": ensemble.is_chosen,
            "trials": list(ensemble.trials),
            **_score_as_json(ensemble.nested),
            **{name: value for name, value in ensemble.nested.metrics.items() if name != "auc"},
            "ms_per_image": None if ensemble.cost is None else ensemble.cost.core_ms,
            "gpu_ms_per_image": ensemble.gpu_ms,
            "gpu_runtime": None if ensemble.cost is None else ensemble.cost.gpu_runtime,
            "megabytes": None if ensemble.cost is None else ensemble.cost.megabytes,
            **{name: value for name, value in ensemble.nested.metrics.items() if name in COST_COLUMNS},
            "threshold": ensemble.threshold,
            "split": ensemble.split,
        }
        for ensemble in ensembles
    ]


def _score_as_json(nested: NestedScore) -> dict[str, Any]:
    """The metric that the search optimises, the AUC and what is missed; earlier versions lack the first."""
    found = nested.model_dump(mode="json", exclude={"metrics", "fold_auc"})
    interval = nested.interval
    return found | {"value": interval.estimate, "low": interval.low, "high": interval.high}


def ensembles_as_csv(ensembles: Sequence[Ensemble]) -> str:
    """Return the same rows as CSV with a header; trial numbers are separated by spaces."""
    rows = ensembles_as_json(ensembles)
    return csv_text(rows, list(rows[0]) if rows else [])


def ensemble_table(ensembles: Sequence[Ensemble], objectives: Objectives = BY_AUC) -> Table:
    """Return a table that fits 80 columns, best first; the chosen ensemble carries a star.

    Args:
        ensembles: Ensembles of one run.
        objectives: What its search optimises and requires.
    """
    table = result_table()
    main = metric_named(objectives.metrics[0])
    table.add_column("method", no_wrap=True)
    table.add_column("trials", overflow="fold", min_width=6)
    split = ensembles[0].split if ensembles else GROUPED
    table.add_column(interval_header(split, main.header), no_wrap=True)
    table.add_column("vs single", no_wrap=True)
    has_front = len(objectives.metrics) > 1
    others = _others(objectives, has_costs=any(one.cost is not None for one in ensembles))
    for metric in others:
        table.add_column(metric.header, justify="right", no_wrap=True)
    has_gpu = any(one.gpu_ms is not None for one in ensembles)
    if has_gpu:
        table.add_column(GPU_HEADER, justify="right", no_wrap=True)
    if has_front:
        table.add_column("front", no_wrap=True)
    values = [{**one.nested.metrics, main.name: one.nested.interval.estimate} for one in ensembles]
    for place in objectives.order(values):
        ensemble, nested = ensembles[place], ensembles[place].nested
        mark = ("*" if ensemble.is_chosen else " ") + ("! " if nested.missed else " ")
        table.add_row(
            f"{mark if any(one.nested.missed for one in ensembles) else mark[0] + ' '}{ensemble.method}",
            " ".join(map(str, ensemble.trials)),
            nested.interval.text(main.digits),
            _difference(ensemble),
            *(metric.text(_value_of(ensemble, metric.name)) for metric in others),
            *gpu_cells(ensemble.gpu_ms, has_gpu=has_gpu),
            *(["yes" if nested.is_on_front else ""] if has_front else []),
            style="bold" if ensemble.is_chosen else None,
        )
    table.caption = caption_of(_caption(ensembles, objectives, others), split)
    return table


def _difference(ensemble: Ensemble) -> str:
    """Text such as `+0.021`, or `+0.021 !` if the interval of the difference leaves out 0."""
    nested = ensemble.nested
    if nested.difference is None or nested.difference_low is None or nested.difference_high is None:
        return "-"
    is_clear = nested.difference_low > 0 or nested.difference_high < 0
    return f"{nested.difference:+.3f}{' !' if is_clear else ''}"


def _caption(ensembles: Sequence[Ensemble], objectives: Objectives, others: Sequence[Metric]) -> str:
    collapsed = sorted({number for ensemble in ensembles for number in ensemble.collapsed})
    warning = f"Collapsed in some fold: {trials_text(collapsed)}. " if collapsed else ""
    if len(ensembles) == 1:
        return (
            f"{warning}Only one trial can be a member: the ensemble is that trial."
            f"{_said_of_front(objectives, ensembles)}{_said_of_missed(ensembles)}{_said_of_costs(ensembles)}"
        )
    has_thresholds = len(ensembles[0].classes) == 2  # more are decided for the most probable
    thresholds = _said_of_thresholds(others) if has_thresholds else ""
    pool = next((one.said_of_pool for one in ensembles if one.recipe), ensembles[0].said_of_pool)
    chosen = "* chosen: the simplest method that may be the best (95 % confidence set)"
    has_choice = any(one.is_chosen for one in ensembles)
    said_of_choice = f"{chosen}{_said_of_baseline(ensembles)}. " if has_choice else ""
    return warning + (
        f"{said_of_choice}Members were chosen out of {pool}, and "
        "everything was fitted, without the fold that is scored. ! differs from the best single trial; the "
        "intervals of all methods hold together in 95 % of data sets."
        f"{thresholds}{_said_of_front(objectives, ensembles)}{_said_of_missed(ensembles)}"
        f"{_said_of_costs(ensembles)}"
    )


def _said_of_baseline(ensembles: Sequence[Ensemble]) -> str:
    if not any(one.method == BASELINE for one in ensembles):
        return ""
    said = "".join(f". {one.said_of_choice}".rstrip(".") for one in ensembles if one.said_of_choice)
    return f", or the baseline on {BASELINE_TEXT} where that is no better{said}"


def _others(objectives: Objectives, *, has_costs: bool) -> list[Metric]:
    """Metrics of the columns besides the main one, as many as there is room for."""
    most = 3 if len(objectives.metrics) == 1 else 2
    usual = ("auc", "f2", "f1", "balanced_accuracy")
    return other_columns(objectives, (*COST_COLUMNS, *usual) if has_costs else usual, most=most)


def _value_of(ensemble: Ensemble, metric: str) -> float | None:
    cost = ensemble.cost
    measured = {} if cost is None else {"ms_per_image": cost.core_ms, "megabytes": cost.megabytes}
    return measured.get(metric, ensemble.nested.metrics.get(metric))


def _said_of_thresholds(others: Sequence[Metric]) -> str:
    shown = [metric.header for metric in others if metric.name in OWN_THRESHOLD]
    if not shown:
        return ""
    own = " is at a threshold of its own." if len(shown) == 1 else " are at thresholds of their own."
    return f" {' and '.join(sorted(shown))}{own}"


def _said_of_front(objectives: Objectives, ensembles: Sequence[Ensemble]) -> str:
    if len(objectives.metrics) == 1:
        return ""
    costs = ", ".join(metric_named(name).header for name in objectives.costs)
    is_summed = costs and any(one.cost is None for one in ensembles)
    summed = f" {costs}: the sum over members, at most." if is_summed else ""
    return f" front: no other is better in all of {', '.join(objectives.metrics)}.{summed}"


def _said_of_costs(ensembles: Sequence[Ensemble]) -> str:
    costs = [one.cost for one in ensembles if one.cost is not None]
    return f" {said_of_costs(one.gpu_runtime for one in costs)}".rstrip() if costs else ""


def _said_of_missed(ensembles: Sequence[Ensemble]) -> str:
    missed = [f"{one.method}: {', '.join(one.nested.missed)}" for one in ensembles if one.nested.missed]
    return f" ! misses a requirement ({'; '.join(missed)})." if missed else ""
