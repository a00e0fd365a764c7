"""Strata of a set: the values of its columns, ages in decades, and other numbers in thirds.

What names an image, a patient or a place on a film is no stratum. The size of a finding is made from its box.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.text import printable
from trainables.data.columns import SITES, Columns, names_of

BoolArray = NDArray[np.bool_]

# Columns whose values tell which image it is, or where in a file it lies, and not what kind.
_NOT_STRATA: Final = frozenset(
    (
        *("name", "file", "patient", "exam", "frame", "partner", "label", "is_test", "lesion"),
        *("box_left", "box_top", "box_width", "box_height", "height_px", "width_px"),
        *("finding_left", "finding_top", "finding_width", "finding_height", "mm_per_row", "mm_per_column"),
    )
)
_MOST_VALUES: Final = 20  # different texts; a column of more is a name or a remark
_FEW_NUMBERS: Final = 6  # different numbers that stand for themselves, as density and BI-RADS do
_AGES: Final = (40.0, 50.0, 60.0, 70.0)  # borders of the bands, in years


@dataclass(frozen=True, slots=True)
class Part:
    """The images of one value of a column.

    Attributes:
        column: Name of the column.
        value: The value, or the range of a number.
        images: True for its images, shape (images,).
    """

    column: str
    value: str
    images: BoolArray


def parts_of_columns(columns: Columns) -> list[Part]:
    """Return the strata of every column that has at least two; images of unknown value are in none.

    Sites that are numbers, such as 1 and 2, are names, and each is a stratum.

    Args:
        columns: Column -> text, "" where unknown, or numbers, NaN where unknown, shape (images,).

    >>> columns = {"age_years": np.array([38.0, 47.0, 71.0]), "view": np.array(["CC", "MLO", "CC"])}
    >>> [(part.column, part.value, int(part.images.sum())) for part in parts_of_columns(columns)]
    [('age_years', 'under 40', 1), ('age_years', '40 to 49', 1), ('age_years', '70 and over', 1), \
('view', 'CC', 2), ('view', 'MLO', 1)]
    """
    found = []
    for name, values in sorted(_with_sizes(columns).items()):
        if name in _NOT_STRATA:
            continue
        is_text = values.dtype.kind == "U" or name in SITES
        parts = list(_of_text(names_of(values)) if is_text else _of_numbers(name, values))
        if len(parts) > 1:
            found += [Part(name, value, images) for value, images in parts]
    return found


def _with_sizes(columns: Columns) -> dict[str, NDArray[Any]]:
    """Columns, and the size of each finding as the side of a square of the area of its box."""
    found = {name: np.asarray(values) for name, values in columns.items()}
    if {"finding_width", "finding_height"} <= set(found):
        side = np.sqrt(found["finding_width"] * found["finding_height"])
        found["finding_side_px"] = side
        if {"mm_per_row", "mm_per_column"} <= set(found):
            millimetres = side * np.sqrt(found["mm_per_row"] * found["mm_per_column"])
            if np.isfinite(millimetres).any():
                found["finding_side_mm"] = millimetres
                del found["finding_side_px"]
    return found


def _of_text(values: NDArray[Any]) -> Iterator[tuple[str, BoolArray]]:
    distinct = [value for value in np.unique(values).tolist() if value]
    if len(distinct) <= _MOST_VALUES:
        for value in distinct:
            yield printable(value, keeps=""), values == value


def _of_numbers(name: str, values: NDArray[Any]) -> Iterator[tuple[str, BoolArray]]:
    known = np.isfinite(values)
    distinct = np.unique(values[known])
    if name == "age" or name.startswith("age_"):
        yield from _between(values, known, _AGES, whole=True)
    elif len(distinct) <= _FEW_NUMBERS:
        for value in distinct.tolist():
            yield f"{value:g}", known & (values == value)
    else:
        edges = np.unique(np.quantile(values[known], [1 / 3, 2 / 3]))
        yield from _between(values, known, tuple(edges.tolist()), whole=False)


def _between(
    values: NDArray[Any], known: BoolArray, edges: tuple[float, ...], *, whole: bool
) -> Iterator[tuple[str, BoolArray]]:
    """Bands between borders, without those that hold no image; a border belongs to the band above it."""
    band = np.digitize(np.where(known, values, 0.0), edges)
    for number in range(len(edges) + 1):
        images = known & (band == number)
        if not images.any():
            continue
        if number == 0:
            text = f"under {edges[0]:.4g}"
        elif number == len(edges):
            text = f"{edges[-1]:.4g} and over"
        else:
            last = f"to {edges[number] - 1:.4g}" if whole else f"to under {edges[number]:.4g}"
            text = f"{edges[number - 1]:.4g} {last}"
        yield text, images
