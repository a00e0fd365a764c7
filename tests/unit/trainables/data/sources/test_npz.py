"""Arrays of an .npz file: what is read, which label codes they hold, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from source_files import CLASSES, COLOUR, GREY, PISA, load, npz

from trainables.common.errors import DataError, OneClassError


def test_zeros_and_ones_are_the_tasks_classes(tmp_path: Path) -> None:
    patch_set, notes = load(npz(tmp_path, patient=np.array([7, 7, 8, 8, 9, 9])))
    assert patch_set.label_codes == "task"
    assert patch_set.partners is None
    assert patch_set.patients is not None
    assert patch_set.patients.tolist() == ["7", "7", "8", "8", "9", "9"]
    assert notes == ["label codes: task (0 benign, 1 malignant)"]


def test_pairs_with_further_codes_are_pisas(tmp_path: Path) -> None:
    patch_set, notes = load(npz(tmp_path, labels=PISA))
    assert patch_set.label_codes == "pisa"
    assert patch_set.partners is not None
    assert patch_set.partners.tolist() == [-1, 0, -1, 2, -1, 4]
    assert notes == [
        "label codes: pisa (even rows are all 0, odd rows are not: baseline/abnormality pairs)",
        "no patient ids: folds cannot be grouped by patient, so scores may be optimistic",
    ]


def test_alternating_zeros_and_ones_are_classes_unless_normality_is_asked(tmp_path: Path) -> None:
    path = npz(tmp_path, labels=np.array([0, 1] * 3))
    patch_set, notes = load(path)
    assert (patch_set.label_codes, patch_set.partners) == ("task", None)
    assert "say --label-codes pisa if even rows are baselines" in notes[0]
    normality, _ = load(path, task="normal_abnormal")
    assert normality.label_codes == "pisa"
    assert normality.partners is not None


def test_codes_without_pairs_must_be_said(tmp_path: Path) -> None:
    path = npz(tmp_path, labels=np.array([1, 2, 3, 4, 1, 2]))
    with pytest.raises(DataError, match=r"the labels hold 1, 2, 3, 4, which could be .* --label-codes"):
        load(path)
    patch_set, notes = load(path, label_codes="003")
    assert (patch_set.label_codes, patch_set.partners) == ("003", None)
    assert notes[0] == "label codes: 003 (as given)"


def test_pairs_get_partners_when_the_codes_are_said_too(tmp_path: Path) -> None:
    assert load(npz(tmp_path, labels=PISA), label_codes="003")[0].partners is not None


def test_labels_outside_the_code_book_are_refused_before_anything_is_stored(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"label codes 'task' of task benign_malignant are 0 to 1"):
        load(npz(tmp_path, labels=PISA), label_codes="task")
    assert not (tmp_path / "store").exists()


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(OneClassError, match="the data hold only: benign"):
        load(npz(tmp_path, labels=np.zeros(6, int)))


def test_whole_numbers_of_other_types_are_converted_and_said(tmp_path: Path) -> None:
    small, notes = load(npz(tmp_path, images=GREY.astype(np.int64)))
    assert small.images.dtype == np.uint8
    np.testing.assert_array_equal(small.images, GREY)
    assert "int64 pixels from 0 to 255 are read as uint8" in notes[0]
    assert load(npz(tmp_path, images=GREY.astype(np.int32) * 257))[0].images.dtype == np.uint16


def test_big_endian_and_double_precision_images_keep_their_values(tmp_path: Path) -> None:
    big, _ = load(npz(tmp_path, images=GREY.astype(">u2")))
    np.testing.assert_array_equal(big.images, GREY)
    double, notes = load(npz(tmp_path, images=GREY / 255.0))
    assert double.images.dtype == np.float32
    assert "float64 pixels are read as float32" in notes[0]


def test_a_single_channel_is_dropped_and_equal_channels_are_grey(tmp_path: Path) -> None:
    assert load(npz(tmp_path, images=GREY[..., None]))[0].images.shape == (6, 8, 8)
    patch_set, notes = load(npz(tmp_path, images=np.repeat(GREY[..., None], 3, axis=3)))
    np.testing.assert_array_equal(patch_set.images, GREY)
    assert "the three channels are equal everywhere" in notes[0]
    assert load(npz(tmp_path, images=COLOUR))[0].channels == 3


def test_true_and_false_and_whole_floats_are_labels(tmp_path: Path) -> None:
    for labels in (CLASSES.astype(bool), CLASSES.astype(float)):
        assert load(npz(tmp_path, labels=labels))[0].labels.tolist() == CLASSES.tolist()


def test_patients_as_bytes_or_whole_floats_are_text(tmp_path: Path) -> None:
    for patients in (np.array([b"1", b"1", b"2", b"2", b"3", b"3"]), np.array([1.0, 1, 2, 2, 3, 3])):
        assert load(npz(tmp_path, patients=patients))[0].patients.tolist() == list("112233")


NAN, WIDE = (GREY / 255.0).astype(np.float32), GREY.astype(np.float32)
NAN[2, 3, 4] = np.nan


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": CLASSES[:4]}, r"one label an image: there are 6 images, and labels of shape \(4,\)"),
        ({"labels": np.eye(2)[CLASSES]}, r"labels of shape \(6, 2\)"),
        ({"labels": CLASSES + 0.5}, r"labels must be whole numbers; row 0 holds 0\.5"),
        ({"labels": np.where(CLASSES, np.nan, 0)}, "labels must be whole numbers; row 1 holds nan"),
        ({"labels": np.array(["b", "m"] * 3)}, "labels must be whole numbers, such as 0 for benign"),
        ({"labels": CLASSES.astype(object)}, "labels cannot be read .* save plain numbers or text"),
        ({"images": NAN}, "images: image 2 holds nan pixels"),
        ({"images": np.where(np.isnan(NAN), np.inf, NAN)}, "image 2 holds inf pixels"),
        ({"images": WIDE}, r"images are float32 from 0 to 255; float pixels must be in \[0, 1\]"),
        ({"images": NAN[:, 4:] - 1}, "float pixels must be in"),
        (
            {"images": GREY.astype(np.int64) - 1},
            r"images must be uint8, uint16 .* found int64 from -1 to 254",
        ),
        ({"images": GREY.astype(np.int64) * 300}, "found int64 from 0 to 76500"),
        ({"images": GREY > 99}, "images must be uint8, uint16 .* found bool"),
        ({"images": GREY.astype(complex)}, "found complex128"),
        ({"images": GREY.astype(object)}, "images cannot be read .* not Python objects"),
        ({"images": GREY[0]}, r"shape \(N, H, W\) or \(N, H, W, 3\), channels last; found \(8, 8\)"),
        ({"images": COLOUR.transpose(0, 3, 1, 2)}, r"channels last; found \(6, 3, 8, 8\)"),
        (
            {"images": GREY[:0], "labels": CLASSES[:0]},
            r"at least one image with pixels; found shape \(0, 8, 8\)",
        ),
        ({"patient": np.array(["a", "b"])}, r"one patient an image: there are 6 images, .* \(2,\)"),
        ({"patient": np.array(["a", "", "b", "b", "c", "c"])}, "patient: row 1 has no patient"),
        ({"patient": np.array([1, np.nan, 2, 2, 3, 3])}, "patient: row 1 has no patient"),
        ({"patient": np.array(["a"] * 6, object)}, r"patient cannot be read .*array\.astype\(str\)"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(
    tmp_path: Path, arrays: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(npz(tmp_path, **arrays))


def test_a_file_without_labels_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=GREY, target=CLASSES)
    with pytest.raises(
        DataError, match="must hold the arrays images and labels; labels missing, found: images, target"
    ):
        load(tmp_path / "set.npz")


@pytest.mark.parametrize("content", ["nothing", "text", "truncated", "one array"])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, content: str) -> None:
    path = npz(tmp_path)
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif content == "one array":
        with path.open("wb") as file:
            np.save(file, GREY)
    else:
        path.write_text("" if content == "nothing" else "hello")
    with pytest.raises(DataError, match=r"set\.npz cannot be read as an \.npz file"):
        load(path)


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=GREY, labels=CLASSES)
    content = bytearray(path.read_bytes())
    content[150:170] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"set\.npz"):
        load(path)


def test_rows_that_alternate_between_patients_are_no_pairs(tmp_path: Path) -> None:
    patch_set, notes = load(npz(tmp_path, labels=PISA, patient=np.array(list("aabbcd"))))
    assert patch_set.partners is None
    assert any(
        "but 1 of 3 would be of two patients, so no image has a baseline partner" in note for note in notes
    )


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "set.npz")
    with pytest.raises(
        DataError, match=r"set\.npz is not a regular file; give an \.npz file that numpy\.savez"
    ):
        load(tmp_path / "set.npz")
