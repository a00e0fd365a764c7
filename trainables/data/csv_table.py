"""CSV tables that people write: their cells, and the names by which their columns are known."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from trainables.common.errors import DataError

_DELIMITERS: Final = (",", ";", "\t")
# Column of a table of images -> what it may be called, in lower case and by its letters only.
KNOWN_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "file": ("file", "filename", "filepath", "path", "image", "imagefile", "imagefilepath", "imagepath"),
    "uid": ("sopinstanceuid", "sopuid", "instanceuid"),
    "label": ("label", "class", "pathology", "diagnosis", "target"),
    "patient": ("patient", "patientid", "subject", "subjectid", "pid"),
    "exam": ("exam", "examid", "examination", "study", "studyid", "accession", "studyinstanceuid"),
    "laterality": ("laterality", "side", "imagelaterality", "leftorrightbreast"),
    "view": ("view", "viewposition", "imageview"),
    "frame": ("frame",),
    "split": ("split", "part"),
    "box_left": ("boxleft", "xmin"),
    "box_top": ("boxtop", "ymin"),
    "box_width": ("boxwidth",),
    "box_height": ("boxheight",),
    "box_right": ("boxright", "xmax"),
    "box_bottom": ("boxbottom", "ymax"),
}
_NAME_OF: Final = {alias: name for name, aliases in KNOWN_COLUMNS.items() for alias in aliases}


def read_csv(file: Path) -> tuple[list[str], dict[int, list[str]]]:
    """Read a table as cells, which are separated by comma, semicolon or tab.

    Columns without a name are left out where their cells are empty, as spreadsheets add them, and where a
    first one only numbers the rows, as programs write their index.

    Args:
        file: A table in UTF-8.

    Returns:
        The cells of the header, and line of the file, from 1, on which a row begins -> cells of each row
        below it that has a filled one.

    Raises:
        DataError: If it is not there or cannot be read, or a column without a name is filled.
    """
    header, rows = _cells(file)
    kept = [place for place, name in enumerate(header) if name.strip()]
    for place in set(range(len(header))) - set(kept):
        filled = {
            line: cell for line, row in rows.items() if (cell := "".join(row[place : place + 1]).strip())
        }
        if filled and not (place == 0 and _are_row_numbers(list(filled.values()))):
            raise DataError(
                f"{file.name}: column {place + 1} has no name, and line {min(filled)} fills it; give it a "
                "name, or remove it"
            )
    return (
        [header[place] for place in kept],
        {line: [row[place] for place in kept if place < len(row)] for line, row in rows.items()},
    )


def header_of(file: Path) -> list[str]:
    """Return the header of a table as it is written, columns without a name among it.

    Raises:
        DataError: If it is not there or cannot be read.
    """
    return _cells(file)[0]


def _cells(file: Path) -> tuple[list[str], dict[int, list[str]]]:
    """The first row that is filled, and the other ones by the line on which each begins."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        lines = io.StringIO(text, newline="")
        reader = csv.reader(lines, delimiter=delimiter_of(text), skipinitialspace=True)
        rows, line = dict[int, list[str]](), 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows[line] = cells
            line = reader.line_num + 1  # a line break within a cell counts
    except FileNotFoundError as error:
        raise DataError(f"there is no table {file}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as CSV in UTF-8 ({error}); save it again as such") from error
    return (rows.pop(min(rows)), rows) if rows else ([], {})


def _are_row_numbers(cells: Sequence[str]) -> bool:
    """True for whole numbers of which none repeats, so that they group nothing."""
    return all(cell.isdecimal() for cell in cells) and len(set(cells)) == len(cells)


def delimiter_of(text: str) -> str:
    """Return what separates the cells of a table: comma, semicolon or tab, whichever its header has most of.

    >>> delimiter_of("file;patient\\na.png;1,5"), delimiter_of("file")
    (';', ',')
    """
    return max(_DELIMITERS, key=text.lstrip("\r\n").partition("\n")[0].count)


def letters_of(name: str) -> str:
    """Return the letters of a name in lower case, by which its spellings agree.

    >>> letters_of("Patient_ID "), letters_of("patient id")
    ('patientid', 'patientid')
    """
    return re.sub(r"[^a-z]", "", name.lower())


def column_names(header: Sequence[str]) -> list[str]:
    """Return columns by the names that are known, or their own in lower case.

    >>> column_names(["File Name", "Side", "Density "])
    ['file', 'laterality', 'density']
    """
    return [_NAME_OF.get(letters_of(column), column.strip().lower()) for column in header]
