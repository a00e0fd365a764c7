"""Images of a published collection that a user has sorted into class folders: which of the two is read."""

from pathlib import Path

import pytest
from source_files import noise, write

from trainables.config.tasks import TASKS, Task
from trainables.data.collections import COLLECTIONS
from trainables.data.prepared.on_the_way import collection_of

BREAKHIS = COLLECTIONS["breakhis"]
NAMES = ("SOB_B_A-14-22549AB-40-001.png", "SOB_M_DC-14-2523-40-001.png")
TYPES = Task("types", ("adenosis", "ductal"))
GRADES = Task("grades", ("benign", "malignant"), folders={"adenosis": "benign", "ductal": "malignant"})


def sorted_into(folder: Path, first: str, second: str, *, table: bool = False) -> str:
    for place, (name, image) in enumerate(zip((first, second), NAMES, strict=True)):
        write(folder / name / image, noise(place))
    if table:
        (folder / "patients.csv").write_text("file,patient\n" + "".join(f"{name},p\n" for name in NAMES))
    return str(folder)


@pytest.mark.parametrize("table", [True, False])
def test_classes_that_no_collection_knows_are_read_by_their_folders(tmp_path: Path, table: bool) -> None:
    assert collection_of(sorted_into(tmp_path, "Adenosis", "ductal", table=table), None, TYPES) is None


@pytest.mark.parametrize("task", [TASKS["benign_malignant"], GRADES])
def test_a_table_of_patients_beside_class_folders_is_read_with_them(tmp_path: Path, task: Task) -> None:
    assert collection_of(sorted_into(tmp_path, "benign", "malignant", table=True), None, task) is None


@pytest.mark.parametrize("task", [TASKS["benign_malignant"], GRADES])
def test_without_a_table_the_collection_knows_the_patients(tmp_path: Path, task: Task) -> None:
    assert collection_of(sorted_into(tmp_path, "benign", "malignant"), None, task) is BREAKHIS


@pytest.mark.parametrize("task", [TASKS["benign_malignant"], TYPES])
def test_folders_that_are_no_classes_stay_the_collection(tmp_path: Path, task: Task) -> None:
    assert collection_of(sorted_into(tmp_path, "slide 1", "slide 2", table=True), None, task) is BREAKHIS


def test_class_folders_without_images_in_them_stay_the_collection(tmp_path: Path) -> None:
    for side, image in zip(("benign", "malignant"), NAMES, strict=True):
        write(tmp_path / side / "SOB" / "adenosis" / "SOB_slide" / "40X" / image, noise(0))
    assert collection_of(str(tmp_path), None, Task("own", ("benign", "malignant", "rare"))) is BREAKHIS


def test_a_collection_that_is_named_is_taken_at_its_word(tmp_path: Path) -> None:
    data = sorted_into(tmp_path, "adenosis", "ductal", table=True)
    assert collection_of(data, "breakhis", TYPES) is BREAKHIS


def test_a_collection_that_is_a_file_has_no_class_folders(tmp_path: Path) -> None:
    file = tmp_path / "breastmnist.npz"
    file.touch()
    assert collection_of(str(file), None, TASKS["benign_malignant"]) is COLLECTIONS["medmnist"]
