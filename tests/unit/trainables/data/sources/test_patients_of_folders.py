"""Patients of images in folders: told by a table or by the folders, never guessed from a split."""

import unicodedata
from pathlib import Path
from typing import Literal, TypeAlias

import pytest
from source_files import COLOUR, GREY, class_folders, load, noise, write

from trainables.common.errors import DataError

Form: TypeAlias = Literal["NFC", "NFD"]


@pytest.mark.parametrize("is_bare", [True, False])
def test_a_table_says_whose_the_images_are(tmp_path: Path, is_bare: bool) -> None:
    folder = class_folders(tmp_path)
    rows = [
        f"{'' if is_bare else path.parent.name + '/'}{path.name}, p{path.stem}"
        for path in folder.glob("*/*.png")
    ]
    (folder / "patients.csv").write_text(
        "\n".join(["\ufefffile,patient", *rows, "gone.png,p9"]), encoding="utf-8"
    )
    patch_set, notes = load(folder)
    assert patch_set.patients is not None
    assert patch_set.patients.tolist() == ["p0", "p3", "p5", "p1", "p2", "p4"]
    assert "patients.csv: 1 row names no image in this folder" in notes


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,patient\n0.png,a", r"patients\.csv has no row for benign/3\.png; add one with its patient"),
        ("name,patient\n0.png,a", "must have the columns file and patient; found: name, patient"),
        ("", "must have the columns file and patient; found: none"),
        ("file,patient\n0.png,", "line 2: file and patient must both be filled in"),
        ("file,patient\n0.png", "line 2: file and patient must both be filled in"),
        ("file,patient\n0.png,a\n0.png,b", r"gives 0\.png to both a and b; keep one"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, table: str, message: str) -> None:
    folder = class_folders(tmp_path)
    (folder / "patients.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        load(folder)


@pytest.mark.parametrize(
    "name", ["Patients.csv", "PATIENTS.CSV", "patient.csv", "patients_ids.csv", "ids.csv"]
)
def test_a_table_that_can_only_be_the_patients_is_used_and_said(tmp_path: Path, name: str) -> None:
    folder = class_folders(tmp_path)
    rows = [f"{number}.png,p{number}" for number in range(6)]
    (folder / name).write_text("\n".join(["file,patient", *rows]))
    patch_set, notes = load(folder)
    assert patch_set.patients is not None
    assert f"patients: from {name}, which is read as patients.csv" in notes


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("labels.csv", "filename,patient_id"),
        ("clinical.csv", "FileName,PatientID"),
        ("train.csv", "image_path,patient_id"),
        ("subjects.csv", "file,subject"),
    ],
)
def test_a_table_of_another_name_with_columns_that_mean_file_and_patient_is_used(
    tmp_path: Path, name: str, header: str
) -> None:
    folder = class_folders(tmp_path)
    (folder / name).write_text("\n".join([header, *(f"{number}.png,p{number}" for number in range(6))]))
    patch_set, notes = load(folder)
    assert patch_set.patients is not None
    assert f"patients: from {name}, which is read as patients.csv" in notes


def test_a_table_of_another_name_for_other_images_may_be_moved_away(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "metadata.csv").write_text("image_id,patient_id\n17,a")
    with pytest.raises(
        DataError, match=r"has no row for .*, or move the table away if it is of other images"
    ):
        load(folder)


def test_a_table_behind_a_broken_link_is_refused(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "patients.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(
        DataError, match=r"patients\.csv is a link to .*gone\.csv, which is not there; fetch it"
    ):
        load(folder)


@pytest.mark.parametrize("place", ["benign/patients.csv", "malignant/ids.csv", "benign/Patient_IDs.json"])
def test_a_table_that_lies_deeper_is_asked_about(tmp_path: Path, place: str) -> None:
    folder = class_folders(tmp_path)
    (folder / place).write_text("file,patient\n0.png,a")
    with pytest.raises(DataError, match=rf"{place} in .* is not read; did you mean patients\.csv\? Save one"):
        load(folder)


@pytest.mark.parametrize("name", ["splits.csv", "test.txt", "train.json"])
def test_a_file_that_may_name_the_parts_is_asked_about(tmp_path: Path, name: str) -> None:
    folder = class_folders(tmp_path)
    (folder / name).write_text("0.png")
    with pytest.raises(DataError, match=rf"{name} in .* is not read; does it name the parts of a split\?"):
        load(folder)


def test_other_tables_are_named(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "benign" / "ages.csv").write_text("file,age\n0.png,61")
    (folder / "Folds.csv").write_text("file,one\n0.png,1")
    assert "tables that are not read: Folds.csv, benign/ages.csv" in load(folder)[1]


def test_columns_that_are_not_read_are_named(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    rows = [f"{number}.png,p{number},n{number},61" for number in range(6)]
    (folder / "patients.csv").write_text("\n".join(["file,patient,patient_name,age", *rows]))
    assert "patients.csv: columns that are not read: patient_name, age" in load(folder)[1]


@pytest.mark.parametrize(
    "column", ["is_test", "set", "subset", "partition", "part", "data_split", "fold", "test"]
)
def test_a_column_that_may_name_the_parts_is_asked_about(tmp_path: Path, column: str) -> None:
    folder = class_folders(tmp_path)
    rows = [f"{number}.png,p{number},{number % 2}" for number in range(6)]
    (folder / "patients.csv").write_text("\n".join([f"file,patient,{column}", *rows]))
    with pytest.raises(DataError, match=rf"the column {column} is not read; did you mean split\?"):
        load(folder)
    text = (folder / "patients.csv").read_text().replace("0\n", "1\n").replace(",0", ",1")
    (folder / "patients.csv").write_text(text)
    assert f"patients.csv: columns that are not read: {column}" in load(folder)[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,patient,patient\n0.png,a,b", "has the column patient more than once; keep one"),
        (
            "file,patient,patient_id\n0.png,a,b\n1.png,a,c",
            "patient and patient_id could each be the patients",
        ),
        ("file,patient\n0.png,NA", "line 2: NA is no patient; give every image one"),
        ("file,patient\n0.png,unknown", "line 2: unknown is no patient"),
        ("file,patient\n0.png,1\n1.png,1.0", r"patients 1 and 1\.0 may be one; write it in one way"),
    ],
)
def test_patients_that_are_not_clear_are_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = class_folders(tmp_path)
    (folder / "patients.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load(folder)


def test_columns_of_other_names_and_separators_are_read_and_said(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    rows = "\r\n".join(f"{number}.png;p{number};x,y" for number in range(6))
    (folder / "patients.csv").write_text(f"Image Name;Patient_ID;remark\r\n{rows}\r\n", newline="")
    patch_set, notes = load(folder)
    assert patch_set.patients is not None
    assert patch_set.patients.tolist() == ["p0", "p3", "p5", "p1", "p2", "p4"]
    assert "patients.csv: the column image name is read as file" in notes
    assert "patients.csv: the column patient_id is read as patient" in notes


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["patients.xlsx"], r"patients\.xlsx in .* is not read; did you mean patients\.csv\?"),
        (["Patients.csv", "patient.csv"], r"Patients\.csv and patient\.csv in .* are not read; did you mean"),
    ],
)
def test_a_table_that_may_be_the_patients_is_asked_about(
    tmp_path: Path, names: list[str], message: str
) -> None:
    folder = class_folders(tmp_path)
    for name in names:
        (folder / name).write_text("file,patient\n0.png,a")
    with pytest.raises(DataError, match=message):
        load(folder)


def test_two_columns_that_could_be_the_patient_are_asked_about(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "patients.csv").write_text("file,patient_id,subject\n0.png,a,b")
    with pytest.raises(
        DataError, match=r"found: file, patient_id, subject; which of patient_id and subject is"
    ):
        load(folder)


@pytest.mark.parametrize("forms", [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_are_compared_as_they_look(tmp_path: Path, forms: tuple[Form, Form]) -> None:
    of_file, of_table = forms
    rows = ["file,patient"]
    for number in range(4):
        name, text = ("benign", "malignant")[number % 2], f"{number}_Müller"
        write(tmp_path / "films" / name / f"{unicodedata.normalize(of_file, text)}.png", noise(number))
        patient = unicodedata.normalize(forms[number // 2], "Ä")
        rows.append(f"{unicodedata.normalize(of_table, text)}.png,{patient}")
    (tmp_path / "films" / "patients.csv").write_text("\n".join(rows), encoding="utf-8")
    patch_set, _ = load(tmp_path / "films")
    assert patch_set.patients is not None
    assert patch_set.patients.tolist() == ["Ä"] * 4


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "patients.csv").write_bytes(b"file,patient\n0.png,\xff\xfe")
    with pytest.raises(DataError, match="cannot be read as CSV in UTF-8"):
        load(folder)


def test_a_bare_name_that_stands_for_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("benign", "malignant"):
        write(tmp_path / "films" / name / "a.png", GREY[0])
    (tmp_path / "films" / "patients.csv").write_text("file,patient\na.png,p1")
    with pytest.raises(
        DataError, match=r"names a\.png, but 2 files are called that; write benign/a\.png in full"
    ):
        load(tmp_path / "films")


def by_patient(folder: Path) -> Path:
    for patient in ("8863", "8864", "0"):
        for name in ("0", "1"):
            write(folder / "idc" / patient / name / f"{patient}_{name}.png", COLOUR[0])
    return folder / "idc"


def test_patient_folders_with_class_folders_give_patients(tmp_path: Path) -> None:
    patch_set, notes = load(by_patient(tmp_path))
    assert patch_set.patients is not None
    assert patch_set.patients.tolist() == ["0", "0", "8863", "8863", "8864", "8864"]
    assert patch_set.labels.tolist() == [0, 1] * 3
    assert notes[0] == "patients: the 3 folders of idc"


def test_a_nested_copy_of_the_patients_is_left_out(tmp_path: Path) -> None:
    folder = by_patient(tmp_path)
    for patient in ("8863", "8864"):
        write(folder / "IDC_regular_ps50_idx5" / patient / "0" / "a.png", COLOUR[0])
    patch_set, notes = load(folder)
    assert len(patch_set.images) == 6
    assert "IDC_regular_ps50_idx5 is a nested copy of its neighbours and was left out" in notes


def test_patient_folders_without_images_are_refused(tmp_path: Path) -> None:
    for name in ("0", "1"):
        (tmp_path / "idc" / "8863" / name).mkdir(parents=True)
    with pytest.raises(DataError, match=r"class folders below .*idc must hold images; they hold none"):
        load(tmp_path / "idc")


def test_images_that_the_table_names_are_read_however_deep_they_lie(tmp_path: Path) -> None:
    rows = ["file,patient"]
    for number in range(8):
        name = ("benign", "malignant")[number % 2]
        place = f"{name}/SOB/P{number // 2}/40X/{number}.png"
        write(tmp_path / "breast" / place, noise(number))
        rows.append(f"{place},P{number // 2}")
    write(tmp_path / "breast" / "benign" / "masks" / "more.png", noise(99))
    (tmp_path / "breast" / "patients.csv").write_text("\n".join(rows))
    patch_set, notes = load(tmp_path / "breast")
    assert patch_set.patients is not None
    assert sorted(set(patch_set.patients.tolist())) == ["P0", "P1", "P2", "P3"]
    assert len(patch_set.images) == 8
    left_out = (
        "images left out, since they lie deeper than the class folders: 1, such as benign/masks/more.png"
    )
    assert left_out in notes
