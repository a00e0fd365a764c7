"""The leaderboard: the best trials with intervals, the baseline, and the majority."""

from collections.abc import Sequence
from typing import Final

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.html_page import table
from results.scores.cost_columns import COST_COLUMNS, GPU_HEADER, gpu_cells
from results.scores.decision_rule import said_of_decisions
from results.scores.leaderboard import Row
from results.scores.leaderboard_table import OPTIMISTIC, OPTIMISTIC_NOTE, other_columns
from results.scores.metric import Metric
from results.scores.metrics import metric_named
from trainables.common.text import trials_text

_SHOWN: Final = 20


def _build(facts: RunFacts) -> Content | None:
    rows = facts.rows
    ranked = [row for row in rows if row.rank is not None]
    if not ranked:
        return None
    has_costs = any(row.ms_per_image is not None for row in ranked)
    usual = ("auc", "f2", "recall", "precision", "balanced_accuracy")
    others = other_columns(facts.objectives, (*COST_COLUMNS, *usual) if has_costs else usual, most=6)
    metric = metric_named(facts.objectives.metrics[0])
    has_gpu = any(row.gpu_ms_per_image is not None for row in ranked)
    costs = [*(one.header for one in others), *([GPU_HEADER] if has_gpu else [])]
    head = ("rank", "trial", f"{metric.header} [95 %]", *costs, "settings")
    shown = [row for row in ranked if (row.rank is not None and row.rank <= _SHOWN) or row.is_baseline]
    baselines = [row for row in rows if row.state in ("reference", "baseline")]
    cells = [_cells(row, others, has_gpu=has_gpu) for row in (*shown, *baselines)]
    more = len(ranked) - len(shown)
    caption = f"The best trials, out of fold{f'; {more} more are in leaderboard.csv' if more else ''}"
    return Content(table(caption, head, cells, ends_in_text=True) + _said(ranked, facts))


def _cells(row: Row, others: Sequence[Metric], *, has_gpu: bool) -> list[str]:
    mark = "" if row.tied is None else (" =" if row.tied else " <")
    if row.missed:
        mark = " !"
    rank = "-" if row.rank is None else f"{row.rank}{mark}"
    trial = "-" if row.trial is None else f"{row.trial}{OPTIMISTIC if row.is_optimistic else ''}"
    values = [metric.text(row.value_of(metric.name)) for metric in others]
    on_gpu = gpu_cells(row.gpu_ms_per_image, has_gpu=has_gpu)
    return [rank, trial, row.interval, *values, *on_gpu, row.settings]


def _said(ranked: Sequence[Row], facts: RunFacts) -> str:
    decided = said_of_decisions(
        len(facts.search.classes),
        "decisions use, in each fold, a threshold that was chosen on the other folds",
    )
    said = f"= may be the best (model confidence set, 95 %), < worse. AUC is the mean over folds; {decided}."
    if any(row.missed for row in ranked):
        said += " ! misses what was required."
    if any(row.is_optimistic for row in ranked):
        said += f" {OPTIMISTIC} {OPTIMISTIC_NOTE}"
    readable = {record.number for record, _ in facts.readable}
    damaged = sorted(record.number for record in facts.compared if record.number not in readable)
    if damaged:
        said += f" Left out, since their files are damaged: {trials_text(damaged)}."
    return paragraph(said, "soft")


RANKING = Section(60, "leaderboard", "The best trials", _build)
