"""The ensembles: their members and nested scores, and which one is shipped."""

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.html_page import table
from results.ensembles.ensemble import Ensemble
from results.scores.cost_columns import GPU_HEADER, gpu_cells
from results.scores.metrics import metric_named


def _build(facts: RunFacts) -> Content | None:
    if not facts.complete:
        return None
    if not facts.ensembles:
        command = facts.run.command("ensemble")
        return Content(paragraph(f"None was built; to build them: {command}", "soft"))
    metric = metric_named(facts.objectives.metrics[0])
    has_gpu = any(one.gpu_ms is not None for one in facts.ensembles)
    head = ("method", "trials", f"{metric.header} [95 %]", "against the best single trial", "ms/image", "MB")
    columns = (*head, *([GPU_HEADER] if has_gpu else []))
    order = facts.objectives.order(
        [{**one.nested.metrics, metric.name: one.nested.interval.estimate} for one in facts.ensembles]
    )
    rows = [_cells(facts.ensembles[place], metric.digits, has_gpu=has_gpu) for place in order]
    said = (
        "* chosen: the simplest method that may be the best (95 % confidence set), or the baseline if that "
        "does no better. Scores are nested: members were chosen, and everything was fitted, without the fold "
        "that is scored. Differences hold together in 95 % of data sets."
    )
    said += "".join(f" {one.said_of_choice}" for one in facts.ensembles if one.said_of_choice)
    return Content(table("Ensembles of the best trials", columns, rows) + paragraph(said, "soft"))


def _cells(one: Ensemble, digits: int, *, has_gpu: bool) -> list[str]:
    nested = one.nested
    difference = "-"
    if nested.difference is not None and nested.difference_low is not None:
        difference = f"{nested.difference:+.3f} [{nested.difference_low:+.3f}, {nested.difference_high:+.3f}]"
    cost = one.cost
    return [
        f"{'* ' if one.is_chosen else ''}{one.method}",
        " ".join(map(str, one.trials)),
        nested.interval.text(digits),
        difference,
        "-" if cost is None else f"{cost.core_ms:.1f}",
        "-" if cost is None else f"{cost.megabytes:.1f}",
        *gpu_cells(one.gpu_ms, has_gpu=has_gpu),
    ]


ENSEMBLES = Section(70, "ensembles", "Ensembles", _build)
