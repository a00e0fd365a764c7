"""Tables that people write: cells by their delimiter, columns by their names, and what cannot be read."""

from pathlib import Path

import pytest

from trainables.common.errors import DataError
from trainables.data.csv_table import KNOWN_COLUMNS, column_names, header_of, letters_of, read_csv


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_cells_are_separated_by_what_the_header_has_most_of(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(f'file{delimiter}patient\na.png{delimiter} "one, two; three"\n\n', encoding="utf-8-sig")
    assert read_csv(file) == (["file", "patient"], {2: ["a.png", "one, two; three"]})


def test_an_empty_table_has_no_header(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    assert read_csv(tmp_path / "t.csv") == ([], {})
    (tmp_path / "t.csv").write_text("\n;;\n")
    assert read_csv(tmp_path / "t.csv") == ([], {})
    assert header_of(tmp_path / "t.csv") == []


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


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_are_known_by_the_line_on_which_they_begin(tmp_path: Path, end: str) -> None:
    lines = ["", "file,note", "", "a.png,x", ",", 'b.png,"two', 'lines"', " , ", "c.png,y"]
    (tmp_path / "t.csv").write_bytes(end.join(lines).encode())
    header, rows = read_csv(tmp_path / "t.csv")
    assert header == ["file", "note"]
    assert rows == {4: ["a.png", "x"], 6: ["b.png", "two\nlines"], 9: ["c.png", "y"]}


def test_columns_without_a_name_are_left_out_where_they_say_nothing(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file;;label;;\na.png;;0;;\nb.png; ;1\n")
    assert read_csv(table) == (["file", "label"], {2: ["a.png", "0"], 3: ["b.png", "1"]})
    assert header_of(table) == ["file", "", "label", "", ""]
    table.write_text(",file,label\n7,a.png,0\n3,b.png,1\n")  # the index of a part of a data frame
    assert read_csv(table) == (["file", "label"], {2: ["a.png", "0"], 3: ["b.png", "1"]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file;label;patient;;\na;0;p;;\n\nb;1;q;x;\n", "column 4 has no name, and line 4 fills it"),
        (",file,label\n7,a.png,0\n7,b.png,1\n", "column 1 has no name, and line 2 fills it"),
        ("file,,label\na.png,1,0\nb.png,2,1\n", "column 2 has no name, and line 2 fills it"),
    ],
)
def test_a_filled_column_without_a_name_is_asked_about(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=rf"t\.csv: {said}; give it a name, or remove it"):
        read_csv(tmp_path / "t.csv")
