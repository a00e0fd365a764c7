"""Films of DDSM as published: lossless JPEG whose header and order of bytes cannot be trusted."""

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from collections_trees import ddsm
from collections_trees.files import picture

from orchestrator import prepare_set
from trainables.common.errors import DataError
from trainables.data.collections.ddsm_film import read_film

ROWS, COLUMNS = 128, 96
NAME = "B_3024_1.LEFT_CC"


def smooth(largest: int = 4095) -> np.ndarray:
    across = np.linspace(0, 1, COLUMNS) * np.linspace(0.1, 1, ROWS)[:, None]
    noise = np.random.default_rng(3).integers(0, 16, (ROWS, COLUMNS))
    return np.minimum(across * largest + noise, largest).astype(np.uint16)


def written(folder: Path, stored: np.ndarray) -> Path:
    ddsm.build(folder)
    file = folder / "cancers/cancer_01/case3024" / f"{NAME}.LJPEG"
    file.write_bytes(imagecodecs.jpeg8_encode(stored, lossless=True, bitspersample=16))
    return file


def test_a_film_has_the_pixels_that_were_stored_and_the_white_of_its_stated_bits(tmp_path: Path) -> None:
    values, white = read_film(written(tmp_path, smooth()))
    np.testing.assert_array_equal(values, smooth())
    assert white == 4095


def test_a_film_with_height_and_width_exchanged_has_the_size_of_its_case(tmp_path: Path) -> None:
    values, _ = read_film(written(tmp_path, smooth().reshape(COLUMNS, ROWS)))
    np.testing.assert_array_equal(values, smooth())


def test_a_film_with_its_bytes_exchanged_is_put_in_order(tmp_path: Path) -> None:
    values, white = read_film(written(tmp_path, smooth().byteswap()))
    np.testing.assert_array_equal(values, smooth())
    assert white == 4095


def test_values_beyond_the_stated_bits_keep_the_white_of_their_type(tmp_path: Path) -> None:
    values, white = read_film(written(tmp_path, smooth(60000)))
    np.testing.assert_array_equal(values, smooth(60000))
    assert white is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda whole: whole[: len(whole) // 2], "is truncated"),
        (lambda whole: b"", "is no JPEG"),
        (lambda whole: whole[:20], "is no JPEG"),
        (lambda whole: imagecodecs.jpeg8_encode(smooth()[:-1], lossless=True, bitspersample=16), "96x128"),
    ],
)
def test_a_film_that_is_not_whole_is_named(
    tmp_path: Path, content: Callable[[bytes], bytes], said: str
) -> None:
    file = written(tmp_path, smooth())
    file.write_bytes(content(file.read_bytes()))
    with pytest.raises(DataError, match=said) as caught:
        read_film(file)
    assert str(file) in str(caught.value)


def test_a_header_of_more_pixels_than_are_read_takes_no_memory(tmp_path: Path) -> None:
    file = written(tmp_path, smooth())
    content = bytearray(file.read_bytes())
    place = content.index(b"\xff\xc3") + 5
    content[place : place + 4] = b"\xff\xff\xff\xff"
    file.write_bytes(content)
    with pytest.raises(DataError, match="more than"):
        read_film(file)


def test_a_film_without_its_case_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, smooth())
    next(file.parent.glob("*.ics")).unlink()
    with pytest.raises(DataError, match=r"no \.ics file"):
        read_film(file)


def test_a_tree_of_published_films_gives_the_pixels_of_its_png_edition(tmp_path: Path) -> None:
    for tree in ("png", "ljpeg"):
        ddsm.build(tmp_path / tree)
    for file in sorted(tmp_path.rglob("*.LJPEG.png")):
        image = smooth(60000) - np.uint16(len(file.name))
        if "ljpeg" in file.relative_to(tmp_path).parts:
            encoded = imagecodecs.jpeg8_encode(image, lossless=True, bitspersample=16)
            file.with_suffix("").write_bytes(encoded)
            file.unlink()
        else:
            picture(file, image)
    done = {
        tree: prepare_set(
            "ddsm", tmp_path / tree, tmp_path / f"{tree}-set", regions="image", is_prepared=False
        )
        for tree in ("png", "ljpeg")
    }
    assert len(done["ljpeg"].prepared.images) == 7
    np.testing.assert_array_equal(done["ljpeg"].prepared.images, done["png"].prepared.images)
