"""Names of the arrays of an .npz file: near misses are used and said, or asked about; parts and test sets."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from source_files import CLASSES, GREY, load, noise, npz

from trainables.common.errors import DataError
from trainables.config.tasks import TASKS, Task
from trainables.data.patches import select_rows
from trainables.data.sources.own_codes import by_own_codes
from trainables.data.split_record import TEST
from trainables.data.splits import make_split

PATIENTS = np.array(["a", "a", "b", "b", "c", "c"])
TASK = TASKS["benign_malignant"]


def in_parts(folder: Path, **arrays: object) -> Path:
    """A file as MedMNIST has them: images in three parts, labels of shape (N, 1)."""
    content: dict[str, object] = {}
    for start, (part, count) in enumerate({"train": 30, "val": 6, "test": 8}.items()):
        content[f"{part}_images"] = np.stack([noise(100 * start + number) for number in range(count)])
        content[f"{part}_labels"] = (np.arange(count) // 2 % 2)[:, None]
    content |= arrays
    np.savez(folder / "parts.npz", **{name: array for name, array in content.items() if array is not None})
    return folder / "parts.npz"


@pytest.mark.parametrize(
    "name",
    ["patient_id", "PatientID", "patients_ids", "Patient", "patient_nr", "subject", "groups", "case_id"],
)
def test_an_array_that_can_only_be_the_patients_is_used_and_said(tmp_path: Path, name: str) -> None:
    patch_set, notes = load(npz(tmp_path, **{name: PATIENTS}))
    assert patch_set.patients is not None
    assert patch_set.patients.tolist() == PATIENTS.tolist()
    assert f"patients: the array {name} is used" in notes


def test_an_array_of_the_right_name_wins(tmp_path: Path) -> None:
    patch_set, _ = load(npz(tmp_path, patient=PATIENTS, groups=np.arange(6), patient_id=np.arange(6)))
    assert patch_set.patients is not None
    assert patch_set.patients.tolist() == PATIENTS.tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"patinet": PATIENTS}, r"patinet is not read; did you mean patient\?"),
        ({"pateints": PATIENTS}, r"pateints is not read; did you mean patient\?"),
        ({"patient_id": PATIENTS, "patient_name": PATIENTS}, "patient_id and patient_name could each be the"),
        ({"subject": PATIENTS, "groups": PATIENTS}, "subject and groups could each be the patients"),
        ({"groups": np.zeros(6, int)}, "groups holds 1 values for 6 images; did you mean patient"),
        ({"groups": np.zeros((6, 2))}, r"groups has shape \(6, 2\); did you mean patient"),
        ({"patient_id": PATIENTS[:4]}, r"patient_id has shape \(4,\); did you mean patient"),
    ],
)
def test_an_array_that_may_be_the_patients_is_asked_about(
    tmp_path: Path, arrays: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(npz(tmp_path, **arrays))


def test_facts_about_patients_are_not_patients(tmp_path: Path) -> None:
    patch_set, notes = load(npz(tmp_path, patient_age=np.arange(6), density=np.zeros(6)))
    assert patch_set.patients is None
    assert "arrays that are not read: patient_age, density" in notes


@pytest.mark.parametrize(
    "name",
    [
        "pat_id",
        "patid",
        "ptid",
        "person_id",
        "participant_id",
        "mrn",
        "case_no",
        "donor",
        "slide_id",
        "empi_anon",
        "patient_group",
        "id",
    ],
)
def test_an_array_that_may_group_images_is_asked_about(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"{name} is not read; did you mean patient\?"):
        load(npz(tmp_path, **{name: PATIENTS}))


def test_an_array_that_groups_nothing_is_only_named(tmp_path: Path) -> None:
    patch_set, notes = load(npz(tmp_path, slide_id=np.arange(6), id=np.arange(6), fold=np.zeros(6)))
    assert patch_set.patients is None
    assert "arrays that are not read: slide_id, id, fold" in notes


def test_exams_without_patients_are_said(tmp_path: Path) -> None:
    _, notes = load(npz(tmp_path, exam_id=PATIENTS))
    assert any(note.startswith("exams are known and patients are not") for note in notes)


def test_images_and_labels_may_be_spelt_otherwise(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", Images=GREY, label=CLASSES)
    patch_set, notes = load(tmp_path / "set.npz")
    assert patch_set.labels.tolist() == CLASSES.tolist()
    assert notes[:2] == ["images: the array Images is used", "labels: the array label is used"]


# ---- the test part


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("is_test", np.array([0, 0, 0, 0, 1, 1])),
        ("is_test", np.array([False] * 4 + [True] * 2)),
        ("test_mask", np.array([0.0] * 4 + [1.0] * 2)),
        ("split", np.array(["train", "Train", "val", "training", "test", "TEST "])),
        ("split", np.array([b"train"] * 4 + [b"test"] * 2)),
    ],
)
def test_a_test_part_that_is_marked_is_the_sealed_part(tmp_path: Path, name: str, array: np.ndarray) -> None:
    patch_set, notes = load(npz(tmp_path, **{name: array}))
    assert patch_set.is_test is not None
    assert patch_set.is_test.tolist() == [False] * 4 + [True] * 2
    assert f"the 2 images that {name} marks as test are the sealed test part" in notes
    assert any("validation belong to the training part" in note for note in notes) == (
        "val" in array.tolist()
    )
    rows = select_rows(patch_set, TASK)
    made = make_split(
        rows, fingerprint=patch_set.fingerprint, task=TASK.name, folds=2, test_share=0.2, seed=0
    )
    assert (made.folds_of(rows) == TEST).tolist() == patch_set.is_test.tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"split": np.arange(6)},
            "split must say train, val, test or extra for every image; found 0, 1, 2, 3, 4",
        ),
        ({"split": np.array(["train"] * 4)}, r"split must hold one value an image: there are 6 .* \(4,\)"),
        ({"is_test": np.arange(6)}, "is_test must hold true and false, or 1 and 0"),
        ({"is_test": np.ones(6)}, "is_test puts all images into the test part"),
        ({"is_test": np.zeros(6), "split": np.zeros(6)}, "is_test and split could each name the test part"),
    ],
)
def test_marks_that_cannot_be_used_are_refused(
    tmp_path: Path, arrays: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(npz(tmp_path, **arrays))


@pytest.mark.parametrize(
    "name",
    [
        "test",
        "is_train",
        "train_mask",
        "testset",
        "test_idx",
        "train_idx",
        "partition",
        "set",
        "subset",
        "phase",
        "data_split",
        "fold",
        "is_extra",
        "is_val",
    ],
)
def test_an_array_that_may_name_parts_is_asked_about(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"{name} is not read; did you mean split\?"):
        load(npz(tmp_path, **{name: np.arange(6)}))
    patch_set, notes = load(npz(tmp_path, is_test=np.arange(6) > 3, **{name: np.arange(6)}))
    assert patch_set.is_test is not None
    assert f"arrays that are not read: {name}" in notes


@pytest.mark.parametrize("name", ["test_images", "validation_labels", "x_test", "public_test_images"])
def test_another_part_beside_images_is_asked_about(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"{name} is not read; did you mean a part of a split\?"):
        load(npz(tmp_path, **{name: GREY}))


def test_marks_without_a_test_image_are_said(tmp_path: Path) -> None:
    patch_set, notes = load(npz(tmp_path, split=np.array(["train", "val"] * 3)))
    assert patch_set.is_test is None
    assert "split marks no image as test; a test part is drawn as usual" in notes


def test_a_file_in_parts_is_joined_and_its_test_part_sealed(tmp_path: Path) -> None:
    patch_set, notes = load(in_parts(tmp_path))
    assert patch_set.images.shape == (44, 8, 8)
    assert patch_set.is_test is not None
    assert np.flatnonzero(patch_set.is_test).tolist() == list(range(36, 44))
    assert patch_set.labels[:4].tolist() == [0, 0, 1, 1]
    assert "the 8 images of test_images are the sealed test part" in notes
    assert any(note.startswith("the 6 images of val_images that are for validation") for note in notes)


def test_patients_of_a_file_in_parts_are_read(tmp_path: Path) -> None:
    ids = {
        "train_patient_id": np.arange(30),
        "val_patient_id": np.arange(30, 36),
        "test_patient_id": np.arange(40, 48),
    }
    patch_set, _ = load(in_parts(tmp_path, **ids))
    assert patch_set.patients is not None
    assert patch_set.patients[36:38].tolist() == ["40", "41"]
    with pytest.raises(DataError, match="holds patients for some parts only; add val_patient, or leave"):
        load(without_val(tmp_path, ids))


@pytest.mark.parametrize(
    "names",
    [["patient"], ["patients_train", "patients_test"], ["train_groups"], ["train_subject_id"], ["train_pid"]],
)
def test_patients_of_parts_under_other_names_are_asked_about(tmp_path: Path, names: list[str]) -> None:
    listed = " and ".join(names)
    with pytest.raises(
        DataError, match=rf"{listed} (is|are) not read; did you mean patient\? .* train_patient"
    ):
        load(in_parts(tmp_path, **dict.fromkeys(names, np.zeros(30))))


@pytest.mark.parametrize("name", ["validation_images", "valid_images", "extra_images", "public_test_labels"])
def test_a_part_of_another_name_is_asked_about(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"{name} is not read; did you mean a part of a split\?"):
        load(in_parts(tmp_path, **{name: GREY}))


def test_other_arrays_of_a_file_in_parts_are_named(tmp_path: Path) -> None:
    _, notes = load(in_parts(tmp_path, train_age=np.zeros(30), train_masks=np.zeros(30)))
    assert "arrays that are not read: train_age, train_masks" in notes


def without_val(folder: Path, ids: dict[str, np.ndarray]) -> Path:
    return in_parts(folder, **{name: array for name, array in ids.items() if not name.startswith("val")})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"test_labels": None}, "holds images in parts, and test_labels missing; save labels for each"),
        (
            {"val_images": np.zeros((6, 9, 9), np.uint8)},
            "the images of train and val and test must be alike; found",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(in_parts(tmp_path, **arrays))


def test_the_reversed_labels_of_breastmnist_are_warned_of(tmp_path: Path) -> None:
    path = in_parts(tmp_path).rename(tmp_path / "breastmnist_224.npz")
    warning = "WARNING: BreastMNIST as it is published has 0 for malignant"
    assert any(note.startswith(warning) for note in load(path)[1])
    assert not any(note.startswith(warning) for note in load(path, label_codes="task")[1])


# ---- files that are not what they say


def test_a_file_that_claims_more_than_any_memory_is_refused(tmp_path: Path) -> None:
    head, labels = io.BytesIO(), io.BytesIO()
    shape = (10_000_000, 1_000, 1_000)
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    np.save(labels, CLASSES)
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as file:
        file.writestr("images.npy", head.getvalue() + b"0" * 100)
        file.writestr("labels.npy", labels.getvalue())
    with pytest.raises(DataError, match=r"huge\.npz: images needs more memory than this machine .*9\.09 TiB"):
        load(tmp_path / "huge.npz")


def test_a_member_that_unpacks_to_more_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 16)
    with pytest.raises(DataError, match=r"set\.npz: images unpacks to .*, more than the .* of memory here"):
        load(npz(tmp_path))


def test_running_out_of_memory_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("trainables.data.sources.npz.parse_images", fail)
    with pytest.raises(DataError, match=r"needs more memory than this machine has \(no room\); give the"):
        load(npz(tmp_path))


LATIN_1 = np.array(["é1".encode("latin-1")] * 3 + ["é2".encode("latin-1")] * 3)


@pytest.mark.parametrize("name", ["patient", "split", "view", "exam"])
def test_bytes_that_are_not_utf8_are_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    message = (
        rf'{name} must hold text in UTF-8 .*; save it as text, such as numpy\.char\.decode\(array, "latin'
    )
    with pytest.raises(DataError, match=message):
        load(npz(tmp_path, **{name: LATIN_1}))


def test_bytes_of_labels_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="labels must hold text in UTF-8"):
        by_own_codes(LATIN_1, Task("density", ("a", "b"), codes={1: "a", 2: "b"}), 6, "labels", [])


@pytest.mark.parametrize(("encoding", "is_read"), [("utf-8", True), ("latin-1", False)])
def test_bytes_of_patients_in_parts_are_text_in_utf8(tmp_path: Path, encoding: str, is_read: bool) -> None:
    ids = np.array([f"é{row}".encode(encoding) for row in range(6)])
    np.savez(tmp_path / "set.npz", train_images=GREY, train_labels=CLASSES, train_patient=ids)
    if is_read:
        assert load(tmp_path / "set.npz")[0].patients.tolist() == [f"é{row}" for row in range(6)]
    else:
        with pytest.raises(DataError, match=r"set\.npz: train_patient must hold text in UTF-8"):
            load(tmp_path / "set.npz")
