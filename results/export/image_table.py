"""Table of the images to predict, one row an image, read by the rules of tables that people train on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from results.errors import ExportError
from trainables.common.errors import DataError
from trainables.data.csv_table import column_names, read_csv

_TAKEN: Final = ("file", "patient", "exam", "laterality", "view")


@dataclass(frozen=True, slots=True)
class ImageTable:
    """A table that was read.

    Attributes:
        path: Path of the table; names of files are relative to its folder.
        header: Columns as they are written.
        rows: Line of the table -> cells of a row by column, without blanks around them: those of `file`,
            `patient`, `exam`, `laterality` and `view` that the table has.
    """

    path: Path
    header: tuple[str, ...]
    rows: Mapping[int, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path) -> "ImageTable":
        """Read a CSV whose cells are separated by comma, semicolon or tab.

        Args:
            path: The table, in UTF-8. Columns have the names that a table of labels may have: `side` is
                `laterality`. Lines without a filled cell are passed over.

        Raises:
            ExportError: If it cannot be read, a filled column has no name, or two may mean the same.
        """
        try:
            header, lines = read_csv(path)
        except DataError as error:
            raise ExportError(str(error)) from error
        places = _places(path, header)
        rows = {
            number: {
                name: cells[place].strip() if place < len(cells) else "" for name, place in places.items()
            }
            for number, cells in lines.items()
        }
        return cls(path, tuple(header), rows)


def _places(path: Path, header: Sequence[str]) -> dict[str, int]:
    """Place of each column: of just its name, else of the only one whose name means the same."""
    own, known = [column.strip().lower() for column in header], column_names(header)
    found = {}
    for name in _TAKEN:
        alike = [place for place, column in enumerate(known) if column == name]
        meant = [own.index(name)] if name in own else alike
        if len(meant) > 1:
            both = " and ".join(header[place] for place in meant)
            raise ExportError(f"{path}: the columns {both} could each be {name}; keep one")
        if meant:
            found[name] = meant[0]
    return found
