"""A search and a prediction read the same pixels from a file of any kind, or both refuse it."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from source_files import load

from results.errors import ExportError
from results.export.image_reading import read_image
from results.export.model_input import ModelInput
from trainables.common.errors import DataError
from trainables.data.patches import PatchSet

DEEP = np.random.default_rng(0).integers(0, 65536, (12, 10)).astype(np.uint16)
DEEP[0, 0] = 65535
TWELVE = (DEEP >> 4).astype(np.uint16)
FLAT = (DEEP >> 8).astype(np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (12, 10, 3)).astype(np.uint8)
DEEP_COLOUR = np.random.default_rng(2).integers(0, 65536, (12, 10, 3)).astype(np.uint16)

Writer = Callable[[Path], None]


def saved(array: np.ndarray, **options: object) -> Writer:
    return lambda path: Image.fromarray(array).save(path, **options)


def converted(array: np.ndarray, mode: str, **options: object) -> Writer:
    return lambda path: Image.fromarray(array).convert(mode).save(path, **options)


def content(text: bytes) -> Writer:
    return lambda path: path.write_bytes(text) and None


def by_opencv(array: np.ndarray) -> Writer:
    return lambda path: cv2.imwrite(str(path), array) and None


def turned(array: np.ndarray, orientation: int) -> Writer:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(array, exif=exif)


def pages(count: int) -> Writer:
    page = Image.fromarray(FLAT)
    return lambda path: page.save(path, save_all=True, append_images=[page] * (count - 1))


def animated(path: Path) -> None:
    Image.fromarray(FLAT).save(path, save_all=True, append_images=[Image.fromarray(255 - FLAT)])


def of_format(array: np.ndarray, name: str) -> Writer:
    return lambda path: Image.fromarray(array).save(path, format=name)


def deep_grey_with_alpha(path: Path) -> None:
    """PNG of 16 bit grey with transparency, which no library here writes."""
    rows = np.stack([DEEP, np.full_like(DEEP, 9)], axis=-1).astype(">u2")

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 10, 12, 16, 4, 0, 0, 0)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )


def pgm(array: np.ndarray, largest: int, kind: bytes = b"P5") -> Writer:
    if kind == b"P2":
        body = " ".join(map(str, array.ravel().tolist())).encode()
    else:
        body = array.astype(">u2" if largest > 255 else "u1").tobytes()
    return content(b"%s\n# made up\n10 12\n%d\n" % (kind, largest) + body)


# Name of the file -> how it is written, and the pixels that it must give.
READ: dict[str, tuple[Writer, np.ndarray]] = {
    "grey.png": (saved(FLAT), FLAT),
    "grey.bmp": (saved(FLAT), FLAT),
    "grey.tif": (saved(FLAT), FLAT),
    "packed.tif": (saved(FLAT, compression="tiff_lzw"), FLAT),
    "grey.pgm": (saved(FLAT), FLAT),
    "one_bit.png": (
        saved(FLAT > 127),
        (FLAT > 127) * np.uint8(255),
    ),
    "deep.png": (saved(DEEP), DEEP),
    "deep.tif": (saved(DEEP), DEEP),
    "deep_packed.tif": (saved(DEEP, compression="tiff_deflate"), DEEP),
    "deep_big_endian.tif": (saved(DEEP.astype(">u2")), DEEP),
    "deep.pgm": (saved(DEEP), DEEP),
    "twelve_bits.png": (saved(TWELVE), TWELVE),
    "twelve_bits.pgm": (pgm(TWELVE, 4095), TWELVE),
    "twelve_bits_plain.pgm": (pgm(TWELVE, 4095, b"P2"), TWELVE),
    "ten_bits_dark.pgm": (pgm(TWELVE >> 4, 1023), TWELVE >> 4),
    "seven_bits.pgm": (pgm(FLAT >> 1, 127), FLAT >> 1),
    "seven_bits_plain.pgm": (pgm(FLAT >> 1, 127, b"P2"), FLAT >> 1),
    "eight_bits_in_sixteen.png": (saved(FLAT.astype(np.uint16)), FLAT.astype(np.uint16)),
    "white_is_zero.tif": (saved(255 - FLAT, tiffinfo={262: 0}), 255 - FLAT),
    "deep_white_is_zero.tif": (saved(65535 - DEEP, tiffinfo={262: 0}), DEEP),
    "deep_white_is_zero_packed.tif": (saved(65535 - DEEP, tiffinfo={262: 0}, compression="tiff_lzw"), DEEP),
    "twelve_bits_white_is_zero.tif": (saved(4095 - TWELVE, tiffinfo={262: 0}), TWELVE),
    "turned.png": (turned(np.rot90(FLAT), 6), FLAT),
    "turned_deep.png": (turned(np.rot90(DEEP), 6), DEEP),
    "upside_down.png": (turned(DEEP[::-1, ::-1], 3), DEEP),
    "turned_deep.tif": (saved(np.rot90(DEEP), tiffinfo={274: 6}), DEEP),
    "colour.png": (saved(COLOUR), COLOUR),
    "colour.tif": (saved(COLOUR), COLOUR),
    "transparent.png": (saved(np.concatenate([COLOUR, COLOUR[..., :1]], axis=2)), COLOUR),
    "transparent.tif": (saved(np.concatenate([COLOUR, COLOUR[..., :1]], axis=2)), COLOUR),
    "grey_with_alpha.png": (saved(np.stack([FLAT, FLAT // 2], axis=-1)), FLAT),
    "grey_as_colour.png": (saved(np.stack([FLAT] * 3, axis=-1)), FLAT),
    "palette.png": (converted(FLAT, "P"), FLAT),
    "deep_colour.png": (by_opencv(DEEP_COLOUR[..., ::-1]), DEEP_COLOUR),
    "deep_colour.tif": (by_opencv(DEEP_COLOUR[..., ::-1]), DEEP_COLOUR),
    "deep_grey_with_alpha.png": (deep_grey_with_alpha, DEEP),
    "png_called.jpg": (of_format(FLAT, "PNG"), FLAT),
}
# These lose pixels by design, so only that both readers agree is asked.
LOSSY: dict[str, Writer] = {
    "grey.jpg": saved(FLAT),
    "colour.jpg": saved(COLOUR),
    "cmyk.jpg": converted(COLOUR, "CMYK"),
    "cmyk.tif": converted(COLOUR, "CMYK"),
    "turned.jpg": turned(FLAT, 6),
    "turned_colour.jpg": turned(COLOUR, 8),
}
REFUSED: dict[str, tuple[Writer, str]] = {
    "webp_called.png": (of_format(FLAT, "WEBP"), "is not an image that can be read; DICOM, PNG, JPEG"),
    "gif_called.png": (of_format(FLAT, "GIF"), "is not an image that can be read; DICOM, PNG, JPEG"),
    "five_pages.tif": (pages(5), "holds 5 pages; one image a file is needed"),
    "animated.png": (animated, "holds 2 pages; one image a file is needed"),
    "empty.png": (content(b""), "is not an image that can be read"),
    "text.png": (content(b"no picture"), "is not an image that can be read"),
    "pointer.png": (content(b"version https://git-lfs.github.com/spec/v1\n"), "is a pointer of Git LFS"),
    "dicom.png": (
        content(b"\0" * 128 + b"DICM" + b"\0" * 20),
        "is truncated|cannot be read whole|holds no image",
    ),
    "negative.tif": (
        saved(np.full((12, 10), -5, np.int32)),
        "holds values from -5 to -5; 16 bit images hold 0",
    ),
    "too_deep.tif": (saved(np.full((12, 10), 70000, np.int32)), "holds values from 70000 to 70000"),
    "above_its_header.pgm": (pgm(TWELVE, 2047), "holds values up to 4095, above the 2047 that it states"),
    "float_white_is_zero.tif": (
        saved((FLAT / 255).astype(np.float32), tiffinfo={262: 0}),
        "is a TIFF in which 0 is white; save it so that 0 is black|cannot be read",
    ),
}


def wanted(patch_set: PatchSet) -> ModelInput:
    """The input of a model that was searched on a set, as export writes it."""
    return ModelInput(
        name="raw",
        dtype="int32",
        channels=3 if patch_set.channels == 3 else 1,
        max_value=patch_set.max_value,
        trained_shape=tuple(patch_set.images.shape[1:]),
        how_to_feed="",
    )


def searched(folder: Path, name: str, write: Writer) -> PatchSet:
    """The set of two class folders that hold the same file."""
    for label in ("benign", "malignant"):
        (folder / "films" / label).mkdir(parents=True)
        write(folder / "films" / label / name)
    return load(folder / "films")[0]


@pytest.mark.parametrize("name", READ)
def test_both_readers_see_the_pixels_that_were_meant(tmp_path: Path, name: str) -> None:
    write, expected = READ[name]
    patch_set = searched(tmp_path, name, write)
    np.testing.assert_array_equal(patch_set.images[0], expected)
    read = read_image(tmp_path / "films" / "benign" / name, wanted(patch_set))
    np.testing.assert_array_equal(read.pixels, expected)


@pytest.mark.parametrize("name", LOSSY)
def test_both_readers_see_the_same_pixels_of_a_lossy_file(tmp_path: Path, name: str) -> None:
    patch_set = searched(tmp_path, name, LOSSY[name])
    read = read_image(tmp_path / "films" / "benign" / name, wanted(patch_set))
    np.testing.assert_array_equal(read.pixels, patch_set.images[0])


@pytest.mark.parametrize("name", REFUSED)
def test_both_readers_refuse_the_same_files_for_the_same_reason(tmp_path: Path, name: str) -> None:
    write, message = REFUSED[name]
    with pytest.raises(DataError, match=message):
        searched(tmp_path, name, write)
    any_model = ModelInput(
        name="raw", dtype="int32", channels=1, max_value=65535.0, trained_shape=(12, 10), how_to_feed=""
    )
    with pytest.raises(ExportError, match=message):
        read_image(tmp_path / "films" / "benign" / name, any_model)


@pytest.mark.parametrize("cut", [0.2, 0.6, 0.95])
@pytest.mark.parametrize(
    "name", ["deep.png", "grey.jpg", "deep.tif", "deep.pgm", "twelve_bits.pgm", "grey.bmp"]
)
def test_both_readers_refuse_a_truncated_file(tmp_path: Path, name: str, cut: float) -> None:
    write = READ[name][0] if name in READ else LOSSY[name]
    write(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    damaged = content(whole[: int(cut * len(whole))])
    with pytest.raises(DataError, match=r"cannot be read as an image \(it .*\); replace it or remove it"):
        searched(tmp_path, name, damaged)
    any_model = ModelInput(
        name="raw", dtype="int32", channels=1, max_value=65535.0, trained_shape=(12, 10), how_to_feed=""
    )
    with pytest.raises(ExportError, match=r"cannot be read whole|is not an image that can be read"):
        read_image(tmp_path / "films" / "benign" / name, any_model)
