"""Images without a patient beside images with one: a few are warned of, many are refused."""

import csv
from pathlib import Path

import pydicom
import pytest
from dicom_tree import write_tree
from source_files import noise, write

from orchestrator import join_sets, prepare_set
from trainables.common.errors import DataError
from trainables.config.tasks import TASKS
from trainables.data.patches import PatchSet
from trainables.data.prepared.on_the_way import load_data
from trainables.data.prepared_set import TABLE_FILE, open_prepared_set, write_table
from trainables.data.sources import load_patch_set

pytestmark = pytest.mark.slow

COUNT = 20


def tree(folder: Path, unknown: int, *, seed: int = 0) -> Path:
    """Images of ten patients, the last of which have none in the table."""
    rows = []
    for number in range(COUNT):
        write(folder / f"{number}.png", noise(seed + number))
        patient = "" if number >= COUNT - unknown else f"P{number // 2}"
        rows.append((f"{number}.png", ("benign", "malignant")[number // 2 % 2], patient))
    with (folder / "labels.csv").open("w", newline="") as table:
        csv.writer(table).writerows([("file", "label", "patient"), *rows])
    return folder


def searched(folder: Path) -> tuple[PatchSet, list[str]]:
    task = TASKS["benign_malignant"]
    return load_patch_set(str(folder), task=task, label_codes=None, store=folder.parent / "store")


@pytest.mark.parametrize(("unknown", "said"), [(1, "1 of 20 images has"), (2, "2 of 20 images have")])
def test_a_few_unknown_patients_are_warned_of_at_prepare_and_at_search(
    tmp_path: Path, unknown: int, said: str
) -> None:
    done = prepare_set("dicom", tree(tmp_path / "tree", unknown), tmp_path / "set", workers=1)
    found, notes = searched(tmp_path / "set")
    for all_said in (done.notes, notes):
        (warning,) = [note for note in all_said if note.startswith("WARNING")]
        assert f"{said} no patient, so that each counts as a patient of its own" in warning
    assert found.patients is not None
    assert len(set(found.patients)) == 11


def test_a_raw_collection_is_warned_of_once(tmp_path: Path) -> None:
    _, notes = load_data(
        str(tree(tmp_path / "tree", 2)),
        task=TASKS["benign_malignant"],
        label_codes=None,
        store=tmp_path / "store",
    )
    assert sum("no patient" in note for note in notes) == 1


def test_more_than_a_tenth_are_refused_at_prepare_and_in_an_older_set(tmp_path: Path) -> None:
    said = (
        "3 of 20 images have no patient, such as 17.png, and the others have one; give the patient of every"
    )
    with pytest.raises(DataError, match=said):
        prepare_set("dicom", tree(tmp_path / "tree", 3), tmp_path / "set", workers=1)
    assert not (tmp_path / "set").exists()
    prepare_set("dicom", tree(tmp_path / "whole", 0), tmp_path / "set", workers=1)
    table = dict(open_prepared_set(tmp_path / "set").table)
    table["patient"] = [*table["patient"][:17], None, None, None]
    write_table(table, tmp_path / "set")
    assert (tmp_path / "set" / TABLE_FILE).is_file()
    with pytest.raises(DataError, match=said):
        searched(tmp_path / "set")


def test_more_than_a_tenth_are_refused_before_a_pixel_is_read(tmp_path: Path) -> None:
    folder = tree(tmp_path / "tree", 4)
    with pytest.raises(DataError, match=r"4 of 20 images have no patient, such as 16\.png, and"):
        prepare_set("dicom", folder, tmp_path / "set", workers=1)
    assert not list(tmp_path.rglob("*.pixels"))
    assert not (tmp_path / ".set.preparing").exists()


def test_a_refusal_before_a_pixel_is_read_names_no_file_where_ids_are_hashed(tmp_path: Path) -> None:
    folder = tree(tmp_path / "tree", 4)
    (tmp_path / "key").write_text("0123456789abcdef" * 4)
    with pytest.raises(DataError, match=r"4 of 20 images have no patient, such as [0-9a-f]{16}, and"):
        prepare_set("dicom", folder, tmp_path / "set", workers=1, hash_ids=str(tmp_path / "key"))
    assert not list(tmp_path.rglob("*.pixels"))


def test_files_that_are_missing_are_no_images_without_a_patient(tmp_path: Path) -> None:
    folder = tree(tmp_path / "tree", 4)
    for number in (16, 17):
        (folder / f"{number}.png").unlink()
    with pytest.raises(DataError, match=r"2 of 18 images have no patient, such as 18\.png, and"):
        prepare_set("dicom", folder, tmp_path / "set", workers=1)
    (folder / "18.png").unlink()
    done = prepare_set("dicom", folder, tmp_path / "set", workers=1)
    assert sum("1 of 17 images has no patient" in note for note in done.notes) == 1


def dicom_tree_with_some_patients(folder: Path) -> Path:
    """A tree whose table names the patients of the first half; the headers name all."""
    with (write_tree(folder) / "labels.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.reader(table))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as table:
        head, *others = rows
        known = [[*row, f"P{place // 2}" if place < 12 else ""] for place, row in enumerate(others)]
        csv.writer(table).writerows([[*head, "patient"], *known])
    return folder


def test_files_that_name_their_patient_themselves_are_read_before_any_is_refused(tmp_path: Path) -> None:
    folder = dicom_tree_with_some_patients(tmp_path / "tree")
    done = prepare_set("dicom", folder, tmp_path / "set", workers=1)
    assert None not in done.prepared.table["patient"]
    for file in sorted(folder.rglob("*.dcm")):
        header = pydicom.dcmread(file)
        header.PatientID = header.PatientName = ""
        header.save_as(file)
    with pytest.raises(DataError, match="12 of 24 images have no patient"):
        prepare_set("dicom", folder, tmp_path / "other", workers=1)


def test_a_set_without_any_patient_is_no_gap(tmp_path: Path) -> None:
    done = prepare_set("dicom", tree(tmp_path / "tree", COUNT), tmp_path / "set", workers=1)
    found, notes = searched(tmp_path / "set")
    assert found.patients is None
    assert not any("WARNING" in note for note in (*done.notes, *notes))


def test_a_source_without_patients_in_a_joined_set_is_warned_of(tmp_path: Path) -> None:
    prepare_set("dicom", tree(tmp_path / "tree", 0), tmp_path / "one", workers=1)
    for number in range(8):
        label = ("benign", "malignant")[number % 2]
        write(tmp_path / "folders" / label / f"{number}.png", noise(100 + number))
    prepare_set("folder", tmp_path / "folders", tmp_path / "other", workers=1)
    join_sets([tmp_path / "one", tmp_path / "other"], tmp_path / "joined")
    _, notes = searched(tmp_path / "joined")
    assert any("no image of folder has a patient" in note for note in notes)
