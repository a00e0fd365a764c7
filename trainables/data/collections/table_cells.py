"""What a row of a table of labels says about the image: the box of a region, and the frame of a file."""

from collections.abc import Iterable, Mapping
from typing import Final

from trainables.common.errors import DataError
from trainables.data.collections.collection import Box
from trainables.data.columns import UNKNOWN_WORDS

_SIDES: Final = ("left", "top", "width", "height", "right", "bottom")


def known_cell(row: Mapping[str, str], name: str) -> str:
    """The cell of a row, "" where it is missing or says that the value is unknown."""
    cell = row.get(name, "")
    return "" if cell.lower() in UNKNOWN_WORDS else cell


def box_of(row: Mapping[str, str]) -> Box | None:
    """The box of a row, by its size or by its right and lower end; None where no side of it is stated.

    Raises:
        ValueError: If a side is missing or no number, the box has no area, or is stated in shares of the
            image rather than in pixels.
    """
    exact = _stated(row)
    if not exact:
        return None
    if _is_in_shares(exact):
        raise ValueError("it is stated in shares of the image")
    stated = {side: round(number) for side, number in exact.items()}
    if {"left", "top", "width", "height"} <= set(stated):
        box = Box(*(stated[side] for side in _SIDES[:4]))
    elif {"left", "top", "right", "bottom"} <= set(stated):
        left, top = stated["left"], stated["top"]
        box = Box(left, top, stated["right"] - left, stated["bottom"] - top)
    else:
        raise ValueError("a side is missing")
    if box.width <= 0 or box.height <= 0:
        raise ValueError("it has no area")
    return box


def check_boxes_in_pixels(rows: Iterable[Mapping[str, str]], table: str) -> None:
    """Refuse a table whose boxes are shares of the image, as some programs write them.

    Args:
        rows: Rows of the table.
        table: Its name, for the message.

    Raises:
        DataError: If all numbers of boxes lie between 0 and 1.
    """
    found = list[dict[str, float]]()
    for row in rows:
        try:
            found.append(_stated(row))
        except ValueError:
            return  # one that is no number is a problem of its row, and the others are looked at one by one
    boxes = [box for box in found if box]
    if boxes and all(map(_is_in_shares, boxes)):
        raise DataError(
            f"{table}: the boxes must be in pixels of the image, and all their numbers lie between 0 and 1, "
            "as shares of it; multiply those across by the width of the image and those down by its height"
        )


def frame_of(row: Mapping[str, str]) -> int | None:
    """The frame that a row names, counted from 0; None where it names none.

    Raises:
        ValueError: If it is no whole number from 0 on.
    """
    cell = known_cell(row, "frame")
    if not cell:
        return None
    frame = int(cell.removesuffix(".0"))  # as spreadsheets write a column with empty cells
    if frame < 0:
        raise ValueError("it is below 0")
    return frame


def _stated(row: Mapping[str, str]) -> dict[str, float]:
    """Sides of a box that a row states.

    Raises:
        ValueError: If one is no number.
    """
    stated = {side: float(cell) for side in _SIDES if (cell := known_cell(row, f"box_{side}"))}
    if any(abs(number) == float("inf") for number in stated.values()):
        raise ValueError("a side is without end")
    return stated


def _is_in_shares(box: Mapping[str, float]) -> bool:
    """True for a box whose numbers all lie between 0 and 1, as of one pixel at most."""
    return all(0 <= number <= 1 for number in box.values())
