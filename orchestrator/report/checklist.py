"""Checklists of reporting guidelines, filled from a run: what it says, what is missing, what you write.

Each is a YAML file of `orchestrator/report/checklists/`: its items, paraphrased, with numbers and source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

from pydantic import Field

from orchestrator.report import evidence
from orchestrator.report.facts import RunFacts
from orchestrator.report.item_evidence import Answer, Evidence
from orchestrator.reporting.html_page import table
from results.tables import csv_text
from trainables.common.discovery import constants_of
from trainables.common.errors import UnknownNameError
from trainables.common.frozen import FrozenModel
from trainables.common.plain_yaml import load_yaml

Status = Literal["filled", "half filled", "you write this"]

NAMES: Final = ("claim", "tripod-ai", "stard-ai", "metrics")
_COLUMNS: Final = ("checklist", "number", "topic", "asks", "status", "answer", "files", "missing")


class Item(FrozenModel):
    """An item of a checklist.

    Attributes:
        number: Its number in the guideline, such as `12c`.
        part: Part of the paper that it belongs to.
        topic: What it is about, in a few words.
        asks: What is to be reported, paraphrased.
        evidence: Names of what a run can say to it; empty where it can say nothing.
        author: What only a person can add, as a sentence without a full stop; empty where nothing is left.
        weight: Weight in the guideline's own score; None where it has none.
    """

    number: str
    part: str
    topic: str
    asks: str
    evidence: tuple[str, ...] = ()
    author: str = ""
    weight: float | None = None


class Guideline(FrozenModel):
    """A reporting guideline.

    Attributes:
        name: Name by which it is asked for.
        title: Its title with the year.
        source: The paper.
        checked: How the list of items was compared with the published one.
        items: Its items, in order.
    """

    name: str
    title: str
    source: str
    checked: str
    items: tuple[Item, ...] = Field(min_length=1)

    def fill(self, facts: RunFacts) -> "Checklist":
        """Fill every item with what a run says."""
        known = _all_evidence()
        wanted = dict.fromkeys(name for item in self.items for name in item.evidence)
        answers = {name: known[name].find(facts) for name in wanted}
        missing = {name: known[name].missing_in(facts) for name, answer in answers.items() if answer is None}
        return Checklist(
            self.name,
            self.title,
            self.source,
            self.checked,
            tuple(_filled(item, answers, missing) for item in self.items),
        )


@dataclass(frozen=True, slots=True)
class FilledItem:
    """An item as a run fills it.

    Attributes:
        item: The item.
        status: `filled`, `half filled`, or `you write this`.
        answers: What the run says.
        missing: What is left to be added; empty where it is filled.
    """

    item: Item
    status: Status
    answers: tuple[Answer, ...]
    missing: str

    @property
    def text(self) -> str:
        """The answers in one text."""
        return " ".join(answer.text for answer in self.answers)

    @property
    def files(self) -> str:
        """The files that they come from."""
        return ", ".join(dict.fromkeys(answer.file for answer in self.answers))


@dataclass(frozen=True, slots=True)
class Checklist:
    """A checklist as a run fills it; see `Guideline` for the attributes."""

    name: str
    title: str
    source: str
    checked: str
    items: tuple[FilledItem, ...]

    @property
    def counts(self) -> dict[Status, int]:
        """Number of items of each status."""
        states: tuple[Status, ...] = ("filled", "half filled", "you write this")
        return {state: sum(one.status == state for one in self.items) for state in states}

    def as_json(self) -> dict[str, Any]:
        """Return the checklist as plain values."""
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "checked": self.checked,
            "counts": self.counts,
            "items": [
                {
                    **one.item.model_dump(exclude={"evidence", "author"}),
                    "status": one.status,
                    "answers": [{"text": answer.text, "file": answer.file} for answer in one.answers],
                    "missing": one.missing,
                }
                for one in self.items
            ],
        }


def checklist_named(name: str) -> Guideline:
    """Return a guideline by its name.

    Raises:
        UnknownNameError: If there is none; the message holds the nearest one.
    """
    if name not in NAMES:
        raise UnknownNameError("checklist", name, NAMES)
    return _read(name)


def checklists_as_csv(checklists: Sequence[Checklist]) -> str:
    """Return one row an item, as CSV with a header."""
    rows = [
        {
            "checklist": checklist.name,
            "number": one.item.number,
            "topic": one.item.topic,
            "asks": one.item.asks,
            "status": one.status,
            "answer": one.text,
            "files": one.files,
            "missing": one.missing,
        }
        for checklist in checklists
        for one in checklist.items
    ]
    return csv_text(rows, _COLUMNS)


def checklist_section(checklist: Checklist) -> str:
    """Return a checklist as a part of the page."""
    rows = [
        (
            one.item.number,
            f"{one.item.topic}: {one.item.asks}",
            one.status,
            f"{one.text} ({one.files})" if one.answers else "",
            one.missing,
        )
        for one in checklist.items
    ]
    counts = ", ".join(f"{number} {status}" for status, number in checklist.counts.items())
    caption = (
        f"{checklist.title}: {counts}. Items are paraphrased from {checklist.source}. {checklist.checked}"
    )
    head = ("item", "what it asks for", "status", "what the run says (file)", "what is missing")
    return table(caption, head, rows, is_text=True)


@cache
def _read(name: str) -> Guideline:
    file = resources.files("orchestrator.report.checklists") / f"{name}.yaml"
    return Guideline.model_validate(load_yaml(file.read_bytes()))


@cache
def _all_evidence() -> Mapping[str, Evidence]:
    return {one.name: one for one in constants_of(evidence, Evidence)}


def _filled(item: Item, answers: Mapping[str, Answer | None], missing_of: Mapping[str, str]) -> FilledItem:
    found = tuple(answer for name in item.evidence if (answer := answers[name]) is not None)
    left = [missing_of[name] for name in item.evidence if answers[name] is None]
    missing = "; ".join([*left, *([item.author] if item.author else [])])
    if not found:
        return FilledItem(item, "you write this", (), missing)
    return FilledItem(item, "half filled" if missing else "filled", found, missing)
