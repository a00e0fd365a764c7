"""A file of any size equals the row that preparation, or the reader of class folders, made of it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_files import PROCESSING, dicom
from finished_run import CONFIGS, make_run
from made_up_collection import made_up
from pydantic import ValidationError
from source_files import load, write

from results.errors import ExportError
from results.export.exported_model import Bundle
from results.export.file_reading import read_with_place
from results.export.image_reading import read_image
from results.export.in_memory import model_in_memory
from results.export.likeness import too_unlike, unlike
from results.export.model_input import ModelInput
from results.export.onnx_predictor import predict_files
from results.relevance.frame import Frame
from trainables.data.collections.collection import Box, Choices, Example, Listing
from trainables.data.from_files import FromFiles
from trainables.data.mammogram.preparation import Preparation
from trainables.data.patches import PatchSet, RawPatches, open_patch_set, store_patch_set
from trainables.data.prepared.engine import prepare
from trainables.data.prepared.join import join_sets
from trainables.data.prepared.settings import Settings
from trainables.data.prepared_set import PreparedSet, open_prepared_set

pytestmark = pytest.mark.slow

SIZES = ((40, 30), (64, 96), (17, 24), (40, 30), (31, 90))


def image(number: int, largest: int = 255, channels: tuple[int, ...] = ()) -> np.ndarray:
    """Smooth pixels, so that a low-pass filter more or less shows, with noise on top."""
    rng = np.random.default_rng(number)
    high, wide = SIZES[number % len(SIZES)]
    waves = np.add.outer(np.sin(np.arange(high) / 2), np.cos(np.arange(wide) / 3)) / 4 + 0.5
    waves = waves.reshape(high, wide, *(1 for _ in channels)) + rng.normal(0, 0.1, (high, wide, *channels))
    return np.rint(np.clip(waves, 0, 1) * largest).astype(np.uint8 if largest < 256 else np.uint16)


def pngs(
    folder: Path, largest: Sequence[int], channels: tuple[int, ...] = (), *, first: int = 0
) -> list[Path]:
    files = [folder / f"{first + number}.png" for number in range(len(largest))]
    for number, (file, white) in enumerate(zip(files, largest, strict=True), start=first):
        write(file, image(number, white, channels if number % 2 == 0 else ()))
    return files


def prepared(files: Sequence[Path], out: Path, settings: Settings, **more: object) -> PreparedSet:
    examples = tuple(
        replace(Example(file, file.stem, number % 2, patient=file.stem), **more)
        for number, file in enumerate(files)
    )
    listing = Listing(examples, "task", classes=("benign", "malignant"))
    return prepare(made_up(listing), files[0].parent, out, Choices(), settings).prepared


def wanted_by(raw: PatchSet | RawPatches) -> ModelInput:
    """The input of a model that was searched on a set, as export writes it."""
    return ModelInput(
        name="raw",
        dtype="int32",
        channels=3 if raw.images.ndim == 4 else 1,
        max_value=raw.max_value or 255,
        whites_of_16=raw.whites_of_16,
        trained_shape=raw.images.shape[1:],
        from_files=raw.from_files,
        how_to_feed="",
    )


@pytest.mark.parametrize("size", [(32, 24), (50, 100), None])
@pytest.mark.parametrize("largest", [(255,) * 5, (65535,) * 5, (4095,) * 5, (255, 4095, 255, 65535, 9000)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_file_of_another_size_is_the_row_of_the_prepared_set(
    tmp_path: Path, size: tuple[int, int] | None, largest: tuple[int, ...], channels: tuple[int, ...]
) -> None:
    files = pngs(tmp_path / "raw", largest, channels)
    found = prepared(files, tmp_path / "set", Settings(size=size))
    wanted = wanted_by(store_patch_set(found.as_patches(), tmp_path / "store"))
    assert wanted.resized == ("in range" if size is None else "as read")
    for file, row in zip(files, found.images, strict=True):
        read = read_image(file, wanted)
        np.testing.assert_array_equal(read.pixels, row, err_msg=file.name)


@pytest.mark.parametrize("largest", [255, 4095])
def test_a_file_of_a_class_folder_of_mixed_sizes_is_the_row_of_the_set(tmp_path: Path, largest: int) -> None:
    files = [tmp_path / "set" / ("benign", "malignant")[number % 2] / f"{number}.png" for number in range(10)]
    for number, file in enumerate(files):
        write(file, image(number, largest))
    found, _ = load(tmp_path / "set")
    assert found.images.shape[1:] == (40, 30)
    wanted = wanted_by(found)
    assert wanted.from_files == FromFiles.of(SIZES, resized="in range")
    by_name = dict(zip(found.names, found.images, strict=True))
    for file in files:
        read = read_image(file, wanted)
        np.testing.assert_array_equal(read.pixels, by_name[f"{file.parent.name}/{file.name}"])
    assert open_patch_set(tmp_path / "store" / "data", found.fingerprint).from_files == wanted.from_files


@pytest.mark.parametrize("box", [(2, 1, 22, 9), (0, 0, 5, 17)])
def test_the_file_of_a_region_is_stretched_as_the_regions_were(
    tmp_path: Path, box: tuple[int, int, int, int]
) -> None:
    files = pngs(tmp_path / "raw", (255,) * 3)
    found = prepared(files, tmp_path / "set", Settings(size=(15, 15)), box=Box(*box))
    wanted = wanted_by(found.as_patches())
    left, top, width, height = box
    for number, row in enumerate(found.images):
        region = tmp_path / f"region {number}.png"
        write(region, image(number)[top : top + height, left : left + width])
        np.testing.assert_array_equal(read_image(region, wanted).pixels, row)
        assert too_unlike((height, width), (15, 15), wanted.from_files) == ""
        assert unlike((height, width), (15, 15), wanted.from_files) == ()


def test_raw_films_without_steps_are_resized_as_the_set_was(tmp_path: Path) -> None:
    raw = {"SOPClassUID": PROCESSING, "PresentationIntentType": "FOR PROCESSING"}
    files = [dicom(tmp_path / "raw" / f"{n}.dcm", image(n, 4095), bits=12, **raw) for n in range(3)]
    found = prepared(files, tmp_path / "set", Settings(size=(32, 24), allows_for_processing=True))
    patches = found.as_patches()
    assert patches.preparation is not None
    steps = Preparation.from_dict(patches.preparation)
    for file, row in zip(files, found.images, strict=True):
        np.testing.assert_array_equal(read_image(file, wanted_by(patches), steps).pixels, row)


def test_files_of_a_joined_set_are_resized_as_their_parts_were(tmp_path: Path) -> None:
    trees = [pngs(tmp_path / "a", (255,) * 5), pngs(tmp_path / "b", (255,) * 5, first=5)]
    parts = [
        prepared(files, tmp_path / f"set {number}", Settings(size=(32, 24)))
        for number, files in enumerate(trees)
    ]
    joined = join_sets([part.folder for part in parts], tmp_path / "joined").as_patches()
    assert joined.from_files == parts[0].as_patches().from_files
    for file, row in zip([*trees[0], *trees[1]], joined.images, strict=True):
        np.testing.assert_array_equal(read_image(file, wanted_by(joined)).pixels, row)


def test_steps_that_scale_do_not_resize_again(tmp_path: Path) -> None:
    files = [dicom(tmp_path / f"{n}.dcm", image(n, 4095), bits=12, ImagerPixelSpacing=[1, 1]) for n in (0, 1)]
    found = prepared(files, tmp_path / "set", Settings(size=(32, 24), mm_per_px=2.0))
    known = found.as_patches().from_files
    assert known == FromFiles.of(SIZES[:2], resized=None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, list[Path]]:
    folder = tmp_path_factory.mktemp("sizes")
    files = pngs(folder / "raw", (255,) * 40)
    found = prepared(files, folder / "set", Settings(size=(32, 24)))
    run = make_run(folder / "run", {0: CONFIGS[0]}, raw=found.as_patches())
    return model_in_memory(run, trial=0), files


def rows_of(bundle: Bundle, folder: Path) -> np.ndarray:
    return np.asarray(open_prepared_set(folder).images).astype(bundle.manifest.input.dtype)


def test_a_prediction_of_a_file_is_that_of_the_row_that_was_evaluated(
    bundle: tuple[Bundle, list[Path]],
) -> None:
    model, files = bundle
    rows = rows_of(model, files[0].parents[1] / "set")
    found = predict_files(model, files)
    assert found.notes == ()
    assert found.faults == ()
    wanted = model.predict(list(rows))
    np.testing.assert_array_equal([one.probabilities for one in found.predictions], wanted)
    arrays = [image(number) for number in range(len(files))]
    np.testing.assert_array_equal(model.predict(arrays), wanted)
    assert "bring images of another height or width to 32x24" in model.manifest.input.how_to_feed


def test_marks_on_a_resized_file_are_placed_in_the_file(bundle: tuple[Bundle, list[Path]]) -> None:
    model, files = bundle
    read = read_with_place(model, files[1])
    assert (read.file_px, read.pixels.shape) == ((64, 96), (32, 24))
    assert read.place is not None
    assert read.place.frame(Frame(6, 8, 3, 4)) == Frame(24, 16, 12, 8)


def test_a_bundle_that_does_not_know_how_images_were_resized_says_so(
    bundle: tuple[Bundle, list[Path]],
) -> None:
    model, files = bundle
    earlier = model.manifest.input.model_copy(update={"from_files": None})
    old = Bundle(model.manifest.model_copy(update={"input": earlier}), model.session)
    found = predict_files(old, files[:5])
    assert found.notes[0].startswith("5 of 5 images have another size than the model's training images, and ")
    assert read_with_place(old, files[1]).pixels.shape == (64, 96)
    content = json.loads(model.manifest.model_dump_json())
    del content["input"]["from_files"]
    assert type(model.manifest).model_validate(content).input.from_files is None


def test_files_far_from_all_training_files_are_refused_before_their_pixels_are_read(
    bundle: tuple[Bundle, list[Path]], tmp_path: Path
) -> None:
    model, _ = bundle
    write(tmp_path / "long.png", np.zeros((4, 900), np.uint8))
    with pytest.raises(
        ExportError,
        match=r"is 900x4 pixels, the training images were of 20 to 78 pixels a side and 0\.34 to 1\.3 times",
    ):
        read_with_place(model, tmp_path / "long.png")


def test_a_range_of_sizes_ascends() -> None:
    with pytest.raises(ValidationError, match="side_px must be the smallest and the largest, found 9 and 8"):
        FromFiles(side_px=(9, 8), height_by_width=(1, 1))
