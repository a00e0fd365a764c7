"""Colour DICOM files whose planes lie one after the other are read as those whose pixels do."""

from pathlib import Path

import numpy as np
from dicom_files import header
from pydicom import dcmwrite
from source_files import load

from orchestrator.api.prepared_sets import prepare_set
from trainables.data.dicom.reading import read_dicom


def planes(file: Path, number: int, *, photometric: str = "RGB") -> np.ndarray:
    """Write red, green and blue as planes; returns the colour image, shape (24, 20, 3)."""
    stored = np.random.default_rng(number).integers(0, 256, (3, 24, 20)).astype(np.uint8)
    colour = np.moveaxis(stored, 0, -1)
    dataset = header(colour)
    dataset.PlanarConfiguration, dataset.PixelData = 1, stored.tobytes()
    dataset.PhotometricInterpretation = photometric
    dataset["PixelData"].VR = "OB"
    file.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(file, dataset, enforce_file_format=True)
    return colour


def test_class_folders_of_planes_are_read_and_prepared(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    made = {
        number: planes(folder / ("benign", "malignant")[number % 2] / f"{number}.dcm", number)
        for number in range(6)
    }
    direct, _ = load(folder)
    found = prepare_set("folder", folder, tmp_path / "set", workers=1).prepared
    assert direct.images.shape == found.images.shape == (6, 24, 20, 3)
    for name, image in zip(found.table["file"], found.images, strict=True):
        np.testing.assert_array_equal(image, made[int(Path(name).stem)])


def test_pixels_are_contiguous_in_every_colour_space(tmp_path: Path) -> None:
    for photometric in ("RGB", "YBR_FULL"):
        file = tmp_path / f"{photometric}.dcm"
        planes(file, 0, photometric=photometric)
        assert read_dicom(file).pixels.flags.c_contiguous
