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
}
_NAME_OF: Final = {alias: name for name, aliases in KNOWN_COLUMNS.items() for alias in aliases}


def read_csv(file: Path) -> tuple[list[str], list[list[str]]]:
    """Read a table as cells, which are separated by comma, semicolon or tab.

    Args:
        file: A table in UTF-8.

    Returns:
        The cells of the header, and those of each line below it; an empty line has none.

    Raises:
        DataError: If it is not there or cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        lines = io.StringIO(text, newline="")
        rows = list(csv.reader(lines, delimiter=delimiter_of(text), skipinitialspace=True))
    except FileNotFoundError as error:
        raise DataError(f"there is no table {file}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as CSV in UTF-8 ({error}); save it again as such") from error
    return (rows[0], rows[1:]) if rows else ([], [])


def delimiter_of(text: str) -> str:
    """Return what separates the cells of a table: comma, semicolon or tab, whichever its header has most of.

    >>> delimiter_of("file;patient\\na.png;1,5"), delimiter_of("file")
    (';', ',')
    """
    return max(_DELIMITERS, key=text.partition("\n")[0].count)


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
