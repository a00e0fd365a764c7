"""Tables that published collections bring, as rows of text: CSV, TSV, XLSX and XLS.

Headers of one collection differ between its editions by case, spaces, underscores and byte-order marks, and
cells hold line breaks and padding. Here a header is lower case with single underscores, and cells are bare.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias
from xml.etree import ElementTree as ET

from trainables.common.errors import DataError
from trainables.data.csv_table import delimiter_of

Row: TypeAlias = Mapping[str, str]

_SHEET: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LARGEST_SHEET_BYTES: Final = 1 << 28


def column_name(header: str) -> str:
    """Return a header as editions of a table agree on it.

    >>> column_name("\\ufeffleft or right breast"), column_name("ROI_mask_file_path"), column_name("Bi-Rads")
    ('left_or_right_breast', 'roi_mask_file_path', 'bi_rads')
    """
    return re.sub(r"[^a-z0-9]+", "_", header.lstrip("\ufeff").strip().lower()).strip("_")


def read_table(file: Path, needs: Sequence[str], *, also: Mapping[str, str] | None = None) -> list[Row]:
    """Read a table with a header.

    Args:
        file: CSV with `,`, `;` or tabs, or the first sheet of an XLSX or XLS workbook.
        needs: Columns that must be there, as `column_name` writes them.
        also: Column of an older edition -> column as it is called now.

    Returns:
        Rows with at least one filled cell; column -> text, "" where a cell is empty.

    Raises:
        DataError: If the file cannot be read or lacks a column.
    """
    lines = iter(_cells(file))
    header = [(also or {}).get(name, name) for name in map(column_name, next(lines, []))]
    missing = [name for name in needs if name not in header]
    if missing:
        found = ", ".join(name for name in header if name) or "no header"
        raise DataError(f"{file} needs the column {' and '.join(missing)}; it has {found}")
    rows = list[Row]()
    for cells in lines:
        if any(cell.strip() for cell in cells):
            padded = [*cells, *[""] * (len(header) - len(cells))]
            rows.append({name: cell.strip() for name, cell in zip(header, padded, strict=False)})
    return rows


def header_of(file: Path) -> frozenset[str]:
    """Return the columns of a CSV, as `column_name` writes them; empty if it cannot be read."""
    try:
        with file.open(encoding="utf-8", errors="replace", newline="") as stream:
            return frozenset(column_name(cell) for cell in re.split(r"[,;\t]", stream.readline(65536)))
    except OSError:
        return frozenset()


def number(text: str) -> float | None:
    """Return a finite number, or None.

    >>> number("61"), number("N/A"), number("nan")
    (61.0, None, None)
    """
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value and abs(value) != float("inf") else None  # noqa: PLR0124 - only NaN is not


def density(text: str) -> str | None:
    """Return the class of breast density, A to D, from a letter, a number from 1 to 4, or words.

    >>> density("3"), density("DENSITY C"), density("b"), density("_"), density("0")
    ('C', 'C', 'B', None, None)
    """
    word = text.rsplit(maxsplit=1)[-1].upper() if text.split() else ""
    if (value := number(word)) is not None:
        return "ABCD"[int(value) - 1] if value in (1, 2, 3, 4) else None
    return word if word in ("A", "B", "C", "D") else None


def birads(text: str) -> str | None:
    """Return the BI-RADS assessment as text, `0` to `6` with the letter of a 4.

    >>> birads("BI-RADS 4"), birads("4a"), birads("5.0"), birads("3$2"), birads("")
    ('4', '4A', '5', '3', None)
    """
    found = re.search(r"(?<!\d)([0-6])([a-cA-C]?)(?:\.0+)?(?![\d.])", text)
    return None if found is None else found[1] + found[2].upper()


def known(**columns: str | float | None) -> dict[str, str | float]:
    """Return the columns whose value is known: neither None nor empty text."""
    return {name: value for name, value in columns.items() if value is not None and value != ""}


def _cells(file: Path) -> Iterable[list[str]]:
    try:
        if file.suffix.lower() == ".xlsx":
            return list(_xlsx_cells(file))
        if file.suffix.lower() == ".xls":
            return _xls_cells(file)
        return _csv_cells(file.read_bytes(), file)
    except (OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile, ET.ParseError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as a table ({error}); download it again") from error


def _csv_cells(content: bytes, file: Path) -> list[list[str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text)))


def _xlsx_cells(file: Path) -> Iterator[list[str]]:
    """Rows of the first sheet. Formulas give the value that the workbook stored with them."""
    with zipfile.ZipFile(file) as book:
        names = sorted(name for name in book.namelist() if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", name))
        sheet = "xl/worksheets/sheet1.xml" if "xl/worksheets/sheet1.xml" in names else names[0]
        texts = _shared_texts(book)
        for row in ET.fromstring(_member(book, sheet)).iter(f"{_SHEET}row"):
            cells: list[str] = []
            for cell in row.iter(f"{_SHEET}c"):
                cells += [""] * (_column_index(cell.get("r", "")) - len(cells))
                cells.append(_cell_text(cell, texts))
            yield cells


def _member(book: zipfile.ZipFile, name: str) -> bytes:
    if book.getinfo(name).file_size > _LARGEST_SHEET_BYTES:
        raise ValueError(f"{name} unpacks to more than {_LARGEST_SHEET_BYTES >> 20} MiB")
    return book.read(name)


def _shared_texts(book: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    items = ET.fromstring(_member(book, "xl/sharedStrings.xml")).iter(f"{_SHEET}si")
    return ["".join(part.text or "" for part in item.iter(f"{_SHEET}t")) for item in items]


def _cell_text(cell: ET.Element, texts: list[str]) -> str:
    if cell.get("t") == "inlineStr":
        return "".join(part.text or "" for part in cell.iter(f"{_SHEET}t"))
    value = cell.findtext(f"{_SHEET}v") or ""
    return texts[int(value)] if cell.get("t") == "s" and value else value


def _column_index(reference: str) -> int:
    """0-based column of a cell such as `AB12`."""
    index = 0
    for letter in re.match("[A-Z]*", reference)[0]:  # type: ignore[index]  # `*` always matches
        index = index * 26 + ord(letter) - ord("A") + 1
    return max(0, index - 1)


def _xls_cells(file: Path) -> list[list[str]]:
    import xlrd  # type: ignore[import-untyped]  # it has no stubs; here, as only old workbooks need it

    try:
        sheet = xlrd.open_workbook(str(file)).sheet_by_index(0)
    except xlrd.XLRDError as error:
        raise ValueError(str(error)) from error
    return [
        [_plain(sheet.cell_value(row, place)) for place in range(sheet.ncols)] for row in range(sheet.nrows)
    ]


def _plain(value: object) -> str:
    """Text of a cell; workbooks store whole numbers, such as the names of files, as floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
