"""Table `patients.csv`, with the patient of each image file."""

import difflib
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from trainables.common.errors import DataError
from trainables.data.csv_table import letters_of, read_csv
from trainables.data.patches import TextArray

TABLE_NAME: Final = "patients.csv"
_COLUMNS: Final = {
    "file": ("file", "filename", "filepath", "path", "image", "imagefile", "imagename", "imagepath", "img"),
    "split": ("split",),
    "patient": (
        "patient",
        "patientid",
        "patients",
        "patientname",
        "patientnumber",
        "subject",
        "subjectid",
        "pid",
    ),
}
_TABLE_SUFFIXES: Final = frozenset({".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods"})


def find_table(folder: Path) -> Path | None:
    """Return the table of patients in a folder: `patients.csv`, else one that can only mean the same.

    Args:
        folder: Folder of the images.

    Raises:
        DataError: If a file could be meant for the table, but its name or kind leaves it open.
    """
    if (folder / TABLE_NAME).is_file():
        return folder / TABLE_NAME
    files = [path for path in folder.iterdir() if path.suffix.lower() in _TABLE_SUFFIXES and path.is_file()]
    meant = sorted(path for path in files if _is_meant(path))
    if not meant:
        return None
    if len(meant) > 1 or meant[0].suffix.lower() != ".csv":
        raise DataError(
            f"{' and '.join(path.name for path in meant)} in {folder} "
            f"{'is' if len(meant) == 1 else 'are'} not read; did you mean {TABLE_NAME}? Save one table under "
            "that name, as CSV with the columns file and patient"
        )
    return meant[0]


def _is_meant(path: Path) -> bool:
    """True for a name like that of the table, and for a CSV with just its columns."""
    stem = letters_of(path.stem)
    if difflib.get_close_matches(
        stem, ("patients", "patient", "patientids", "patienttable"), n=1, cutoff=0.85
    ):
        return True
    return path.suffix.lower() == ".csv" and {"file", "patient"} <= set(_first_columns(path))


def _first_columns(table: Path) -> list[str]:
    try:
        return _rows(table)[0]
    except DataError:
        return []


@dataclass(frozen=True, slots=True)
class PatientTable:
    """A table of patients that was read. Names are compared in the Unicode form NFC.

    Attributes:
        path: Path of the table; names of files are relative to its folder.
        patient_of_name: Path below the folder with forward slashes, or bare file name -> patient; in NFC.
        part_of_name: The same -> word in the column `split`; empty where the table has no such column.
    """

    path: Path
    patient_of_name: Mapping[str, str]
    part_of_name: Mapping[str, str]

    @classmethod
    def read(cls, path: Path, notes: list[str]) -> "PatientTable":
        """Read a CSV with the columns `file` (path below the folder, or bare file name) and `patient`.

        Args:
            path: Path of the table.
            notes: Sentences on a table or columns of other names are added here.

        Raises:
            DataError: If it cannot be read, a column is missing, or rows contradict each other.
        """
        said = "" if path.name == TABLE_NAME else f", which is read as {TABLE_NAME}"
        notes.append(f"patients: from {path.name}{said}")
        columns, _ = _rows(path)
        patients = _read(path, "patient", notes)
        return cls(path, patients, _read(path, "split", []) if "split" in columns else {})

    def has_row(self, file: Path) -> bool:
        """True if a row names a file, by path or by bare name."""
        return not {self._name(file), _in_nfc(file.name)}.isdisjoint(self.patient_of_name)

    def patients_of(self, files: Sequence[Path], notes: list[str]) -> TextArray:
        """Look up the patient of each file.

        Args:
            files: Paths of the files.
            notes: A sentence on rows without a file is added here.

        Returns:
            Patient ids in NFC, shape (len(files),).

        Raises:
            DataError: If a file has no row, or a bare name stands for several files.
        """
        bare_names = Counter(_in_nfc(file.name) for file in files)
        used: set[str] = set()
        for file in map(self._name, files):
            key = file if file in self.patient_of_name else PurePosixPath(file).name
            if key not in self.patient_of_name:
                raise DataError(f"{self.path} has no row for {file}; add one with its patient")
            if key != file and bare_names[key] > 1:
                raise DataError(
                    f"{self.path} names {key}, but {bare_names[key]} files are called that; write {file} "
                    "in full"
                )
            used.add(key)
        unused = len(self.patient_of_name) - len(used)
        if unused:
            rows = "row names" if unused == 1 else "rows name"
            notes.append(f"{self.path.name}: {unused} {rows} no image in this folder")
        return np.array([self._patient(file) for file in map(self._name, files)])

    def parts_of(self, files: Sequence[Path]) -> list[str]:
        """Look up the word in the column `split` for files that `patients_of` has found."""
        names = map(self._name, files)
        return [self.part_of_name.get(name) or self.part_of_name[PurePosixPath(name).name] for name in names]

    def _patient(self, name: str) -> str:
        return self.patient_of_name.get(name) or self.patient_of_name[PurePosixPath(name).name]

    def _name(self, file: Path) -> str:
        return _in_nfc(file.relative_to(self.path.parent).as_posix())


def _in_nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _read(table: Path, what: str, notes: list[str]) -> dict[str, str]:
    """Read file -> value of a column, both in NFC."""
    columns, rows = _rows(table)
    place = {name: _column(table, columns, name, notes) for name in ("file", what)}
    found: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        cells = {
            name: _in_nfc(row[index]).strip() if index < len(row) else "" for name, index in place.items()
        }
        name, value = cells["file"].replace("\\", "/").removeprefix("./"), cells[what]
        if not name or not value:
            raise DataError(f"{table}, line {number}: file and {what} must both be filled in")
        if found.setdefault(name, value) != value:
            raise DataError(f"{table} gives {name} to both {found[name]} and {value}; keep one")
    return found


def _rows(table: Path) -> tuple[list[str], list[list[str]]]:
    """Column names in lower case, and the rows below them."""
    header, rows = read_csv(table)
    return [name.strip().lower() for name in header], rows


def _column(table: Path, columns: Sequence[str], name: str, notes: list[str]) -> int:
    """Place of a column: of its own name, else of the only one whose name means the same."""
    if name in columns:
        return columns.index(name)
    meant = [place for place, column in enumerate(columns) if letters_of(column) in _COLUMNS[name]]
    if len(meant) == 1:
        notes.append(f"{table.name}: the column {columns[meant[0]]} is read as {name}")
        return meant[0]
    found = ", ".join(columns) or "none"
    which = f"; which of {' and '.join(columns[place] for place in meant)} is {name}?" if meant else ""
    raise DataError(f"{table} must have the columns file and patient; found: {found}{which}")
