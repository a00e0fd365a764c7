"""TIFF files in which 0 is white: turned over within the range of the set, or refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from source_files import load, noise

from orchestrator.api.prepared_sets import prepare_set
from results.errors import ExportError
from results.export.image_reading import read_image
from results.export.model_input import ModelInput
from trainables.common.errors import DataError
from trainables.data.mammogram.preparation import Preparation


def patches(folder: Path) -> dict[str, np.ndarray]:
    """Write patches of 12 bits in 16, every second one without background; returns what they show."""
    shown = {}
    for number in range(8):
        least = 0 if number % 2 else 2100
        image = np.maximum(noise(number, largest=4095, side=16), least).astype(np.uint16)
        shown[str(number)] = image
        file = folder / ("benign", "malignant")[number // 2 % 2] / f"{number}.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(4095 - image).save(file, tiffinfo={262: 0})
    return shown


def test_patches_are_turned_over_by_the_white_of_the_set_as_a_search_does(tmp_path: Path) -> None:
    shown = patches(tmp_path / "films")
    direct, _ = load(tmp_path / "films")
    done = prepare_set("folder", tmp_path / "films", tmp_path / "set", workers=1)
    assert direct.max_value == done.prepared.facts["max_value"] == 4095
    for name, image in zip(done.prepared.table["file"], done.prepared.images, strict=True):
        np.testing.assert_array_equal(image, shown[Path(name).stem])
    assert "8 images of 8 are TIFFs in which 0 is white, and turned over" in done.notes


def test_where_tissue_is_told_from_background_they_are_refused(tmp_path: Path) -> None:
    patches(tmp_path / "films")
    (tmp_path / "labels.csv").write_text("file,label\nbenign/0.tif,benign\nmalignant/2.tif,malignant\n")
    with pytest.raises(DataError, match="is a TIFF of 16 bits in which 0 is white, and does not state"):
        prepare_set(
            "dicom",
            tmp_path / "films",
            tmp_path / "set",
            table=tmp_path / "labels.csv",
            options={"mammograms": "yes"},
            workers=1,
        )
    wanted = ModelInput(
        name="image", dtype="int32", channels=1, max_value=4095, trained_shape=(16, 16), how_to_feed=""
    )
    file = tmp_path / "films" / "benign" / "0.tif"
    with pytest.raises(ExportError, match=r"0\.tif is a TIFF of 16 bits .* save it so that 0 is black"):
        read_image(file, wanted, Preparation())
