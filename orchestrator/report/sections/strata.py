"""Strata: the score within each group of images that a column of the set tells apart."""

from collections.abc import Iterator

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.html_page import table
from results.scores.interval import Interval
from results.scores.strata_records import Stratum
from results.scores.strata_table import sentences_of


def _build(facts: RunFacts) -> Content | None:
    found = facts.headline
    if found is None:
        return None
    if facts.patch_set is None:
        return Content(
            paragraph("Not computed: the stored data are not within reach of this machine.", "soft")
        )
    scores = facts.strata
    if scores is None or not scores.strata:
        return Content(
            paragraph(
                f"The set says nothing about its {facts.units} by which they could be told apart (age, "
                "density, view, vendor, site), so that nobody knows for whom the model is worse.",
                "warn",
            )
        )
    head = ("stratum", *facts.search.classes, f"{scores.group_unit}s", "AUC [95 %]")
    said = (
        f"Of {found.model}. A score needs {scores.least_patients} {scores.group_unit}s of each class. "
        f"{' '.join((*sentences_of(scores), found.said_of_calls))}".strip()
    )
    rows = list(_rows(scores.strata))
    return Content(table("Scores by stratum", head, rows) + paragraph(said, "soft"))


def scored_strata(facts: RunFacts) -> list[tuple[str, Interval]]:
    """Return name and AUC of each stratum that has enough patients of each class; none without the data."""
    strata = () if facts.strata is None else facts.strata.strata
    return [(one.name, one.metrics["auc"]) for one in strata if "auc" in one.metrics]


def _rows(strata: tuple[Stratum, ...]) -> Iterator[tuple[str, ...]]:
    """Name, count of each class, patients, and AUC or why there is none."""
    for one in strata:
        differs = any(own.is_found and own.metric == "auc" for own in one.differences)
        auc = f"{one.metrics['auc'].text()}{'*' * differs}" if "auc" in one.metrics else one.reason
        yield (one.name, *map(str, one.counts.values()), str(one.patients), auc)


STRATA = Section(90, "strata", "For whom", _build)
