"""The search over its trials: the value of each, the best so far, and how trials ended."""

from collections import Counter

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph, with_figures
from orchestrator.reporting.charts import Axis, Chart
from orchestrator.reporting.html_page import key, table
from results.run.split_labels import scored
from results.scores.metrics import metric_named
from results.scores.settings_text import settings_text


def _build(facts: RunFacts) -> Content | None:
    if not facts.records:
        return None
    valued = [record for record in facts.records if record.value is not None]
    ended = Counter((record.state, record.cause or "") for record in facts.records)
    rows = [
        (f"{state}{f': {cause}' if cause else ''}", count) for (state, cause), count in ended.most_common()
    ]
    after = table("How trials ended", ("end", "trials"), rows)
    if facts.search.terminated is not None:
        after += paragraph(f"The search ended early: {facts.search.terminated.message}.")
    if not valued:
        return Content(after)
    return with_figures(key(("complete", "stopped early")), [_chart(facts)], after)


def _chart(facts: RunFacts) -> Chart:
    metric = metric_named(facts.objectives.metrics[0])
    name = scored(metric.header, facts.search.split_name)
    valued = [record for record in facts.records if record.value is not None]
    complete = [record for record in valued if record.state == "complete"]
    stopped = [record for record in valued if record.state != "complete"]
    best_so_far: list[float] = []
    for record in complete:
        best, own = best_so_far[-1] if best_so_far else None, record.scored_value
        best_so_far.append(own if best is None or facts.objectives.main.is_better(own, best) else best)
    chart = Chart(
        name="history",
        title=f"{name} of each trial",
        description=f"{len(complete)} complete trials (filled) and {len(stopped)} stopped ones (hollow); the "
        "line is the best complete trial so far, which rises by luck, too.",
        across=Axis.around("trial", [0, max(1, *(record.number for record in valued))], margin=0.02),
        up=Axis.around(name, [record.scored_value for record in valued]),
        rows=[
            {"trial": record.number, "state": record.state, "cause": record.cause, "value": record.value}
            for record in facts.records
        ],
    )
    for place, group in enumerate((complete, stopped)):
        chart.points(
            [record.number for record in group],
            [record.scored_value for record in group],
            place,
            names=[f"trial {one.number}: {one.value:.3f}, {settings_text(one.config)}" for one in group],
            is_hollow=place == 1,
        )
    chart.steps([record.number for record in complete], best_so_far)
    return chart


HISTORY = Section(30, "history", "The search", _build)
