"""A film made ready from its file equals the row of the prepared set, at a scale in mm and with any size."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_tree import film, write_dicom
from made_up_collection import made_up
from source_files import write

from orchestrator.api.prepared_sets import prepare_set
from results.export.image_reading import read_image
from results.export.model_input import ModelInput
from trainables.data.collections.collection import Choices, Example, Listing
from trainables.data.mammogram.preparation import Preparation
from trainables.data.prepared.engine import prepare
from trainables.data.prepared.settings import Settings
from trainables.data.prepared_set import PreparedSet

pytestmark = pytest.mark.slow

SIZES = ((96, 64), (192, 128), (120, 100), (96, 64), (150, 81))


def tree(folder: Path) -> Path:
    rows = []
    for number, size in enumerate(SIZES):
        pixels = film(number, is_malignant=number % 2 > 0, side="LR"[number % 2], size=size)
        side = "LR"[number % 2]
        write_dicom(
            folder / f"{number}.dcm", pixels, patient=str(number), side=side, view="CC", study=f"1.2.{number}"
        )
        rows.append((f"{number}.dcm", ("benign", "malignant")[number % 2]))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows([("file", "label"), *rows])
    return folder


def model_input(prepared: PreparedSet) -> ModelInput:
    return ModelInput(
        name="image",
        dtype="int32",
        channels=1,
        max_value=float(prepared.facts["max_value"]),
        trained_shape=prepared.images.shape[1:3],
        how_to_feed="",
    )


def steps_of(prepared: PreparedSet) -> Preparation:
    steps = prepared.as_patches().preparation
    assert steps is not None
    return Preparation.from_dict(steps)


@pytest.mark.parametrize("size", [None, (80, 64), (40, 32)])
@pytest.mark.parametrize("wall", ["left", "right", None])
def test_a_film_from_its_file_is_the_row_of_the_set(
    tmp_path: Path, size: tuple[int, int] | None, wall: str | None
) -> None:
    folder = tree(tmp_path / "films")
    steps = {"chest_wall": wall}
    prepared = prepare_set(
        "dicom", folder, tmp_path / "set", mm_per_px=1.4, size=size, steps=steps, workers=1
    ).prepared
    assert prepared.facts["settings"]["size"] == (None if size is None else list(size))
    assert len(set(zip(prepared.table["box_width"], prepared.table["box_height"], strict=True))) > 2
    wanted = model_input(prepared)
    for row, name in enumerate(prepared.table["file"]):
        read = read_image(folder / name, wanted, steps_of(prepared))
        np.testing.assert_array_equal(read.pixels, prepared.images[row], err_msg=name)
        assert ("cut" in read.changes) <= (size is not None)


def test_a_film_larger_than_any_of_the_set_is_cut_away_from_the_chest_wall_and_said(tmp_path: Path) -> None:
    folder = tree(tmp_path / "films")
    prepared = prepare_set("dicom", folder, tmp_path / "set", mm_per_px=1.4, workers=1).prepared
    steps, wanted = steps_of(prepared), model_input(prepared)
    assert steps.size == prepared.images.shape[1:3]
    large = tmp_path / "large.dcm"
    pixels = film(9, is_malignant=False, side="L", size=(400, 300))
    write_dicom(large, pixels, patient="9", side="L", view="CC", study="1.2.9")
    read = read_image(large, wanted, steps)
    assert read.pixels.shape == prepared.images.shape[1:3]
    assert read.changes == ("cut",)
    height = read.pixels.shape[0]
    assert read.pixels[height // 2 - 10 : height // 2 + 10, :10].min() > 1000  # tissue at the chest wall


def test_boxes_and_masks_lie_where_the_film_was_laid(tmp_path: Path) -> None:
    made = []
    for number, size in enumerate(SIZES):
        file = write_dicom_film(tmp_path / "raw" / f"{number}.dcm", number, size)
        mask = np.zeros(size, np.uint8)
        mask[size[0] // 2 - 8 : size[0] // 2 + 8, size[1] // 5 : size[1] // 5 + 14] = 255
        write(tmp_path / "raw" / f"{number}_mask.png", mask)
        one = Example(file, str(number), number % 2, patient=str(number))
        made.append(replace(one, mask=tmp_path / "raw" / f"{number}_mask.png", cut="whole"))
    listing = Listing(tuple(made), "task", classes=("benign", "malignant"))
    collection = made_up(listing, is_mammogram=True)
    settings = Settings(mm_per_px=1.4, steps=Preparation())
    prepared = prepare(collection, tmp_path / "raw", tmp_path / "set", Choices(), settings).prepared
    assert prepared.masks is not None
    for row, (image, mask) in enumerate(zip(prepared.images, prepared.masks, strict=True)):
        inside = mask > 0
        assert image[inside].mean() > 1.5 * image[~inside & (image > 0)].mean()
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        assert abs(prepared.table["finding_top"][row] - rows[0]) <= 1
        assert abs(prepared.table["finding_left"][row] - columns[0]) <= 1


def write_dicom_film(file: Path, number: int, size: tuple[int, int]) -> Path:
    pixels = film(number, is_malignant=True, side="L", size=size)
    write_dicom(file, pixels, patient=str(number), side="L", view="CC", study=f"1.2.{number}")
    return file
