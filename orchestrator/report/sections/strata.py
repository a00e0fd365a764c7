"""Strata: the score within each group of images that a column of the set tells apart."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.html_page import table
from results.run.records import OutOfFold
from results.scores.auc_interval import auc_interval
from results.scores.cross_fitting import fewest_patients
from results.scores.interval import Interval
from trainables.common.errors import OneClassError
from trainables.common.text import printable

FEWEST_PATIENTS: Final = 10  # of each class; an interval of fewer says nothing
_MOST_VALUES: Final = 12  # of a column; one with more names images or patients rather than groups
_NOT_STRATA: Final = (
    "box_",
    "path",
    "file",
    "exam",
    "study",
    "series",
)  # beginnings of names of other columns


def _build(facts: RunFacts) -> Content | None:
    found = facts.headline
    if found is None:
        return None
    if facts.patch_set is None:
        return Content(
            paragraph("Not computed: the stored data are not within reach of this machine.", "soft")
        )
    rows = list(_rows(facts))
    if not rows:
        return Content(
            paragraph(
                "The set says nothing about its images by which they could be told apart (age, density, "
                "view, "
                "vendor, site), so that nobody knows for whom the model is worse.",
                "warn",
            )
        )
    head = ("stratum", *facts.search.classes, "patients", "AUC [95 %]")
    scored = scored_strata(facts)
    said = (
        f"Of {found.model}. A stratum is scored where each class has {FEWEST_PATIENTS} patients or more. "
        f"Each "
        "interval holds by itself: of twenty differences one is expected to look clear by chance."
    )
    if len(scored) > 1:
        name, interval = min(scored, key=lambda pair: pair[1].estimate)
        said += f" Lowest: {name}, {interval.text(2)}."
    cells = [(*rest, _text(last)) for *rest, last in rows]
    return Content(table("Scores by stratum", head, cells) + paragraph(said, "soft"))


def scored_strata(facts: RunFacts) -> list[tuple[str, Interval]]:
    """Return name and AUC of each stratum that has enough patients of each class; none without the data."""
    return [(str(row[0]), row[-1]) for row in _rows(facts) if isinstance(row[-1], Interval)]


def _rows(facts: RunFacts) -> Iterator[tuple[Any, ...]]:
    """Name, count of each class, patients, and AUC or why there is none, for each stratum."""
    found = facts.headline
    if found is not None:
        for column, value, part in _strata(facts, found.predictions.rows):
            yield _row(column, value, found.predictions, part)


def _row(column: str, value: str, own: OutOfFold, part: NDArray[np.bool_]) -> tuple[Any, ...]:
    kept = OutOfFold(*(getattr(own, name)[part] for name in OutOfFold.__slots__))
    classes = own.probabilities.shape[1]
    counts = np.bincount(kept.labels, minlength=classes).tolist()
    interval: Interval | str = "too few patients"
    if all(counts) and fewest_patients(kept.labels, kept.groups) >= FEWEST_PATIENTS:
        try:
            interval = auc_interval(kept)
        except OneClassError:
            interval = "one class in each fold"
    return (f"{column}: {value}", *counts, len(np.unique(kept.groups)), interval)


def _text(interval: Interval | str) -> str:
    return interval if isinstance(interval, str) else interval.text(2)


def _strata(facts: RunFacts, rows: NDArray[Any]) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    columns = {} if facts.patch_set is None else dict(facts.patch_set.columns or {})
    for name, column in columns.items():
        if not name.startswith(_NOT_STRATA):
            values = column[rows]
            texts, known = values, sorted(set(map(str, values.tolist())) - {""})
            if values.dtype.kind != "U":
                texts, known = _ranges(name, values.astype(np.float64))
            if 1 < len(known) <= _MOST_VALUES:
                for value in known:
                    yield name, printable(value, keeps="").strip(), texts == value


def _ranges(name: str, values: NDArray[np.float64]) -> tuple[NDArray[np.str_], list[str]]:
    """Numbers as text, and the texts in order: few as they are, ages in decades, others in quarters."""
    is_known = np.isfinite(values)
    distinct = np.unique(values[is_known])
    if len(distinct) <= _MOST_VALUES:
        labels = [f"{one:g}" for one in distinct]
        places = np.searchsorted(distinct, np.where(is_known, values, 0.0))
    else:
        edges = np.unique(np.quantile(values[is_known], [0.25, 0.5, 0.75]))
        if name.startswith("age"):
            edges = np.arange(40.0, 81.0, 10.0)
        middle = [f"{low:g} to below {high:g}" for low, high in pairwise(edges)]
        labels = [f"below {edges[0]:g}", *middle, f"{edges[-1]:g} and more"]
        places = np.digitize(np.where(is_known, values, 0.0), edges)
    pairs = zip(places.tolist(), is_known.tolist(), strict=True)
    texts = np.array([labels[place] if is_there else "" for place, is_there in pairs])
    return texts, [label for label in labels if (texts == label).any()]


STRATA = Section(90, "strata", "For whom", _build)
