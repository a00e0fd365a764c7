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
from trainables.data.csv_table import header_of, letters_of, read_csv
from trainables.data.patches import TextArray
from trainables.data.sources.checks import check_spellings, is_no_patient
from trainables.data.sources.telling_names import could_part, may_be_parts, may_be_patients

TABLE_NAME: Final = "patients.csv"
_COLUMNS: Final = {
    "file": (
        "file",
        "filename",
        "filepath",
        "path",
        "image",
        "imagefile",
        "imagename",
        "imagepath",
        "imageid",
        "img",
    ),
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
_OTHER_SUFFIXES: Final = frozenset({".json", ".jsonl", ".parquet", ".yaml", ".yml", ".tab"})
_MOST_OPENED: Final = 50  # so many tables are looked into; more lie beside their images, one each


def find_table(folder: Path) -> Path | None:
    """Return the table of patients in a folder: `patients.csv`, else one that can only mean the same.

    Args:
        folder: Folder of the images.

    Raises:
        DataError: If a file could be meant for the table, but its name or kind leaves it open; or if one is
            a link to what is not there.
    """
    if (folder / TABLE_NAME).is_file():
        return folder / TABLE_NAME
    meant = sorted(path for path in folder.iterdir() if _is_table(path) and _is_meant(path))
    if not meant:
        return None
    _check_link(meant[0])
    if len(meant) > 1 or meant[0].suffix.lower() != ".csv":
        raise DataError(
            f"{' and '.join(path.name for path in meant)} in {folder} "
            f"{'is' if len(meant) == 1 else 'are'} not read; did you mean {TABLE_NAME}? Save one table under "
            "that name, as CSV with the columns file and patient"
        )
    return meant[0]


def check_other_tables(root: Path, table: Path | None, notes: list[str], *, knows_parts: bool) -> None:
    """Ask about tables that are not read and may say what is not known otherwise; name the others.

    Args:
        root: Folder that the user names.
        table: The table of patients, or None.
        notes: A sentence on the tables that are not read is added here.
        knows_parts: True if the folders or the table say which images are the test part.

    Raises:
        DataError: If a table may be that of the patients, and there is none; or the parts of a split, and
            these are not known.
    """
    others = sorted(path for path in root.rglob("*") if path != table and _is_visible_table(path, root))
    by_columns = len(others) <= _MOST_OPENED
    meant = [path for path in others if _is_meant(path, by_columns=by_columns)] if table is None else []
    if meant:
        raise DataError(
            f"{meant[0].relative_to(root).as_posix()} in {root} is not read; did you mean {TABLE_NAME}? Save "
            f"one table of all images as {root / TABLE_NAME}, with paths below that folder, or move it away"
        )
    parts = [
        path
        for path in others
        if may_be_parts(bare := path.name.partition(".")[0]) and "fold" not in bare.lower()
    ]
    if parts and not knows_parts:
        raise DataError(
            f"{parts[0].relative_to(root).as_posix()} in {root} is not read; does it name the parts of a "
            f"split? Say them in a column split of {TABLE_NAME} (train, val, test or extra), or by folders "
            "train and test, or move it away"
        )
    named = [path for path in others if path.suffix.lower() in _TABLE_SUFFIXES - {".txt"}]
    if named:
        listed = ", ".join(path.relative_to(root).as_posix() for path in named[:4])
        notes.append(f"tables that are not read: {listed}{', ...' if len(named) > 4 else ''}")


def _is_visible_table(path: Path, root: Path) -> bool:
    return _is_table(path) and not any(part.startswith((".", "__")) for part in path.relative_to(root).parts)


def _is_table(path: Path) -> bool:
    """True for a file that may be a table, also behind a link that leads nowhere."""
    if path.suffix.lower() not in _TABLE_SUFFIXES | _OTHER_SUFFIXES or path.name.startswith((".", "__")):
        return False
    return path.is_file() or (path.is_symlink() and not path.exists())


def _is_meant(path: Path, *, by_columns: bool = True) -> bool:
    """True for a name like that of the table, and for a CSV with columns for file and patient.

    Raises:
        DataError: If it is a link to what is not there.
    """
    stem = letters_of(path.stem)
    if difflib.get_close_matches(
        stem, ("patients", "patient", "patientids", "patienttable"), n=1, cutoff=0.85
    ):
        return True
    if may_be_patients(path.name.partition(".")[0]):
        return True
    if path.suffix.lower() != ".csv" or not by_columns:
        return False
    columns = set(map(letters_of, _first_columns(path)))
    return all(not columns.isdisjoint(_COLUMNS[name]) for name in ("file", "patient"))


def _check_link(path: Path) -> None:
    if not path.exists():
        raise DataError(
            f"{path} is a link to {path.readlink()}, which is not there; fetch it (git annex get, dvc pull) "
            "or mount its disk, or remove the link"
        )


def _first_columns(table: Path) -> list[str]:
    _check_link(table)
    try:
        return header_of(table)
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
            DataError: If it cannot be read, a column is missing, or rows contradict each other; or if a
                column may name the patients or the parts of a split, too.
        """
        said = "" if path.name == TABLE_NAME else f", which is read as {TABLE_NAME}"
        notes.append(f"patients: from {path.name}{said}")
        columns, rows = _rows(path)
        _check_columns(path, columns, list(rows.values()))
        patients = _read(path, "patient", notes)
        check_spellings(patients.values(), path.name)
        read = {columns[_column(path, columns, name, [])] for name in ("file", "patient")} | {"split"}
        if unread := [name for name in columns if name not in read and name]:
            notes.append(f"{path.name}: columns that are not read: {', '.join(unread)}")
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
                other = (
                    ""
                    if self.path.name == TABLE_NAME
                    else ", or move the table away if it is of other images"
                )
                raise DataError(f"{self.path} has no row for {file}; add one with its patient{other}")
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
    for number, row in rows.items():
        cells = {
            name: _in_nfc(row[index]).strip() if index < len(row) else "" for name, index in place.items()
        }
        name, value = cells["file"].replace("\\", "/").removeprefix("./"), cells[what]
        if not name or not value:
            raise DataError(f"{table}, line {number}: file and {what} must both be filled in")
        if what == "patient" and is_no_patient(value):
            raise DataError(
                f"{table}, line {number}: {value} is no patient; give every image one, with a name of its "
                "own where nobody knows"
            )
        if found.setdefault(name, value) != value:
            raise DataError(f"{table} gives {name} to both {found[name]} and {value}; keep one")
    return found


def _check_columns(table: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Ask about columns that may name the patients or the parts of a split besides those that are read."""
    twice = [name for name in ("file", "patient", "split") if columns.count(name) > 1]
    if twice:
        raise DataError(f"{table} has the column {twice[0]} more than once; keep one")
    cells = [
        np.array([row[place].strip() if place < len(row) else "" for row in rows])
        for place in range(len(columns))
    ]
    if "patient" in columns:
        own = cells[columns.index("patient")]
        for name, others in zip(columns, cells, strict=True):
            if letters_of(name) in _COLUMNS["patient"] and not _group_alike(own, others):
                raise DataError(f"{table}: patient and {name} could each be the patients; keep one")
    parts = [name for name, own in zip(columns, cells, strict=True) if may_be_parts(name) and could_part(own)]
    if parts and "split" not in columns:
        raise DataError(
            f"{table}: the column {parts[0]} is not read; did you mean split? Give that name to a column of "
            "train, val, test or extra, or leave it out if it means something else"
        )


def _group_alike(one: TextArray, other: TextArray) -> bool:
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


def _rows(table: Path) -> tuple[list[str], dict[int, list[str]]]:
    """Column names in lower case, and line of the table -> cells of the row that begins there."""
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
