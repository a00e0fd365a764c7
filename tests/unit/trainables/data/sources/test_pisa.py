"""The pisa layout: its own test part, its pairs, its patients, and tensors that do not fit each other."""

from pathlib import Path

import numpy as np
import pytest
from source_files import GREY, PISA, load, pisa

from trainables.common.errors import DataError


def test_the_pisa_layout_keeps_its_own_test_set_and_pairs(tmp_path: Path) -> None:
    patch_set, notes = load(pisa(tmp_path))
    assert patch_set.images.shape == (10, 8, 8)
    assert patch_set.labels.tolist() == [*PISA.tolist(), 0, 1, 0, 2]
    assert patch_set.is_test is not None
    assert patch_set.is_test.tolist() == [False] * 6 + [True] * 4
    assert patch_set.partners is not None
    assert patch_set.partners.tolist() == [-1, 0, -1, 2, -1, 4, -1, 6, -1, 8]
    assert patch_set.patients is None
    assert any("no patient ids" in note for note in notes)
    assert "the public test part of 4 patches is the sealed test part" in notes


@pytest.mark.parametrize("name", ["test_patient", "public_test_patient"])
def test_patients_of_the_pisa_layout_are_read_where_they_are(tmp_path: Path, name: str) -> None:
    patch_set, _ = load(
        pisa(tmp_path, train_patient=np.array([1, 1, 1, 1, 2, 2]), **{name: np.array([3] * 4)})
    )
    assert patch_set.patients is not None
    assert patch_set.patients.tolist() == list("1111223333")


def test_the_pisa_layout_works_without_a_test_part(tmp_path: Path) -> None:
    patch_set, _ = load(pisa(tmp_path, public_test_tensor=None, public_test_labels=None))
    assert (len(patch_set.images), patch_set.is_test) == (6, None)


def test_rows_that_are_no_pairs_get_no_partners(tmp_path: Path) -> None:
    patch_set, notes = load(pisa(tmp_path, train_labels=np.array([1, 2, 3, 4, 1, 2])))
    assert patch_set.partners is None
    assert "rows are not baseline/abnormality pairs" in notes[0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_labels": None}, r"pisa must hold train_labels\.npy"),
        ({"public_test_labels": None}, r"pisa must hold public_test_labels\.npy"),
        ({"public_test_tensor": None}, r"pisa must hold public_test_tensor\.npy"),
        ({"train_labels": PISA[:4]}, r"train_labels\.npy must hold one label an image"),
        ({"public_test_tensor": GREY[:4, :5]}, r"images must be alike; found \(8, 8\) of uint8 and \(5, 8\)"),
        ({"public_test_tensor": GREY[:4].astype(np.uint16)}, "must be alike"),
        ({"train_patient": np.arange(6)}, r"patients for one part only; add public_test_patient\.npy"),
        ({"test_patient": np.arange(4)}, r"patients for one part only; add train_patient\.npy"),
        ({"train_tensor": GREY > 9}, r"train_tensor\.npy must be uint8, .* found bool"),
    ],
)
def test_a_pisa_layout_that_does_not_fit_is_refused(
    tmp_path: Path, arrays: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(pisa(tmp_path, **arrays))


def test_a_truncated_tensor_is_refused(tmp_path: Path) -> None:
    path = pisa(tmp_path) / "train_tensor.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"train_tensor\.npy cannot be read .*save it again"):
        load(path.parent)


def test_a_test_part_of_the_shorter_name_is_read(tmp_path: Path) -> None:
    folder = pisa(tmp_path)
    for kind in ("tensor", "labels"):
        (folder / f"public_test_{kind}.npy").rename(folder / f"test_{kind}.npy")
    patch_set, notes = load(folder)
    assert patch_set.is_test is not None
    assert patch_set.is_test.sum() == 4
    assert "the public test part of 4 patches is the sealed test part" in notes


@pytest.mark.parametrize("name", ["train_patients", "patient", "Train_Patient_id", "train_groups", "subject"])
def test_arrays_that_may_be_the_patients_are_asked_about(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"holds {name}\.npy, which is not read; did you mean train"):
        load(pisa(tmp_path, **{name: np.arange(6)}))


def test_other_arrays_are_named(tmp_path: Path) -> None:
    _, notes = load(pisa(tmp_path, train_kind=np.arange(6)))
    assert "arrays left out, since the Pisa layout has none of these names: train_kind.npy" in notes


def test_rows_that_alternate_between_patients_are_no_pairs(tmp_path: Path) -> None:
    patients = {"train_patient": np.arange(6), "test_patient": np.arange(6, 10)}
    patch_set, notes = load(pisa(tmp_path, **patients))
    assert patch_set.partners is None
    assert any("but 5 of 5 would be of two patients" in note for note in notes)


def test_two_test_parts_are_asked_about(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"holds public_test_\*\.npy and test_\*\.npy, and one is the test part"
    ):
        load(pisa(tmp_path, test_tensor=GREY[:4], test_labels=PISA[:4]))
