"""The reader of image files: refusals by name, and what it imports."""

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from source_files import load, noise, two_classes
from tiff_files import write_tiff

from trainables.common.errors import DataError
from trainables.data import image_files
from trainables.data.image_files import ImageFileError, decode_image


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="is a folder; name the image files in it, such as"):
        decode_image(tmp_path)
    with pytest.raises(ImageFileError, match=r"there is no file .*gone\.png"):
        decode_image(tmp_path / "gone.png")


def test_a_link_that_leads_nowhere_is_named_with_its_target(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("annexed")
    with pytest.raises(
        ImageFileError, match=r"a\.png is a link to annexed, which is not there; fetch or mount"
    ):
        decode_image(tmp_path / "a.png")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageFileError, match=r"a\.png is not a regular file"):
        decode_image(tmp_path / "a.png")


def test_an_image_of_too_many_pixels_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = two_classes(tmp_path / "films")
    Image.fromarray(noise(99, side=64)).save(folder / "benign" / "slide.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"slide\.png has more than 179 million pixels; cut it into patches"):
        load(folder)


def test_running_out_of_memory_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    Image.fromarray(noise(0)).save(tmp_path / "a.png")
    monkeypatch.setattr(image_files, "_decoded", fail)
    with pytest.raises(ImageFileError, match=r"a\.png needs more memory than there is; save it smaller"):
        decode_image(tmp_path / "a.png")


def test_an_error_of_any_kind_in_a_decoder_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise IndexError("odd table")

    Image.fromarray(noise(0)).save(tmp_path / "a.png")
    monkeypatch.setattr(image_files, "_decoded", fail)
    with pytest.raises(ImageFileError, match=r"a\.png cannot be read whole \(odd table\); is it truncated\?"):
        decode_image(tmp_path / "a.png")


def test_deep_colour_without_opencv_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint16))
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImageFileError, match="for which OpenCV is needed: install opencv-python-headless"):
        decode_image(tmp_path / "a.png")


def test_deep_colour_in_a_layout_of_its_own_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint16))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    with pytest.raises(ImageFileError, match="colour with 16 bits in a layout that cannot be read; save it"):
        decode_image(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned_upright_as_pillow_turns_them(orientation: int) -> None:
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(image_files._upright(stored, orientation), expected)


def deep_colour() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (6, 9, 3)).astype(np.uint16)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_of_deep_colour_is_turned_once(tmp_path: Path, orientation: int) -> None:
    file = write_tiff(tmp_path / "a.tif", deep_colour(), {274: orientation})
    expected = image_files._upright(deep_colour(), orientation)
    np.testing.assert_array_equal(decode_image(file).pixels, expected)


def test_a_tiff_of_deep_colour_in_planes_is_refused(tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "a.tif", deep_colour(), {284: 2})
    with pytest.raises(ImageFileError, match=r"a\.tif is a TIFF of 16 bits a channel whose channels lie in"):
        decode_image(file)


def test_a_tiff_of_flat_colour_in_planes_is_read(tmp_path: Path) -> None:
    pixels = (deep_colour() >> 8).astype(np.uint8)
    file = write_tiff(tmp_path / "a.tif", pixels, {284: 2})
    np.testing.assert_array_equal(decode_image(file).pixels, pixels)


def test_a_deep_tiff_of_which_the_high_bits_alone_would_be_read_is_refused(tmp_path: Path) -> None:
    inks = np.concatenate([deep_colour(), deep_colour()[..., :1]], axis=-1)
    file = write_tiff(tmp_path / "a.tif", inks, {262: 5})
    with pytest.raises(
        ImageFileError, match=r"a\.tif is a TIFF of 16 bits a channel in a layout that cannot"
    ):
        decode_image(file)


def test_a_tiff_of_signed_bytes_is_refused(tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "a.tif", np.arange(-54, 0, dtype=np.int8).reshape(6, 9), {339: 2})
    with pytest.raises(ImageFileError, match=r"a\.tif is a TIFF of signed values of 8 bits; save it with"):
        decode_image(file)


def test_a_tiff_of_several_slices_is_refused(tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "a.tif", noise(0), {32997: 16})
    with pytest.raises(ImageFileError, match=r"a\.tif holds 16 slices; one image a file is needed"):
        decode_image(file)


def test_a_tiff_of_a_kind_that_is_not_known_says_what_it_may_be(tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "a.tif", deep_colour()[..., 0], {262: 0}, order=">")
    with pytest.raises(
        ImageFileError, match="begins as a TIFF, but is cut off or of a kind that is not known"
    ):
        decode_image(file)


@pytest.mark.parametrize(
    "content",
    [
        b"P5\n4 2\n255\n" + bytes(8),
        b"P5\n4 2\n4095\n" + bytes(16),
        b"P5\n4 2\n65535\n" + bytes(16),
        b"P6\n4 2\n255\n" + bytes(24),
        b"P6\n4 2\n4095\n" + bytes(48),
        b"P4\n9 2\n" + bytes(4),
    ],
)
def test_two_images_in_one_pgm_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "one.pgm").write_bytes(content + b"\n")
    decode_image(tmp_path / "one.pgm")
    (tmp_path / "two.pgm").write_bytes(content * 2)
    with pytest.raises(ImageFileError, match=r"two\.pgm holds several images, one after the other"):
        decode_image(tmp_path / "two.pgm")


def test_the_scale_of_a_pfm_is_not_its_largest_value(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 12, dtype="<f4").reshape(3, 4)
    (tmp_path / "a.pgm").write_bytes(b"Pf\n4 3\n-1.0\n" + values[::-1].tobytes())
    image = decode_image(tmp_path / "a.pgm")
    np.testing.assert_array_equal(image.pixels, values)
    assert image.stated_max is None
