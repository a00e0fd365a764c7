"""Folders for training, validation and test, as people bring them."""

from pathlib import Path

import numpy as np
import pytest
from source_files import load, noise, two_classes, write

from trainables.common.errors import DataError
from trainables.config.tasks import TASKS
from trainables.data.patches import select_rows
from trainables.data.split_record import TEST
from trainables.data.splits import make_split

TASK = TASKS["benign_malignant"]


def parts(folder: Path, form: str, names: tuple[str, ...]) -> Path:
    """Twelve images in each part, in two classes; `form` says which folder is within which."""
    for start, part in enumerate(names):
        for number in range(12):
            name = ("benign", "malignant")[number % 2]
            place = form.format(part=part, name=name, patient=f"P{start}{number:02d}")
            write(folder / place / f"{part}{number}.png", noise(100 * start + number))
    return folder


@pytest.mark.parametrize("form", ["{part}/{name}", "{name}/{part}", "{part}/{patient}/{name}"])
@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("Training", "Testing"),
        ("train", "valid", "TEST"),
        ("train_data", "test_data"),
        ("training_set", "testing_set"),
        ("Treino", "Teste"),
    ],
)
def test_a_test_folder_is_the_sealed_part(tmp_path: Path, form: str, names: tuple[str, ...]) -> None:
    patch_set, notes = load(parts(tmp_path / "films", form, names))
    assert len(patch_set.images) == 12 * len(names)
    assert patch_set.is_test is not None
    assert patch_set.is_test.sum() == 12
    assert "the 12 images of the test folder are the sealed test part" in notes
    assert any("for validation belong to the training part" in note for note in notes) == (len(names) == 3)
    assert (patch_set.patients is not None) == ("patient" in form)
    rows = select_rows(patch_set, TASK)
    made = make_split(
        rows, fingerprint=patch_set.fingerprint, task=TASK.name, folds=2, test_share=0.5, seed=0
    )
    assert (made.folds_of(rows) == TEST).tolist() == patch_set.is_test.tolist()


def test_training_and_validation_alone_have_no_test_part(tmp_path: Path) -> None:
    patch_set, notes = load(parts(tmp_path / "films", "{part}/{name}", ("train", "val")))
    assert patch_set.is_test is None
    assert any("12 images of the folder for validation belong to the training part" in note for note in notes)


def test_a_table_names_patients_across_parts(tmp_path: Path) -> None:
    folder = parts(tmp_path / "films", "{part}/{name}", ("train", "test"))
    rows = [f"{path.relative_to(folder).as_posix()},{path.stem}" for path in folder.glob("*/*/*.png")]
    (folder / "patients.csv").write_text("\n".join(["file,patient", *rows]))
    assert len(set(np.asarray(load(folder)[0].patients).tolist())) == 24


def test_parts_beside_other_folders_are_refused(tmp_path: Path) -> None:
    folder = parts(tmp_path / "films", "{part}/{name}", ("train", "test"))
    write(folder / "benign" / "a.png", noise(999))
    with pytest.raises(DataError, match="folders test, train look like parts of a split, but benign lies"):
        load(folder)


def test_two_test_folders_are_refused(tmp_path: Path) -> None:
    folder = parts(tmp_path / "films", "{part}/{name}", ("train", "test", "testing"))
    with pytest.raises(DataError, match=r"several folders of .*films look like the test part; keep one"):
        load(folder)


def test_a_column_of_the_table_names_the_test_part(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    rows = [f"{number}.png,p{number},{'test' if number > 7 else 'train'}" for number in range(12)]
    (folder / "patients.csv").write_text("\n".join(["file,patient,split", *rows]))
    patch_set, notes = load(folder)
    assert patch_set.is_test is not None
    assert sorted(np.asarray(patch_set.patients)[patch_set.is_test].tolist()) == ["p10", "p11", "p8", "p9"]
    said = "the 4 images that the column split of patients.csv marks as test are the sealed test part"
    assert said in notes


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "fold1",
            "split of patients.csv must say train, val, test or extra for every image; found fold1",
        ),
        ("", "line 2: file and split must both be filled in"),
    ],
)
def test_a_column_that_names_other_parts_is_refused(tmp_path: Path, word: str, message: str) -> None:
    folder = two_classes(tmp_path / "films")
    rows = [f"{number}.png,p{number},{word}" for number in range(12)]
    (folder / "patients.csv").write_text("\n".join(["file,patient,split", *rows]))
    with pytest.raises(DataError, match=message):
        load(folder)


def test_a_table_against_the_folders_is_refused(tmp_path: Path) -> None:
    folder = parts(tmp_path / "films", "{part}/{name}", ("train", "test"))
    images = sorted(folder.glob("*/*/*.png"))
    rows = [f"{path.relative_to(folder).as_posix()},{path.stem},test" for path in images[:-1]]
    (folder / "patients.csv").write_text(
        "\n".join(["file,patient,split", *rows, f"{images[-1].name},z,train"])
    )
    with pytest.raises(
        DataError, match=r"says test for train\d+\.png, which lies below train; correct its column"
    ):
        load(folder)


def test_a_part_without_class_folders_is_refused(tmp_path: Path) -> None:
    folder = parts(tmp_path / "films", "{part}/{name}", ("train",))
    (folder / "test").mkdir()
    with pytest.raises(
        DataError, match=r"test is a part of a split and must hold class .* holds nothing instead"
    ):
        load(folder)
    write(folder / "test" / "a.png", noise(999))
    with pytest.raises(DataError, match=r"it holds 1 image instead: .* move it away, or give .*train$"):
        load(folder)
