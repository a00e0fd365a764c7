"""The front of a search of several metrics: the trials that no other trial beats in all of them."""

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, with_figures
from orchestrator.reporting.charts import Axis, Chart
from orchestrator.reporting.html_page import key
from results.scores.metrics import metric_named


def _build(facts: RunFacts) -> Content | None:
    metrics = facts.objectives.metrics
    if len(metrics) == 1 or not facts.complete:
        return None
    charts = [_chart(facts, name) for name in metrics[1:]]
    return with_figures(key(("on the front", "beaten")), charts)


def _chart(facts: RunFacts, other: str) -> Chart:
    complete = facts.complete
    values = [facts.objectives.values_of(record) for record in complete]
    on_front = facts.objectives.is_on_front(values)
    first, second = metric_named(facts.objectives.metrics[0]), metric_named(other)
    points = [
        (record.number, one.get(second.name), one.get(first.name), is_on)
        for record, one, is_on in zip(complete, values, on_front, strict=True)
    ]
    known = [(number, x, y, is_on) for number, x, y, is_on in points if x is not None and y is not None]
    better = {True: "larger is better", False: "smaller is better"}
    chart = Chart(
        name=f"front-{other.replace('@', '-').replace(':', '-')}",
        title=f"{first.header} and {second.header}",
        description=f"{sum(is_on for *_, is_on in known)} of {len(known)} complete trials are on the front: "
        "no other trial is better in all metrics. Their numbers stand beside them.",
        across=Axis.around(
            f"{second.header} ({better[second.higher_is_better]})", [x for _, x, _, _ in known]
        ),
        up=Axis.around(f"{first.header} ({better[first.higher_is_better]})", [y for _, _, y, _ in known]),
        rows=[
            {"trial": number, first.name: y, second.name: x, "is_on_front": is_on}
            for number, x, y, is_on in known
        ],
    )
    for place, wanted in ((1, False), (0, True)):
        group = [one for one in known if one[3] == wanted]
        names = [f"trial {number}" for number, *_ in group]
        chart.points(
            [x for _, x, _, _ in group], [y for _, _, y, _ in group], place, names=names, is_hollow=not wanted
        )
    for number, x, y, is_on in known:
        if is_on:
            chart.label(x, y, str(number))
    return chart


FRONT = Section(40, "front", "The front", _build)
