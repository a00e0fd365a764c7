"""Lines of tables that people type: the one that is named is that of the file, whichever reader names it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from source_files import class_folders, load, noise, write

from results.errors import ExportError
from results.export.unit_table import read_unit_table
from trainables.common.errors import DataError
from trainables.data.collections.collection import Choices
from trainables.data.collections.dicom import DICOM

# Blank lines, a row of separators alone and a line break within a cell, and below them a row that lacks
# its patient and has a label that is not known.
ROWS = ["", "1.png;malignant;p1;L", ";;;", '2.png;malignant;p2;"R', '"', "", "0.png;benin;;L"]
LINE = 8  # of the last row


def rows_of(header: str) -> str:
    return "\n".join([header, *ROWS])


def by_labels(folder: Path, header: str) -> str:
    for number in range(3):
        write(folder / f"{number}.png", noise(number))
    (folder / "labels.csv").write_text(rows_of(header))
    (problem,) = DICOM.list(folder, Choices()).problems
    return problem.what


def by_patients(folder: Path, header: str) -> str:
    films = class_folders(folder)
    (films / "patients.csv").write_text(rows_of(header))
    with pytest.raises(DataError) as error:
        load(films)
    return str(error.value)


def by_units(folder: Path, header: str) -> str:
    (folder / "units.csv").write_text(rows_of(header))
    with pytest.raises(ExportError) as error:
        read_unit_table(folder / "units.csv", "patient")
    return str(error.value)


READERS = (by_labels, by_patients, by_units)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("header", ["file;label;patient;side", "file;label;patient;side;;"])
def test_the_line_of_a_fault_is_that_of_the_file(
    tmp_path: Path, read: Callable[[Path, str], str], header: str
) -> None:
    assert f", line {LINE}" in read(tmp_path, header)


@pytest.mark.parametrize("read", READERS[1:])
def test_a_filled_column_without_a_name_is_said_by_all(
    tmp_path: Path, read: Callable[[Path, str], str]
) -> None:
    assert "csv: column 4 has no name, and line 3 fills it" in read(tmp_path, "file;label;patient;;")


def test_a_tree_whose_table_has_a_column_without_a_name_is_still_a_tree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: column 4 has no name, and line 3 fills it"):
        by_labels(tmp_path, "file;label;patient;;")
    assert DICOM.reads(tmp_path)
