"""Files are read one by one into a mapped array: memory does not grow, and nothing is left behind."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from source_files import load, noise, two_classes

from trainables.common.errors import DataError
from trainables.data.image_array import read_image_files

SIDE = 256


def films(folder: Path, count: int, *, odd: bool = False) -> list[Path]:
    folder.mkdir()
    for number in range(count):
        side = SIDE // 2 if odd and number % 3 == 0 else SIDE
        Image.fromarray(noise(number, largest=4095, side=side)).save(folder / f"{number:03d}.png")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("odd", [False, True])
def test_memory_does_not_grow_with_the_set(tmp_path: Path, odd: bool) -> None:
    peaks = []
    for count in (8, 64):
        files = films(tmp_path / f"{count}", count, odd=odd)
        (tmp_path / f"{count}-array").mkdir()
        tracemalloc.start()
        read = read_image_files(files, tmp_path / f"{count}-array", [])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert isinstance(read.images, np.memmap)
        np.testing.assert_array_equal(read.images[1], noise(1, largest=4095, side=SIDE))
    assert peaks[1] < peaks[0] + 4 * SIDE * SIDE * 2


def test_the_store_holds_one_copy_and_nothing_of_the_reading(tmp_path: Path) -> None:
    patch_set, _ = load(two_classes(tmp_path / "films"))
    data = tmp_path / "store" / "data"
    assert [path.name for path in data.iterdir()] == [patch_set.fingerprint]
    assert sorted(path.name for path in (data / patch_set.fingerprint).iterdir()) == [
        "images.npy",
        "labels.npy",
        "meta.json",
    ]
    again, _ = load(tmp_path / "films")
    np.testing.assert_array_equal(again.images, patch_set.images)
    assert [path.name for path in data.iterdir()] == [patch_set.fingerprint]


def test_a_file_that_cannot_be_read_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "films")
    (folder / "malignant" / "z.png").write_text("no picture")
    with pytest.raises(DataError, match=r"z\.png cannot be read as an image"):
        load(folder)
    assert list((tmp_path / "store" / "data").iterdir()) == []
