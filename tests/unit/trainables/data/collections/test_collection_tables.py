"""Tables of collections: headers of several editions, padding, workbooks, and what cannot be read."""

from pathlib import Path

import pytest
from collections_trees.files import table, workbook

from trainables.common.errors import DataError
from trainables.data.collections.tables import read_table


def test_cells_with_line_breaks_are_one_row_and_bare(tmp_path: Path) -> None:
    file = table(tmp_path / "a.csv", [{"image file path": "x/1.dcm", "ROI mask file path": "y/2.dcm\n"}] * 2)
    assert file.read_bytes().count(b"\n") == 5
    assert (
        read_table(file, ("roi_mask_file_path",))
        == [{"image_file_path": "x/1.dcm", "roi_mask_file_path": "y/2.dcm"}] * 2
    )


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path: Path) -> None:
    file = table(tmp_path / "a.csv", [{"patient_id": "1"}], bom=True)
    assert read_table(file, ("patient_id",)) == [{"patient_id": "1"}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_seen_in_the_header(tmp_path: Path, delimiter: str) -> None:
    file = table(
        tmp_path / "a.csv", [{"a": "1,5" if delimiter != "," else "1", "b": "2"}], delimiter=delimiter
    )
    assert [row["b"] for row in read_table(file, ("a", "b"))] == ["2"]


def test_columns_of_an_old_edition_get_their_present_names(tmp_path: Path) -> None:
    file = table(tmp_path / "a.csv", [{"abn_num": "1"}])
    assert read_table(file, ("abnormality_id",), also={"abn_num": "abnormality_id"}) == [
        {"abnormality_id": "1"}
    ]


def test_a_missing_column_is_named_beside_what_is_there(tmp_path: Path) -> None:
    file = table(tmp_path / "a.csv", [{"left": "1", "right": "2"}])
    with pytest.raises(DataError, match=r"a\.csv needs the column side and view; it has left, right"):
        read_table(file, ("side", "view"))


def test_a_workbook_gives_numbers_texts_and_gaps(tmp_path: Path) -> None:
    file = workbook(
        tmp_path / "a.xlsx", [("ID1", "Age", "subtype"), ("D1-0001", 44, None), ("<&>", None, "x ")]
    )
    assert read_table(file, ("id1",)) == [
        {"id1": "D1-0001", "age": "44", "subtype": ""},
        {"id1": "<&>", "age": "", "subtype": "x"},
    ]


def test_a_workbook_of_old_excel_gives_whole_numbers_without_a_point(tmp_path: Path) -> None:
    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    for row, cells in enumerate([("File Name", "Mass "), (22678622.0, "X"), (0.5, "")]):
        for column, cell in enumerate(cells):
            sheet.write(row, column, cell)
    book.save(str(tmp_path / "a.xls"))
    rows = read_table(tmp_path / "a.xls", ("file_name", "mass"))
    assert [row["file_name"] for row in rows] == ["22678622", "0.5"]


@pytest.mark.parametrize("name", ["a.xlsx", "a.xls"])
def test_a_damaged_workbook_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 no workbook")
    with pytest.raises(DataError, match=rf"{name} cannot be read as a table"):
        read_table(tmp_path / name, ("id1",))


def test_an_empty_table_has_no_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(DataError, match=r"needs the column id1; it has no header"):
        read_table(tmp_path / "a.csv", ("id1",))
