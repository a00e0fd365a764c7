"""White of DICOM files: prepared sets and class folders take the same value for it."""

import csv
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom
from dicom_tree import film
from source_files import load

from orchestrator.api.prepared_sets import prepare_set
from trainables.data.image_files import decode_image
from trainables.data.prepared.reading import read_example_pixels
from trainables.data.prepared_set import PreparedSet


def tree(folder: Path, *bits: int) -> Path:
    """Class folders of films of 12 bits in files that state one number of bits after the other."""
    for number in range(8):
        name = ("benign", "malignant")[number % 2]
        image = film(number, is_malignant=number % 2 > 0, side="L", size=(192, 128))
        image[0, 0] = 4095
        dicom(folder / name / f"{number}.dcm", image, bits=bits[number // 2 % len(bits)])
    return folder


def prepared(folder: Path, out: Path) -> PreparedSet:
    rows = [
        (file.relative_to(folder).as_posix(), file.parent.name)
        for file in sorted(folder.rglob("*.dcm"), key=lambda file: file.stem)
    ]
    with (out.parent / "labels.csv").open("w", newline="") as table:
        csv.writer(table).writerows([("file", "label"), *rows])
    done = prepare_set("dicom", folder, out, table=out.parent / "labels.csv", size=(96, 64), workers=1)
    return done.prepared


@pytest.mark.parametrize("bits", [(16,), (12,), (16, 12)])
def test_films_of_12_bits_are_as_bright_whatever_bits_their_files_state(
    tmp_path: Path, bits: tuple[int, ...]
) -> None:
    folder = tree(tmp_path / "films", *bits)
    direct, _ = load(folder)
    found = prepared(folder, tmp_path / "set")
    assert direct.max_value == found.facts["max_value"] == 4095
    assert [int(image.max()) > 1500 for image in found.images] == [True] * 8
    one_by_one = {
        Path(name).stem: image.mean() for name, image in zip(found.table["file"], found.images, strict=True)
    }
    twelve = prepared(tree(tmp_path / "twelve", 12), tmp_path / "other")
    for name, image in zip(twelve.table["file"], twelve.images, strict=True):
        assert one_by_one[Path(name).stem] == pytest.approx(image.mean(), rel=1e-6)


def test_both_readers_state_the_same_white(tmp_path: Path) -> None:
    image = film(0, is_malignant=True, side="L")
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    cases = {
        "stored in 16 bits": (dicom(tmp_path / "a.dcm", image, bits=16), None),
        "stored in 12 bits": (dicom(tmp_path / "b.dcm", image, bits=12), 4095),
        "a window on 16 bits": (dicom(tmp_path / "c.dcm", image, bits=16, **window), 65535),
        "stored in 8 bits": (dicom(tmp_path / "d.dcm", (image // 16).astype(np.uint8), bits=8), None),
    }
    for name, (file, white) in cases.items():
        found = (decode_image(file).stated_max, read_example_pixels(file, 0).stated_max)
        assert found == (white, white), name


def test_white_is_found_on_the_whole_film_and_not_on_its_averages(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    for number in range(4):
        image = film(number, is_malignant=False, side="L", size=(192, 128)) // 4
        image[96, 20] = 4095  # one pixel that averages level out
        dicom(folder / ("benign", "malignant")[number % 2] / f"{number}.dcm", image, bits=16)
    direct, _ = load(folder)
    assert prepared(folder, tmp_path / "set").facts["max_value"] == direct.max_value == 4095
