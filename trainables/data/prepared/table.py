"""The table of a prepared set: one row an image, from what the collection and the file say about it."""

import math
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trainables.common.text import as_utf8
from trainables.data.collections.collection import Example
from trainables.data.prepared.chunk import Stored
from trainables.data.prepared.identity import hashed, pseudonymous

_FIRST: Final = (
    *(
        "name",
        "label",
        "patient",
        "exam",
        "laterality",
        "view",
        "is_test",
        "partner",
        "source",
        "file",
        "frame",
    ),
    *("box_left", "box_top", "box_width", "box_height", "height_px", "width_px"),
    *("mm_per_row", "mm_per_column"),
)
_IDS: Final = ("patient", "exam")


def table_of(
    stored: Sequence[Stored], examples: Sequence[Example], root: Path, *, source: str, key: bytes | None
) -> dict[str, list[Any]]:
    """Make the table of a set.

    Args:
        stored: The images.
        examples: Examples of the listing, at which the images point.
        root: Folder or file of the collection; files are named relative to it.
        source: Name of the collection.
        key: Key of the hashes that stand for ids; None keeps them. With a key no file is named either.

    Returns:
        Column -> value of each image, None where unknown; the first columns are always there. A patient or an
        exam that the collection names for some images alone has that id for the others of the same id in
        the headers of their files, too.
    """
    listed = [pseudonymous(examples[one.example], key) for one in stored]
    headers = [_said(one, key) for one in stored]
    rows = [
        _row(one, own, header, root, source, key)
        for one, own, header in zip(stored, listed, headers, strict=True)
    ]
    for name in _IDS:
        ids = _ids([getattr(own, name) for own in listed], [header.get(name) for header in headers])
        for row, found in zip(rows, ids, strict=True):
            row[name] = found
    others = sorted({name for row in rows for name in row} - set(_FIRST))
    return {name: _alike([row.get(name) for row in rows]) for name in (*_FIRST, *others)}


def _said(one: Stored, key: bytes | None) -> dict[str, Any]:
    """What the file says, ids as hashes where there is a key."""
    return {
        name: hashed(str(value), key) if key is not None and name in _IDS else value
        for name, value in one.facts.items()
    }


def _ids(listed: Sequence[str | None], headers: Sequence[str | None]) -> list[str | None]:
    """Id of each image: the listed one, else the one listed for the same id of a header, else the header's.

    Two ways of naming a patient would make two of one. Where several are listed for an id of a header, as for
    one that stands in place of all ids, it tells nothing.

    >>> _ids(["P7", None, None, None], ["883", "883", "9", None])
    ['P7', 'P7', '9', None]
    >>> _ids(["P7", "P8", None], ["removed", "removed", "removed"])
    ['P7', 'P8', None]
    """
    names = defaultdict[str, set[str]](set)
    for one, header in zip(listed, headers, strict=True):
        if one is not None and header is not None:
            names[header].add(one)
    instead = {header: next(iter(found)) if len(found) == 1 else None for header, found in names.items()}
    return [
        one if one is not None or header is None else instead.get(header, header)
        for one, header in zip(listed, headers, strict=True)
    ]


def _row(
    one: Stored, own: Example, said: Mapping[str, Any], root: Path, source: str, key: bytes | None
) -> dict[str, Any]:
    known = {name: _given(getattr(own, name), said.get(name)) for name in ("laterality", "view")}
    end = f"/{one.piece}" if one.piece else ""
    left, top, width, height = one.box
    spacing = one.mm_per_px or (None, None)
    return {
        **said,
        **dict(own.columns),
        **known,
        "name": own.name + end,
        "label": own.label,
        "is_test": own.is_test,
        "partner": None if own.partner is None else own.partner + end,
        "source": source,
        "file": None if key is not None else _relative(own.file, root),
        "frame": own.frame or 0,
        "box_left": left,
        "box_top": top,
        "box_width": width,
        "box_height": height,
        "height_px": one.source_px[0],
        "width_px": one.source_px[1],
        **_finding(one),
        "mm_per_row": spacing[0],
        "mm_per_column": spacing[1],
    }


def _finding(one: Stored) -> dict[str, int]:
    if one.finding is None:
        return {}
    sides = ("left", "top", "width", "height")
    return {f"finding_{side}": number for side, number in zip(sides, one.finding, strict=True)}


def _given(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _relative(file: Path, root: Path) -> str:
    below = f"{root}{os.sep}"  # as text, since paths take ten times as long
    return str(file)[len(below) :].replace(os.sep, "/") if str(file).startswith(below) else file.name


def _alike(values: list[Any]) -> list[Any]:
    """Values of one type: text where any is text, else numbers."""
    if any(isinstance(value, str) for value in values):
        return [None if value is None else as_utf8(str(value)) for value in values]
    if any(isinstance(value, float) for value in values):
        return [None if value is None or math.isnan(value) else float(value) for value in values]
    return values
