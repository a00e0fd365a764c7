"""The error gallery: worst misses and false alarms, disagreement of members, and doubtful labels."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from orchestrator.report.facts import RunFacts
from orchestrator.report.section import Content, Section, paragraph
from orchestrator.reporting.html_page import as_data_url, table, text, thumbnail
from results.run.records import OutOfFold
from results.scores.decision_rule import said_of_decisions
from results.scores.label_issues import label_issues
from trainables.common.text import printable
from trainables.common.types import FloatArray, IntArray
from trainables.data.patches import PatchSet

_SHOWN: Final = 12  # of each kind
_SIDE: Final = 112
_NEIGHBOURS: Final = 3
_NEAR_SIDE: Final = 36  # pixels of a neighbour
_TOLD: Final = ("view", "density", "finding", "birads", "vendor", "site")  # columns beside a picture


def _build(facts: RunFacts) -> Content | None:
    found, crossed = facts.headline, facts.fitted
    if found is None or crossed is None:
        return None
    own, fitted = found.predictions, crossed.probabilities
    classes = facts.search.classes
    shown = said_of_decisions(len(classes), f"predicted is the calibrated probability of {classes[-1]}")
    said = paragraph(
        f"Of {found.model}, out of fold: no image was predicted by a model that trained on it; {shown}. "
        f"{found.said_of_calls}".strip()
    )
    parts = [
        _mistakes(facts, own, fitted, crossed.called),
        _disagreements(facts),
        _doubtful(facts, own, fitted),
    ]
    return Content(said + "".join(parts))


def _mistakes(facts: RunFacts, own: OutOfFold, fitted: FloatArray, called: IntArray) -> str:
    """The images that were called wrongly, of two classes each by itself, the most certain ones first."""
    classes = facts.search.classes
    of_truth = fitted[np.arange(len(own.labels)), own.labels]
    wrong = called != own.labels
    kinds = {"Worst mistakes": wrong}
    if len(classes) == 2:
        kinds = {
            f"Misses: {classes[1]}": wrong & (own.labels == 1),
            f"False alarms: {classes[0]}": wrong & (own.labels == 0),
        }
    parts = []
    for title, which in kinds.items():
        places = _worst(np.flatnonzero(which), of_truth)
        counted = f"{title}, the worst of {which.sum()}" if which.sum() > len(places) else title
        parts.append(_sheet(facts, counted, own, places, fitted))
    return _said_of_neighbours(facts) + "".join(parts)


def _said_of_neighbours(facts: RunFacts) -> str:
    if facts.space is None:
        return ""
    unit = facts.group_unit
    whose = "other images" if unit == "image" else f"images of other {unit}s"
    return paragraph(
        f"Below a mistake stand the {_NEIGHBOURS} {whose} that are nearest to it in the features of "
        f"{facts.space.about}, and their classes: a mistake among images of the other class "
        f"looks like them to the model, one among images of its own class does not."
    )


def _worst(places: IntArray, of_truth: FloatArray) -> IntArray:
    return np.asarray(places[np.argsort(of_truth[places], kind="stable")][:_SHOWN])


def _disagreements(facts: RunFacts) -> str:
    members = facts.members
    if len(members) < 2:
        return ""
    rows = members[0][1].rows
    aligned = []
    for _, own in members:
        order = {int(row): place for place, row in enumerate(own.rows)}
        aligned.append(own.probabilities[[order[int(row)] for row in rows]])
    stacked = np.stack(aligned)
    spread = (stacked.max(axis=0) - stacked.min(axis=0)).max(axis=1)
    places = np.argsort(-spread, kind="stable")[:_SHOWN]
    numbers = ", ".join(str(number) for number, _ in members)
    captions = [f"members differ by {spread[place]:.2f}" for place in places]
    title = f"What the members ({numbers}) disagree about most"
    return _pictures(facts, title, rows[places], members[0][1].labels[places], captions)


def _doubtful(facts: RunFacts, own: OutOfFold, fitted: FloatArray) -> str:
    classes = facts.search.classes
    issues = label_issues(own.labels, fitted)
    head = "<h3>Labels to review</h3>"
    if not issues:
        return head + paragraph("None: no label is contradicted with confidence.")
    said = paragraph(
        f"Of {len(own.labels)} {facts.units}, {len(issues)} are confidently of another class than their "
        "label says (confident learning). Some labels are wrong, and so are some models: a person decides."
    )
    shown = issues[:_SHOWN]
    places = np.array([one.place for one in shown])
    captions = [f"rather {classes[one.suggested]}, by {one.margin:.2f}" for one in shown]
    pictures = _pictures(facts, "", own.rows[places], own.labels[places], captions)
    rows = [
        (f"row {own.rows[one.place]}", classes[one.label], classes[one.suggested], f"{one.margin:.2f}")
        for one in issues[: 4 * _SHOWN]
    ]
    listed = table("The most doubtful labels", ("image", "label", "rather", "margin"), rows)
    return head + said + pictures + listed


def _sheet(facts: RunFacts, title: str, own: OutOfFold, places: IntArray, fitted: FloatArray) -> str:
    classes = facts.search.classes
    captions = [
        f"predicted {fitted[place, 1]:.2f}"
        if len(classes) == 2
        else f"called {classes[int(fitted[place].argmax())]}"
        for place in places
    ]
    return _pictures(facts, title, own.rows[places], own.labels[places], captions, neighbours=_NEIGHBOURS)


def _pictures(
    facts: RunFacts,
    title: str,
    rows: IntArray,
    labels: IntArray,
    captions: Sequence[str],
    *,
    neighbours: int = 0,
) -> str:
    classes, patch_set = facts.search.classes, facts.patch_set
    head = f"<h3>{text(title)}</h3>" if title else ""
    if not len(rows):
        return head + paragraph("None.")
    names = [
        f"row {row}, {classes[label]}" for row, label in zip(rows.tolist(), labels.tolist(), strict=True)
    ]
    if patch_set is None or patch_set.is_table or not facts.with_pictures:
        near = [_near_in_words(facts, row, neighbours) for row in rows.tolist()]
        listed = [
            (name, f"{caption}; {own}" if own else caption)
            for name, caption, own in zip(names, captions, near, strict=True)
        ]
        return head + table(title or "Images", ("image", "prediction"), listed)
    figures = "".join(
        f'<figure><img width="{_SIDE}" height="{_SIDE}" alt="{text(name)}, {text(caption)}" '
        f'src="{as_data_url(thumbnail(patch_set, row, side=_SIDE))}">'
        f"{_near(facts, patch_set, row, neighbours)}<figcaption>{text(name)}<br>{text(caption)}"
        f"{_told(facts, row, neighbours)}</figcaption></figure>"
        for row, name, caption in zip(rows.tolist(), names, captions, strict=True)
    )
    return f'{head}<div class="sheet">{figures}</div>'


def _near(facts: RunFacts, patch_set: PatchSet, row: int, number: int) -> str:
    """Small pictures of the neighbours of an image; empty without any."""
    if facts.space is None or not number:
        return ""
    places, classes = facts.space.nearest(row, number), facts.search.classes
    pictures = "".join(
        f'<img width="{_NEAR_SIDE}" height="{_NEAR_SIDE}" '
        f'alt="neighbour: row {near}, {text(classes[label])}" '
        f'src="{as_data_url(thumbnail(patch_set, near, side=_NEAR_SIDE))}">'
        for near, label in zip(
            facts.space.rows[places].tolist(), facts.space.labels[places].tolist(), strict=True
        )
    )
    return f'<div class="near">{pictures}</div>' if pictures else ""


def _near_in_words(facts: RunFacts, row: int, number: int) -> str:
    """How many of the neighbours are of which class, such as `near 2 benign, 1 malignant`; empty without."""
    if facts.space is None or not number:
        return ""
    labels = facts.space.labels[facts.space.nearest(row, number)].tolist()
    counts = [f"{labels.count(label)} {name}" for label, name in enumerate(facts.search.classes)]
    said = ", ".join(one for one in counts if not one.startswith("0 "))
    return f"near {said}" if said else ""


def _told(facts: RunFacts, row: int, neighbours: int) -> str:
    columns = (facts.patch_set.columns if facts.patch_set is not None else None) or {}
    known = [_value(columns[name][row]) for name in _TOLD if name in columns]
    said = [", ".join(one for one in known if one), _near_in_words(facts, row, neighbours)]
    return "".join(f"<br>{text(one)}" for one in said if one)


def _value(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"  # noqa: PLR0124 - only NaN is not equal to itself
    return printable(str(value), keeps="")


GALLERY = Section(100, "gallery", "Errors, disagreement and doubtful labels", _build)
