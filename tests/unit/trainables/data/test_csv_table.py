"""Tables that people write: cells by their delimiter, columns by their names, and what cannot be read."""

from pathlib import Path

import pytest

from trainables.common.errors import DataError
from trainables.data.csv_table import KNOWN_COLUMNS, column_names, letters_of, read_csv


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_cells_are_separated_by_what_the_header_has_most_of(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(f'file{delimiter}patient\na.png{delimiter} "one, two; three"\n\n', encoding="utf-8-sig")
    assert read_csv(file) == (["file", "patient"], [["a.png", "one, two; three"], []])


def test_an_empty_table_has_no_header(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    assert read_csv(tmp_path / "t.csv") == ([], [])


def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no table"):
        read_csv(tmp_path / "gone.csv")
    with pytest.raises(DataError, match=r"cannot be read as CSV in UTF-8 .*; save it again as such"):
        read_csv(tmp_path)


def test_no_name_stands_for_two_columns() -> None:
    names = [alias for aliases in KNOWN_COLUMNS.values() for alias in aliases]
    assert len(names) == len(set(names)) > 30
    assert all(letters_of(name) == name for name in names)
    assert column_names([name.upper() for name in KNOWN_COLUMNS]) == list(KNOWN_COLUMNS)
