"""The table of a prepared set: one row an image, from what the collection and the file say about it."""

import math
import os
from collections.abc import Sequence
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
_OF_THE_EXAMPLE: Final = ("patient", "exam", "laterality", "view")  # else the file says it


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
        Column -> value of each image, None where unknown; the first columns are always there.
    """
    rows = [_row(one, examples[one.example], root, source, key) for one in stored]
    others = sorted({name for row in rows for name in row} - set(_FIRST))
    return {name: _alike([row.get(name) for row in rows]) for name in (*_FIRST, *others)}


def _row(one: Stored, example: Example, root: Path, source: str, key: bytes | None) -> dict[str, Any]:
    own = pseudonymous(example, key)
    said = {
        name: hashed(str(value), key) if key is not None and name in ("patient", "exam") else value
        for name, value in one.facts.items()
    }
    known = {name: _given(getattr(own, name), said.get(name)) for name in _OF_THE_EXAMPLE}
    end = f"/{one.piece}" if one.piece else ""
    left, top, width, height = one.box
    spacing = one.mm_per_px or (None, None)
    return {
        **said,
        **dict(own.columns),
        **known,
        "name": own.name + end,
        "label": example.label,
        "is_test": example.is_test,
        "partner": None if own.partner is None else own.partner + end,
        "source": source,
        "file": None if key is not None else _relative(example.file, root),
        "frame": example.frame,
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
