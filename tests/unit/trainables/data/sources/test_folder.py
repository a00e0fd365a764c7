"""Class folders of images: every kind in full depth, many spellings, and a name for each damaged file."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from source_files import CLASSES, COLOUR, GREY, class_folders, load, write

from trainables.common.errors import DataError, OneClassError


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".pgm", ".bmp", ".PNG"])
def test_class_folders_of_lossless_files_read_back_exactly(tmp_path: Path, suffix: str) -> None:
    patch_set, notes = load(class_folders(tmp_path, suffix=suffix))
    np.testing.assert_array_equal(patch_set.images, GREY[[0, 3, 5, 1, 2, 4]])
    assert patch_set.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (patch_set.label_codes, patch_set.channels) == ("task", 1)
    assert notes[0] == "label codes: task (from the folder names)"


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, suffix: str) -> None:
    deep = GREY.astype(np.uint16) * 257 + 3
    patch_set, _ = load(class_folders(tmp_path, suffix=suffix, images=deep))
    np.testing.assert_array_equal(patch_set.images, deep[[0, 3, 5, 1, 2, 4]])


def test_jpeg_files_read_back_nearly(tmp_path: Path) -> None:
    smooth = np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in GREY])
    patch_set, _ = load(class_folders(tmp_path, suffix=".jpg", images=smooth))
    assert np.abs(patch_set.images.astype(int) - smooth[[0, 3, 5, 1, 2, 4]]).max() < 8


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_colour_is_read_in_rgb_order_and_alpha_is_dropped(tmp_path: Path, depth: type) -> None:
    colour = COLOUR.astype(depth)
    opaque = np.concatenate([colour, np.full_like(colour[..., :1], 255)], axis=3)
    for number, image in enumerate(opaque[..., [2, 1, 0, 3]]):
        write(tmp_path / "films" / str(CLASSES[number]) / f"{number}.png", image)
    patch_set, _ = load(tmp_path / "films")
    np.testing.assert_array_equal(patch_set.images, colour[[0, 3, 5, 1, 2, 4]])


def test_grey_images_stored_as_rgb_stay_grey(tmp_path: Path) -> None:
    patch_set, notes = load(class_folders(tmp_path, images=np.repeat(GREY[..., None], 3, axis=3)))
    assert patch_set.channels == 1
    assert "6 of 6 images are stored as RGB with equal channels and are read as grey" in notes


def test_grey_images_among_coloured_ones_are_copied_to_three_channels(tmp_path: Path) -> None:
    folder = class_folders(tmp_path, images=COLOUR)
    write(folder / "benign" / "0.png", GREY[0])
    patch_set, notes = load(folder)
    np.testing.assert_array_equal(patch_set.images[0], np.repeat(GREY[0][..., None], 3, axis=2))
    assert "1 of 6 images are grey and were copied to three channels" in notes


def test_images_of_another_shape_are_resized_and_counted(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    write(folder / "benign" / "0.png", np.full((16, 16), 9, np.uint8))
    patch_set, notes = load(folder)
    assert patch_set.images.shape == (6, 8, 8)
    assert (patch_set.images[0] == 9).all()
    assert "1 of 6 images is not 8x8 and was resized" in notes


@pytest.mark.parametrize(
    ("names", "label_codes", "labels"),
    [
        (("Benign", "MALIGNANT"), "task", [0, 1]),
        (("0", "1"), "task", [0, 1]),
        (("Calcification-Malignant", "mass benign"), "pisa", [4, 1]),
    ],
)
def test_class_folders_have_many_spellings(
    tmp_path: Path, names: tuple[str, str], label_codes: str, labels: list[int]
) -> None:
    for name in names:
        write(tmp_path / "films" / name / "a.png", GREY[0])
    patch_set, _ = load(tmp_path / "films")
    assert (patch_set.label_codes, patch_set.labels.tolist()) == (label_codes, labels)


def test_numbers_are_codes_where_their_meaning_is_said(tmp_path: Path) -> None:
    for code in range(5):
        write(tmp_path / "films" / str(code) / "a.png", GREY[code])
    with pytest.raises(
        DataError, match="class folders must be named benign and malignant, 0 and 1, findings"
    ):
        load(tmp_path / "films")
    patch_set, _ = load(tmp_path / "films", label_codes="003")
    assert (patch_set.label_codes, patch_set.labels.tolist()) == ("003", [0, 1, 2, 3, 4])


def test_label_codes_against_folder_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"say what they hold .* against --label-codes pisa; leave that option out"
    ):
        load(class_folders(tmp_path), label_codes="pisa")


def test_a_misspelt_class_folder_is_answered_with_the_nearest(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "benign").rename(folder / "begnin")
    with pytest.raises(DataError, match=r"found: begnin, malignant; did you mean benign for begnin\?"):
        load(folder)


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "films" / "a.png", GREY[0])
    with pytest.raises(DataError, match=r"films must hold class folders .*; it holds no folder"):
        load(tmp_path / "films")


def test_an_empty_class_folder_is_refused(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    for path in (folder / "benign").iterdir():
        path.rename(path.with_suffix(".gif"))
    with pytest.raises(DataError, match=r"class folder .*benign must hold DICOM, PNG, .* it holds none"):
        load(folder)


def test_a_single_class_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "films" / "benign" / "a.png", GREY[0])
    with pytest.raises(OneClassError, match=r"only one class folder, benign; .* needs benign and malignant"):
        load(tmp_path / "films")


def test_other_files_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    (folder / "benign" / "notes.txt").write_text("")
    assert (
        "files left out, since their names do not end as those of DICOM, PNG, JPEG, TIFF, PGM or BMP images "
        "do: 1, such as benign/notes.txt"
    ) in load(folder)[1]


def test_mixed_depths_are_refused(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    write(folder / "benign" / "deep.png", GREY[0].astype(np.uint16))
    with pytest.raises(
        DataError, match=r"8- and 16-bit images are mixed: .*0\.png has 8 bits, .*deep\.png has 16"
    ):
        load(folder)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".pgm", ".bmp", ".tif"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7])
def test_a_truncated_image_is_named(tmp_path: Path, suffix: str, kept: float) -> None:
    folder = class_folders(tmp_path)
    broken = folder / "benign" / f"broken{suffix}"
    write(broken, np.random.default_rng(0).integers(0, 256, (60, 60)).astype(np.uint8))
    content = broken.read_bytes()
    broken.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(
        DataError, match=rf"broken\{suffix} cannot be read as an image.* replace it or remove it"
    ):
        load(folder)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".pgm", ".bmp"])
def test_a_truncated_image_is_named_even_where_opencv_pads_it(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = class_folders(tmp_path, suffix=suffix) / "benign" / f"0{suffix}"
    path.write_bytes(path.read_bytes()[:-20])
    monkeypatch.setattr(cv2, "imdecode", lambda content, flags: GREY[0])
    with pytest.raises(DataError, match=rf"0\{suffix} cannot be read as an image \("):
        load(path.parent.parent)


@pytest.mark.parametrize("place", [60, -13])
def test_a_png_with_a_flipped_byte_is_named(
    tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = class_folders(tmp_path) / "benign" / "0.png"
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)
    monkeypatch.setattr(cv2, "imdecode", lambda content, flags: GREY[0])
    with pytest.raises(DataError, match=r"0\.png cannot be read as an image"):
        load(path.parent.parent)


def test_float_images_are_refused(tmp_path: Path) -> None:
    folder = class_folders(tmp_path)
    write(folder / "benign" / "float.tif", np.zeros((8, 8), np.float32))
    with pytest.raises(DataError, match=r"float\.tif holds float32 pixels; save it with 8 or 16 bits"):
        load(folder)
