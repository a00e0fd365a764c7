"""A confusion matrix as a table of the terminal."""

from collections.abc import Sequence
from typing import Final

from rich.table import Table

from results.tables import result_table

_WIDTH: Final = 64  # characters of a terminal of 80 that names of classes may take beside their table


def confusion_table(
    classes: Sequence[str], confusion: Sequence[Sequence[int]], *, is_ordinal: bool = False
) -> Table:
    """Return a confusion matrix as a table that fits 80 columns.

    Args:
        classes: Class names.
        confusion: Counts; rows are the true class, columns the decided one.
        is_ordinal: True where the classes are in an order of degree.
    """
    table = result_table(padding=(0, 1))
    rows, columns = _labels_that_fit(classes)
    table.add_column("true \\ called", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for name, row in zip(rows, confusion, strict=True):
        table.add_row(name, *map(str, row))
    if is_ordinal:
        table.caption = "The classes are in an order: the further from the diagonal, the worse."
    return table


def _labels_that_fit(classes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Labels of rows and columns: the class names, or numbers for columns that would not fit the terminal."""
    width = max(map(len, classes)) + sum(len(name) + 3 for name in classes)
    if width <= _WIDTH:
        return list(classes), list(classes)
    return [f"{place} {name}" for place, name in enumerate(classes, 1)], [
        str(place) for place in range(1, len(classes) + 1)
    ]
