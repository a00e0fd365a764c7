"""The short way of plain PNG files: the pixels of the one reader of image files, or none at all."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from trainables.data.image_files import decode_image
from trainables.data.prepared.plain_png import decode_plain_png

SIDES = (9, 14)


def drawn(kind: str) -> Image.Image:
    random = np.random.default_rng(0)
    values = random.integers(0, 256, (*SIDES, 3)).astype(np.uint8)
    if kind == "I;16":
        return Image.fromarray(random.integers(0, 65536, SIDES).astype(np.uint16))
    return Image.fromarray(values).convert(kind)


@pytest.mark.parametrize("kind", ["L", "RGB", "I;16"])
def test_plain_files_have_the_pixels_of_the_other_reader(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    drawn(kind).save(file, dpi=(72, 72))
    plain = decode_plain_png(file)
    assert plain is not None
    expected = decode_image(file).pixels
    assert plain.dtype == expected.dtype
    np.testing.assert_array_equal(plain, expected)


@pytest.mark.parametrize("kind", ["P", "RGBA", "LA", "1"])
def test_palettes_transparency_and_single_bits_are_left_to_the_other_reader(
    kind: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.png"
    drawn(kind).save(file)
    assert decode_plain_png(file) is None


def test_files_that_say_how_they_are_to_be_turned_are_left_to_the_other_reader(tmp_path: Path) -> None:
    file, text, exif = tmp_path / "a.png", PngImagePlugin.PngInfo(), Image.Exif()
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    drawn("L").save(file, pnginfo=text)
    assert decode_plain_png(file) is None
    exif[0x0112] = 6
    drawn("L").save(file, exif=exif)
    assert decode_plain_png(file) is None
    assert decode_image(file).pixels.shape == SIDES[::-1]


def test_damage_is_left_to_the_other_reader(tmp_path: Path) -> None:
    whole = io.BytesIO()
    drawn("RGB").save(whole, "PNG")
    content = whole.getvalue()
    file = tmp_path / "a.png"
    short = zlib.compress(b"\0" * 5)
    chunk = len(short).to_bytes(4, "big") + b"IDAT" + short + zlib.crc32(b"IDAT" + short).to_bytes(4, "big")
    for damaged in (
        content[:-20],
        content[:60] + bytes([content[60] ^ 1]) + content[61:],
        content[:33] + content[-12:],  # no pixels
        content[:33] + chunk + content[-12:],  # too few of them
        b"",
    ):
        file.write_bytes(damaged)
        assert decode_plain_png(file) is None
    assert decode_plain_png(tmp_path / "absent.png") is None
