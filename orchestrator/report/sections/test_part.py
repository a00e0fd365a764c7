"""The sealed test part: what was found when it was opened, or that it was not."""

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.html_page import table
from results.predictors.test_evaluation import TestEvaluation
from results.run.split_labels import NAIVE, NAIVE_WARNING, scored
from results.run.test_accesses import TestAccess
from results.scores.metrics import metric_named
from trainables.common.text import count_text
from trainables.config.unit_config import PLURALS
from trainables.data.group_names import of_groups


def _build(facts: RunFacts) -> Content:
    if not facts.accesses:
        return Content(paragraph(_closed(facts)))
    parts = [_opened(access) for access in facts.accesses]
    return Content("".join(parts))


def _closed(facts: RunFacts) -> str:
    unit, count = facts.group_unit, sum(facts.sealed.values())
    if facts.split is not None and not count:
        return f"No part of the data was sealed, so that no model is confirmed on {unit}s that no choice saw."
    images = f" ({count_text(count, 'image')})" if count else ""
    return (
        f"The sealed test part{images} was not opened. The score above is therefore not confirmed on "
        f"{unit}s that no choice has seen."
    )


def _opened(access: TestAccess) -> str:
    when = f"{access.when:%Y-%m-%d %H:%M %Z}"
    if access.result is None:
        return paragraph(
            f"{when}: {access.model} was to be scored, but the command failed after the opening."
        )
    found = TestEvaluation.model_validate(access.result)
    unit = found.group_unit
    whose = of_groups(found.groups, unit)
    head = paragraph(
        f"{when}, {found.model}: {found.images} {PLURALS[found.unit]}{whose}; {found.said_of_look} "
        f"at these {unit}s, over all runs of the store. Intervals are over {unit}s."
    )
    if found.split == NAIVE:
        head += paragraph(NAIVE_WARNING, "warn")
    if found.unknown_looks:
        head += paragraph(f"{found.unknown_looks[0].upper()}{found.unknown_looks[1:]}.", "warn")
    if found.opening > 1:
        head += paragraph(
            f"A model that was chosen after a look at these {unit}s is not tested by them.", "warn"
        )
    return head + _metrics(found) + _confusion(found)


def _metrics(found: TestEvaluation) -> str:
    rows = []
    for name, interval in found.metrics.items():
        metric = metric_named(name)
        rows.append(
            (
                scored(metric.header, found.split),
                interval.text(metric.digits),
                metric.text(found.expected.get(name)),
                metric.text(found.baseline.get(name)),
            )
        )
    caption = f"{scored(found.model, found.split)} on the sealed test part"
    return table(caption, ("metric", "test [95 %]", "out of fold", "always the majority"), rows)


def _confusion(found: TestEvaluation) -> str:
    rows = [(name, *row) for name, row in zip(found.classes, found.confusion, strict=True)]
    heads = ("true \\ called", *found.classes)
    said = f" at {found.threshold:.3f}" if len(found.classes) == 2 else ""
    return table(f"Calls on the sealed test part{said}", heads, rows)


TEST = Section(20, "test-part", "The sealed test part", _build)
