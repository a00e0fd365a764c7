"""The headline: the question, and the score that the search may claim."""

from typing import Final

import numpy as np

from orchestrator.report.facts import Headline, RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.console import SYNTHETIC_WARNING
from orchestrator.reporting.html_page import facts as cards
from results.run.split_labels import NAIVE, NAIVE_WARNING, scored
from results.scores.cross_fitting import fewest_patients
from results.scores.leaderboard_table import few_patients_warning
from results.scores.metrics import metric_named
from trainables.common.text import count_text

_HEADS: Final = {
    "patient": "patients",
    "image": "images, patients are not known",
    "image group": "groups of images, patients are not known",
}


def _build(facts: RunFacts) -> Content:
    search, found = facts.search, facts.headline
    said = paragraph(search.task_definition.question)
    if search.is_synthetic:
        said += paragraph(f"{SYNTHETIC_WARNING}.", "warn")
    if search.split_name == NAIVE:
        said += paragraph(NAIVE_WARNING, "warn")
    if found is None:
        return Content(
            said + paragraph("No trial has run to its end, so that there is no score yet.", "warn")
        )
    return Content(said + _score(facts, found) + cards(_cards(facts, found)))


def _score(facts: RunFacts, found: Headline) -> str:
    metric = metric_named(facts.objectives.metrics[0])
    name = scored(metric.header, facts.search.split_name)
    unit = facts.group_unit
    value = "could not be computed" if found.interval is None else found.interval.text(3)
    said = paragraph(
        f"To expect on new {unit}s like these: {name} {value} (95 % interval over {unit}s and training "
        f"parts), for {found.model}. {found.how}",
        "" if found.is_honest else "warn",
    )
    own = found.predictions
    said += paragraph(few_patients_warning(fewest_patients(own.labels, own.groups), unit), "warn")
    verdict = facts.against_baseline
    if verdict is not None and not verdict.is_better:
        said += paragraph(f"Beware: {verdict.message()}.", "warn")
    best = facts.rows[0] if facts.rows and facts.rows[0].rank == 1 else None
    if best is not None and best.value is not None and found.interval is not None:
        said += paragraph(
            f"The best trial's own score, {metric.text(best.value)}, helped to choose it: it is not a claim.",
            "soft",
        )
    return said.replace('<p class="warn"></p>', "")


def _cards(facts: RunFacts, found: Headline) -> dict[str, object]:
    search = facts.search
    own = found.predictions
    counts = {
        f"{facts.units} of {name}": f"{int((own.labels == place).sum()):,}"
        for place, name in enumerate(search.classes[:6])
    }
    protocol: dict[str, object] = {"folds": search.folds}
    if search.holdout is not None:
        protocol = {"validation part": f"{search.holdout:.0%}"}
    return {
        **counts,
        _HEADS[facts.group_unit]: f"{len(np.unique(own.groups)):,}",
        **protocol,
        "complete trials": f"{len(facts.complete)} of {count_text(len(facts.records), 'trial')}",
        "data": search.source,
    }


HEADLINE = Section(10, "headline", "The score", _build)
