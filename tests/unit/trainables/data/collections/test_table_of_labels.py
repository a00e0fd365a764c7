"""A tree with a table of labels: columns by many names, and every row that cannot be used is named."""

import zipfile
from pathlib import Path

import pytest
from dicom_tree import PLANTED, write_dicom, write_tree
from source_files import noise, write

from trainables.common.errors import DataError
from trainables.data.collections.collection import Box, Choices, Listing
from trainables.data.collections.dicom import DICOM
from trainables.data.collections.tree import files_below

NO_FRAME_OR_BOX = (
    "has a frame that is no whole number from 0 on, or part of a box, or one without area or in shares of "
    "the image"
)


def listed(folder: Path, table: str, **choices: object) -> Listing:
    """A folder of four images, one of them in a folder of its own, with a table."""
    for name in ("a.png", "b.png", "c d ü.png", "inner/e.png"):
        write(folder / name, noise(len(name)))
    (folder / "labels.csv").write_text(table, encoding="utf-8")
    return DICOM.list(folder, Choices(**choices))  # type: ignore[arg-type]  # any field


def test_headers_of_many_names_and_delimiters_are_read(tmp_path: Path) -> None:
    found = listed(
        tmp_path,
        "File Name;Pathology;Patient ID;Side;View Position;split;xmin;ymin;box width;box height;density\n"
        "a.png;Benign;p1;left;cc;train;1;2;3;4;2\n"
        "inner/e.png;MALIGNANT;p2;R;MLO;test;;;;;b\n",
    )
    one, other = found.examples
    assert (one.label, one.patient, one.laterality, one.view, one.is_test) == (0, "p1", "L", "CC", False)
    assert one.box == Box(1, 2, 3, 4)
    assert one.columns == {"density": 2.0}
    assert (other.label, other.is_test, other.box, other.columns) == (1, True, None, {"density": "b"})
    assert found.classes == ("benign", "malignant")
    assert any("2 image files without a row" in note for note in found.notes)


@pytest.mark.parametrize("word", ["nan", "NaN", "None"])
def test_a_cell_that_says_that_a_value_is_unknown_is_no_value(tmp_path: Path, word: str) -> None:
    found = listed(
        tmp_path, f"file,label,patient,exam,side,view,site\na.png,0,{word},{word},{word},{word},{word}\n"
    )
    (one,) = found.examples
    assert (one.patient, one.exam, one.laterality, one.view, one.columns) == (None, None, None, None, {})


def test_findings_as_labels_are_codes_of_findings(tmp_path: Path) -> None:
    found = listed(tmp_path, "file,label\na.png,mass benign\nb.png,calcification_malignant\n")
    assert found.label_codes == "pisa"
    assert [example.label for example in found.examples] == [1, 4]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.png,BENIGNN,,", "has a label that is not known ('BENIGNN')"),
        ("gone.png,benign,,", "names gone.png, which is not there"),
        (",benign,,", "names no file"),
        ("a.png,benign,x,", NO_FRAME_OR_BOX),
        ("a.png,benign,-1,", NO_FRAME_OR_BOX),
        ("a.png,benign,,holdout", "has a split that is not known ('holdout')"),
    ],
)
def test_a_row_that_cannot_be_used_is_a_problem_with_its_line(tmp_path: Path, row: str, reason: str) -> None:
    found = listed(tmp_path, f"file,label,frame,split\nb.png,benign,,\n{row}\n")
    assert [example.name for example in found.examples] == ["b.png"]
    (problem,) = found.problems
    assert (problem.what, problem.reason) == ("labels.csv, line 3", reason)


def test_a_row_that_repeats_an_image_is_left_out(tmp_path: Path) -> None:
    found = listed(tmp_path, "file,label\na.png,1\na.png,1\n")
    assert [example.label for example in found.examples] == [1]
    assert "two rows" in found.problems[0].reason


@pytest.mark.parametrize("regions", [None, "image"])
def test_an_image_whose_rows_disagree_about_its_label_is_left_out_and_named(
    tmp_path: Path, regions: str | None
) -> None:
    found = listed(tmp_path, "file,label\na.png,0\nb.png,1\na.png,1\na.png,0\n", regions=regions)
    assert [(example.name, example.label) for example in found.examples] == [("b.png", 1)]
    assert [(one.what, one.reason) for one in found.problems] == [("a.png", "has rows of several labels")]


def test_a_region_whose_rows_disagree_is_left_out_and_others_of_its_film_stay(tmp_path: Path) -> None:
    rows = "a.png,0,1,1,4,4\na.png,1,1,1,4,4\na.png,1,2,2,4,4\n"
    table = f"file,label,box_left,box_top,box_width,box_height\n{rows}"
    found = listed(tmp_path, table, regions="roi")
    assert [(example.name, example.label) for example in found.examples] == [("a.png@2,2", 1)]
    assert [one.what for one in found.problems] == ["a.png@1,1"]


def test_extra_images_of_the_table_train_and_are_never_scored(tmp_path: Path) -> None:
    found = listed(tmp_path, "file,label,split\na.png,0,train\nb.png,1,Extra\ninner/e.png,1,test\n")
    assert [example.is_test for example in found.examples] == [False, False, True]
    assert [example.columns for example in found.examples] == [
        {"is_extra": False},
        {"is_extra": True},
        {"is_extra": False},
    ]
    assert any("1 images that the column split of labels.csv marks as extra" in one for one in found.notes)
    with pytest.raises(DataError, match=r"column split of labels\.csv marks all images as extra"):
        listed(tmp_path, "file,label,split\na.png,0,extra\nb.png,1,extra\n")


@pytest.mark.parametrize("blank", ["", "nan", " "])
def test_a_table_that_names_the_part_of_some_images_alone_is_refused(tmp_path: Path, blank: str) -> None:
    said = r"must say train, val, test or extra for every image, or for none; 1 of 2 rows say nothing, .* b"
    with pytest.raises(DataError, match=said):
        listed(tmp_path, f"file,label,split\na.png,0,test\nb.png,1,{blank}\n")
    found = listed(tmp_path, f"file,label,split\na.png,0,{blank}\nb.png,1,{blank}\n")
    assert [example.is_test for example in found.examples] == [None, None]


def test_a_bare_name_of_two_files_is_asked_about(tmp_path: Path) -> None:
    write(tmp_path / "inner" / "twice.png", noise(1))
    write(tmp_path / "other" / "twice.png", noise(2))
    found = listed(tmp_path, "file,label\na.png,0\ntwice.png,1\n")
    assert "2 files are called that" in found.problems[0].reason


def test_columns_that_may_name_a_person_are_left_out(tmp_path: Path) -> None:
    found = listed(tmp_path, "file,label,patient name,birth date,age_years\na.png,0,Ann,1950,70\n")
    assert found.examples[0].columns == {"age_years": 70.0}
    assert any("patient name, birth date" in note for note in found.notes)


def test_images_are_found_by_their_uid(tmp_path: Path) -> None:
    uid = write_dicom(
        tmp_path / "x" / "no-suffix", noise(3, largest=4095), patient="1", side="L", view="CC", study="1.2.3"
    )
    found = listed(tmp_path, f"SOPInstanceUID,label\n{uid},malignant\n1.2.9,benign\n")
    assert [example.file.name for example in found.examples] == ["no-suffix"]
    assert found.problems[0].reason == "names a SOPInstanceUID that no file has"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "file,patient\na.png,p\n",
            "must have the columns file .or SOPInstanceUID. and label; found: file, patient",
        ),
        ("file,label,class\na.png,0,0\n", "columns label and class could each be label"),
        ("", "found: none"),
    ],
)
def test_a_table_without_a_column_that_is_needed_is_refused(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        listed(tmp_path, table)


def test_a_folder_without_a_table_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no labels.csv; name the table of labels with --table"):
        DICOM.list(tmp_path, Choices())
    with pytest.raises(DataError, match="there is no folder"):
        DICOM.list(tmp_path / "gone", Choices())
    with pytest.raises(DataError, match="no option taks; it has: task, mammograms"):
        listed(tmp_path, "file,label\na.png,0\n", options={"taks": "idc"})


def test_a_tree_is_known_by_its_table(tmp_path: Path) -> None:
    assert not DICOM.reads(tmp_path)
    assert DICOM.reads(write_tree(tmp_path / "tree", 2))


def test_loops_of_links_archives_and_broken_links_are_named_not_entered(tmp_path: Path) -> None:
    write(tmp_path / "a" / "one.png", noise(1))
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
        archive.writestr("x", "y")
    locked = bytearray((tmp_path / "plain.zip").read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + place] |= 1
    (tmp_path / "locked.zip").write_bytes(bytes(locked))
    files, problems = files_below(tmp_path)
    assert [file.name for file in files] == ["one.png"]
    reasons = {problem.what: problem.reason for problem in problems}
    assert reasons["a/loop"] == "is a link that leads back to a folder that holds it"
    assert reasons["gone.png"] == "is a link that leads nowhere"
    assert "link that leads" in reasons["self"]
    assert reasons["locked.zip"] == "is an encrypted archive; unpack it first"
    assert reasons["plain.zip"] == "is an archive; unpack it first"


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "one.png", noise(1))
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    files, problems = files_below(tmp_path / "tree")
    assert [file.name for file in files] == ["one.png"]
    assert not problems


def test_names_of_headers_are_not_listed(tmp_path: Path) -> None:
    found = DICOM.list(write_tree(tmp_path / "tree", 2), Choices())
    assert not any(planted in repr(found) for planted in PLANTED)


def test_boxes_by_their_corners_are_read(tmp_path: Path) -> None:
    found = listed(tmp_path, "file,label,xmin,ymin,xmax,ymax\na.png,0,1,2,4,7\nb.png,1,nan,,,\n")
    assert [example.box for example in found.examples] == [Box(1, 2, 3, 5), None]
    assert found.examples[0].columns == {}


@pytest.mark.parametrize(
    "columns", ["xmin,ymin", "xmin,ymin,xmax", "box_left,box_top,box_width", "xmax,ymax"]
)
def test_a_table_that_states_part_of_a_box_is_refused(tmp_path: Path, columns: str) -> None:
    with pytest.raises(DataError, match=r"labels\.csv states part of a box: box_.*; add the columns"):
        listed(tmp_path, f"file,label,{columns}\na.png,0{',1' * (columns.count(',') + 1)}\n")


@pytest.mark.parametrize("box", ["1,2,,7", "4,2,4,7", "1,2,x,7", "1,2,4,1"])
def test_a_row_with_part_of_a_box_or_one_without_area_is_a_problem(tmp_path: Path, box: str) -> None:
    found = listed(tmp_path, f"file,label,xmin,ymin,xmax,ymax\na.png,0,{box}\n")
    (problem,) = found.problems
    assert (found.examples, problem.what) == ((), "labels.csv, line 2")
    assert "part of a box, or one without area" in problem.reason


@pytest.mark.parametrize(
    ("column", "known"),
    [
        ("patient_no", "patient"),
        ("case_id", "patient"),
        ("is_test", "split"),
        ("set", "split"),
        ("fold", "split"),
    ],
)
def test_a_column_that_may_be_patients_or_parts_is_asked_about(
    tmp_path: Path, column: str, known: str
) -> None:
    rows = "a.png,0,1\nb.png,1,1\ninner/e.png,1,0\n"
    with pytest.raises(DataError, match=rf"the column {column} is not read as {known}; did you mean that\?"):
        listed(tmp_path, f"file,label,{column}\n{rows}")
    found = listed(tmp_path, f"file,label,{column},{known}\na.png,0,1,\n")
    assert [example.columns for example in found.examples] == [{column: 1.0}]


def test_a_column_that_groups_and_parts_nothing_is_taken_along(tmp_path: Path) -> None:
    found = listed(tmp_path, "file,label,slide,set,group\na.png,0,s1,A,x\nb.png,1,s2,A,x\n")
    assert [example.columns["slide"] for example in found.examples] == ["s1", "s2"]


@pytest.mark.parametrize("word", ["unknown", "NA", "-1"])
def test_a_patient_that_is_not_known_is_none(tmp_path: Path, word: str) -> None:
    (one,) = listed(tmp_path, f"file,label,patient\na.png,0,{word}\n").examples
    assert one.patient is None


def test_a_patient_written_in_two_ways_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: patients 1 and 1\.0 may be one"):
        listed(tmp_path, "file,label,patient\na.png,0,1\nb.png,1,1.0\n")
