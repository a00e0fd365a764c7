"""The table of units that `predict` takes: the rules by which training tables are read, and one unit each."""

from pathlib import Path

import pytest

from results.errors import ExportError
from results.export.unit_table import read_unit_table
from results.export.view_and_side import Stated, stated_in_table


def table(folder: Path, text: str) -> Path:
    path = folder / "views.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_words_for_one_side_name_one_breast(tmp_path: Path) -> None:
    path = table(
        tmp_path, "file,patient,laterality\na.png,p1,L\nb.png,p1,left\nc.png,p1, LEFT \nd.png,p1,right\n"
    )
    files, units = read_unit_table(path, "breast")
    assert files == [tmp_path / name for name in ("a.png", "b.png", "c.png", "d.png")]
    assert units == ["p1/L", "p1/L", "p1/L", "p1/R"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_and_delimiters_are_those_of_tables_of_labels(tmp_path: Path, delimiter: str) -> None:
    lines = (
        ("File Name", "Patient ID", "StudyID", "Side", "View Position"),
        ("a.png", "p1", "e1", "left", "mlo"),
        ("b.png", "p1", "e2", "R", ""),
    )
    path = table(tmp_path, "".join(delimiter.join(cells) + "\n" for cells in lines))
    files, units = read_unit_table(path, "breast")
    assert files == [tmp_path / "a.png", tmp_path / "b.png"]
    assert units == ["p1/e1/L", "p1/e2/R"]
    assert read_unit_table(path, "exam")[1] == ["p1/e1", "p1/e2"]
    assert stated_in_table(path) == [Stated("MLO", "L"), Stated(None, "R")]


def test_a_column_of_just_the_name_goes_before_one_of_another_name(tmp_path: Path) -> None:
    path = table(tmp_path, "path,file,study,exam,patient\nwrong.png,a.png,trial,e1,p1\n")
    assert read_unit_table(path, "exam") == ([tmp_path / "a.png"], ["p1/e1"])


def test_two_columns_that_may_be_one_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "file,patient,study,accession\na.png,p1,s1,n1\n")
    with pytest.raises(ExportError, match="the columns study and accession could each be exam; keep one"):
        read_unit_table(path, "exam")


@pytest.mark.parametrize("word", ["nan", "None", "unknown", "UNKNOWN"])
@pytest.mark.parametrize("name", ["patient", "exam", "laterality"])
def test_words_for_what_is_not_known_name_no_unit(tmp_path: Path, name: str, word: str) -> None:
    cells = {"patient": "p1", "exam": "e1", "laterality": "L"}
    known, lacking = ",".join(cells.values()), ",".join((cells | {name: word}).values())
    path = table(tmp_path, f"file,{','.join(cells)}\na.png,{known}\n\nb.png,{lacking}\n")
    with pytest.raises(ExportError, match=rf"line 4: {name} is {word}, and a breast needs one that is known"):
        read_unit_table(path, "breast")


def test_a_side_that_is_none_is_refused_where_it_names_a_breast(tmp_path: Path) -> None:
    path = table(tmp_path, "file,patient,exam,laterality\na.png,p1,e1,links\n")
    with pytest.raises(ExportError, match=r"line 2: unknown side links; the side of a breast is L or R"):
        read_unit_table(path, "breast")
    assert read_unit_table(path, "exam")[1] == ["p1/e1"]


def test_cells_that_are_missing_and_lines_that_are_empty_are_told_apart(tmp_path: Path) -> None:
    path = table(tmp_path, "file,patient,exam\na.png,p1,e1\n,,\nb.png,p1\n")
    with pytest.raises(ExportError, match="line 4: exam must not be empty"):
        read_unit_table(path, "exam")
    assert read_unit_table(path, "patient")[1] == ["p1", "p1"]


def test_a_table_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="there is no table"):
        read_unit_table(tmp_path / "gone.csv", "exam")
    (tmp_path / "views.csv").write_bytes("file,patient\na.png,M\xfcller\n".encode("latin-1"))
    with pytest.raises(ExportError, match=r"cannot be read as CSV in UTF-8 .*; save it again as such"):
        stated_in_table(tmp_path / "views.csv")
    with pytest.raises(ExportError, match="names no image; it needs a header and one row an image"):
        read_unit_table(table(tmp_path, "file,patient\n"), "patient")
