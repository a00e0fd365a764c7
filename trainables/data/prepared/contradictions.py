"""What the table says of images, and their files say otherwise: counted, and one of each named."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from trainables.common.text import count_text
from trainables.data.collections.collection import Box, Example
from trainables.data.dicom.headers import VIEWS
from trainables.data.prepared.chunk import Stored

_Table: TypeAlias = Mapping[str, Sequence[Any]]

_MOST: Final = 0.5  # of the images; an id on more of them stands in place of all ids, such as "removed"
_SIDES: Final = frozenset({"L", "R"})


def contradictions(table: _Table, stored: Sequence[Stored], examples: Sequence[Example]) -> list[str]:
    """Return sentences on patients, sides, views and boxes of which table and files tell two things.

    Args:
        table: Column -> value of each image; `name`, `patient` and `exam` are needed, which are hashes
            where ids are hashed.
        stored: The images, in the same order.
        examples: Examples of the listing, at which the images point.
    """
    rows = [(row, one, examples[one.example]) for row, one in enumerate(stored)]
    return [
        *_shared_ids(table, rows),
        *_of_other_kind(table, rows, "laterality", "side", _SIDES),
        *_of_other_kind(table, rows, "view", "view", VIEWS),
        *_beyond_images(table, rows),
    ]


_Rows: TypeAlias = Sequence[tuple[int, Stored, Example]]


def _shared_ids(table: _Table, rows: _Rows) -> list[str]:
    """A sentence on ids of headers that stand on films of several patients, or examinations, of the table."""
    notes = []
    for name, tag, whose, warning, consequence in (
        (
            "patient",
            "PatientID",
            "patients",
            "WARNING: ",
            "; if they are one, give her one name: else her images may be in two parts",
        ),
        ("exam", "StudyInstanceUID", "examinations", "", ""),
    ):
        listed = defaultdict[str, dict[str, None]](dict)  # in their order
        images = defaultdict[str, int](int)
        for row, one, example in rows:
            header = one.facts.get(name)
            if header is not None and getattr(example, name) is not None:
                listed[header][table[name][row]] = None
                images[header] += 1
        total = sum(images.values())
        torn = [
            list(found)
            for header, found in listed.items()
            if len(found) > 1 and images[header] <= _MOST * total
        ]
        if torn:
            be = "stands" if len(torn) == 1 else "stand"
            notes.append(
                f"{warning}{count_text(len(torn), tag)} {be} on films of several {whose} of the table, such "
                f"as {torn[0][0]} and {torn[0][1]}{consequence}"
            )
    return notes


def _of_other_kind(table: _Table, rows: _Rows, name: str, what: str, known: frozenset[str]) -> list[str]:
    """A sentence on images whose header states another side, or view, than the table."""
    first: dict[Path, tuple[str, str, str]] = {}
    for row, one, example in rows:
        own, header = getattr(example, name), one.facts.get(name)
        if own in known and header in known and own != header:
            first.setdefault(example.file, (_name(table, row, one), own, header))
    if not first:
        return []
    shown, own, header = next(iter(first.values()))
    have = "has" if len(first) == 1 else "have"
    return [
        f"{count_text(len(first), 'image')} {have} another {what} in the table than in the header of the "
        f"file, such as {shown} ({own}, and {header} in its header); that of the table is taken"
    ]


def _beyond_images(table: _Table, rows: _Rows) -> list[str]:
    """A sentence on boxes that reach beyond their images, and are cut at the edge."""
    beyond: dict[int, str] = {}
    for row, one, example in rows:
        if example.box is not None and _is_beyond(example.box, one.source_px):
            beyond.setdefault(one.example, _name(table, row, one))
    if not beyond:
        return []
    reach, be = ("reaches", "is") if len(beyond) == 1 else ("reach", "are")
    count = count_text(len(beyond), "box").replace("boxs", "boxes")
    return [
        f"{count} {reach} beyond the image and {be} cut at its edge, such as that of "
        f"{next(iter(beyond.values()))}"
    ]


def _is_beyond(box: Box, size: tuple[int, int]) -> bool:
    height, width = size
    return box.left < 0 or box.top < 0 or box.left + box.width > width or box.top + box.height > height


def _name(table: _Table, row: int, one: Stored) -> str:
    """Name of an example, without that of a piece of it."""
    return str(table["name"][row]).removesuffix(f"/{one.piece}")
