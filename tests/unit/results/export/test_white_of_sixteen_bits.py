"""Files of 16 bits that do not state their white are as bright at prediction as in the prepared set."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom
from finished_run import CONFIGS, make_run
from PIL import Image
from pydantic import ValidationError
from source_files import write

from results.errors import ExportError
from results.export.image_reading import read_image
from results.export.in_memory import model_in_memory
from results.export.model_input import ModelInput
from trainables.data.collections.collection import Choices, Collection, Example, Listing
from trainables.data.patches import PatchSet, open_patch_set, store_patch_set
from trainables.data.prepared.engine import prepare
from trainables.data.prepared.join import join_sets
from trainables.data.prepared.settings import Settings
from trainables.data.prepared_set import PreparedSet

pytestmark = pytest.mark.slow

SIZE = (12, 10)


def pixels(largest: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).integers(0, largest, SIZE).astype(np.uint16)
    found[0, 0] = largest
    return found


def pgm(file: Path, image: np.ndarray, largest: int) -> Path:
    """A PGM, which states its largest value."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"P5\n%d %d\n%d\n" % (*SIZE[::-1], largest) + image.astype(">u2").tobytes())
    return file


def png(file: Path, image: np.ndarray) -> Path:
    """A PNG of 16 bits, which states nothing."""
    write(file, image)
    return file


def prepared(folder: Path, name: str, files: Sequence[Path]) -> PreparedSet:
    examples = tuple(
        Example(file, file.stem, number % 2, patient=file.stem) for number, file in enumerate(files)
    )
    listing = Listing(examples, "task", classes=("benign", "malignant"))
    collection = Collection(
        name=name,
        title=name,
        accepts="",
        list=lambda path, choices: listing,
        reads=lambda path: False,
        is_mammogram=False,
        licence="",
    )
    return prepare(collection, files[0].parent, folder / name, Choices(), Settings(size=SIZE)).prepared


def model_input(found: PatchSet) -> ModelInput:
    """The input of a model that was searched on a set, as export writes it."""
    return ModelInput(
        name="raw",
        dtype="int32",
        channels=1,
        max_value=found.max_value,
        whites_of_16=found.whites_of_16,
        trained_shape=tuple(found.images.shape[1:]),
        how_to_feed="",
    )


def wanted_by(found: PreparedSet, store: Path) -> ModelInput:
    return model_input(store_patch_set(found.as_patches(), store))


def test_an_image_file_is_scaled_as_the_set_was_and_it_is_said(tmp_path: Path) -> None:
    stated = pgm(tmp_path / "raw" / "a.pgm", pixels(15995), 16383)
    unstated = png(tmp_path / "raw" / "b.png", pixels(4000))
    found = prepared(tmp_path, "set", [stated, unstated])
    wanted = wanted_by(found, tmp_path / "store")
    assert (wanted.max_value, wanted.whites_of_16) == (16383, (4095,))
    for file, image in zip((stated, unstated), found.images, strict=True):
        read = read_image(file, wanted)
        np.testing.assert_array_equal(read.pixels, image)
        assert read.changes == (("white",) if file == unstated else ())
    assert found.images[1].max() == 16003  # of 4000 in 12 bits


def test_a_dicom_file_of_sixteen_stored_bits_is_scaled_as_the_set_was(tmp_path: Path) -> None:
    stated = dicom(tmp_path / "raw" / "a.dcm", pixels(15995), bits=14)
    unstated = dicom(tmp_path / "raw" / "b.dcm", pixels(3900), bits=16)
    found = prepared(tmp_path, "set", [stated, unstated])
    wanted = wanted_by(found, tmp_path / "store")
    for file, image in zip((stated, unstated), found.images, strict=True):
        np.testing.assert_array_equal(read_image(file, wanted).pixels, image)


def test_a_tiff_in_which_0_is_white_is_turned_over_within_its_own_range(tmp_path: Path) -> None:
    stated = pgm(tmp_path / "raw" / "a.pgm", pixels(15995), 16383)
    turned = tmp_path / "raw" / "b.tif"
    Image.fromarray(pixels(4000)).save(turned, tiffinfo={262: 0})
    found = prepared(tmp_path, "set", [stated, turned])
    read = read_image(turned, wanted_by(found, tmp_path / "store"))
    np.testing.assert_array_equal(read.pixels, found.images[1])


def test_files_of_a_joined_set_are_scaled_as_their_part_was(tmp_path: Path) -> None:
    dark = [png(tmp_path / "dark" / f"{name}.png", pixels(4000)) for name in "ab"]
    stated = [pgm(tmp_path / "stated" / f"{name}.pgm", pixels(15995), 16383) for name in "cd"]
    parts = [prepared(tmp_path, "one", dark), prepared(tmp_path, "other", stated)]
    joined = join_sets([part.folder for part in parts], tmp_path / "joined")
    wanted = wanted_by(joined, tmp_path / "store")
    assert (wanted.max_value, wanted.whites_of_16) == (16383, (4095,))
    for file, image in zip((*dark, *stated), joined.images, strict=True):
        np.testing.assert_array_equal(read_image(file, wanted).pixels, image)
    again = join_sets([joined.folder, prepared(tmp_path, "more", stated[:1]).folder], tmp_path / "again")
    assert again.as_patches().whites_of_16 == (4095,)


def test_parts_of_several_whites_are_told_apart_where_a_file_says_it_and_refused_elsewhere(
    tmp_path: Path,
) -> None:
    dark = [png(tmp_path / "dark" / f"{name}.png", pixels(4000)) for name in "ab"]
    full = [png(tmp_path / "full" / f"{name}.png", pixels(65535)) for name in "cd"]
    parts = [prepared(tmp_path, "one", dark), prepared(tmp_path, "other", full)]
    joined = join_sets([part.folder for part in parts], tmp_path / "joined")
    assert any("differs (one 4095; other 65535)" in note for note in joined.facts["notes"])
    wanted = wanted_by(joined, tmp_path / "store")
    np.testing.assert_array_equal(read_image(full[0], wanted).pixels, joined.images[2])
    with pytest.raises(ExportError, match=r"a\.png has 16 bits, values up to 4000, .* it is 4095 or 65535, "):
        read_image(dark[0], wanted)
    stated = pgm(tmp_path / "a.pgm", pixels(4000), 4095)
    np.testing.assert_array_equal(read_image(stated, wanted).pixels, joined.images[0])


def test_a_file_beyond_the_range_of_such_images_is_refused(tmp_path: Path) -> None:
    stated = pgm(tmp_path / "raw" / "a.pgm", pixels(15995), 16383)
    found = prepared(tmp_path, "set", [stated, png(tmp_path / "raw" / "b.png", pixels(4000))])
    wanted = wanted_by(found, tmp_path / "store")
    with pytest.raises(
        ExportError, match=r"values up to 5000, .* from 0 to 4095: save it with 8 bits, or in"
    ):
        read_image(png(tmp_path / "c.png", pixels(5000)), wanted)


def test_sets_of_earlier_versions_go_on_as_they_did(tmp_path: Path) -> None:
    stated = pgm(tmp_path / "raw" / "a.pgm", pixels(15995), 16383)
    unstated = png(tmp_path / "raw" / "b.png", pixels(4000))
    raw = prepared(tmp_path, "set", [stated, unstated]).as_patches()
    earlier = store_patch_set(replace(raw, whites_of_16=()), tmp_path / "store")
    assert earlier.whites_of_16 == ()
    assert read_image(unstated, model_input(earlier)).pixels.max() == 4000
    # A stored copy that does not know it learns it, and one that does keeps it.
    assert store_patch_set(raw, tmp_path / "store").whites_of_16 == (4095,)
    assert open_patch_set(tmp_path / "store", earlier.fingerprint).whites_of_16 == (4095,)


def test_a_set_that_an_earlier_version_joined_says_nothing_of_it(tmp_path: Path) -> None:
    dark = [png(tmp_path / "dark" / f"{name}.png", pixels(4000)) for name in "ab"]
    stated = [pgm(tmp_path / "stated" / f"{name}.pgm", pixels(15995), 16383) for name in "cd"]
    parts = [prepared(tmp_path, "one", dark), prepared(tmp_path, "other", stated)]
    joined = join_sets([part.folder for part in parts], tmp_path / "joined")
    facts = dict(joined.facts)
    del facts["whites_of_16"]
    (joined.folder / "set.json").write_text(json.dumps(facts))
    again = join_sets([joined.folder, prepared(tmp_path, "more", stated[:1]).folder], tmp_path / "again")
    assert again.facts["whites_of_16"] is None
    assert again.as_patches().whites_of_16 == ()


def test_a_model_of_such_a_set_says_it_in_its_input(tmp_path: Path) -> None:
    files = [
        pgm(tmp_path / "raw" / f"{number}.pgm", pixels(15995, number), 16383)
        if number % 3
        else png(tmp_path / "raw" / f"{number}.png", pixels(4000, number))
        for number in range(40)
    ]
    found = prepared(tmp_path, "set", files)
    bundle = model_in_memory(make_run(tmp_path / "run", {0: CONFIGS[0]}, raw=found.as_patches()), trial=0)
    wanted = bundle.manifest.input
    assert wanted.whites_of_16 == (4095,)
    assert wanted.how_to_feed.endswith("which value is white, from 4095 to 16383")
    assert "a DICOM file as a person is shown them" in wanted.how_to_feed
    assert "window, and MONOCHROME1 turned over, so that 0 is black" in wanted.how_to_feed
    assert ModelInput.model_validate_json(wanted.model_dump_json()) == wanted
    np.testing.assert_array_equal(read_image(files[0], wanted).pixels, found.images[0])


def test_whites_beyond_the_range_of_the_model_are_refused() -> None:
    with pytest.raises(
        ValidationError, match="whites_of_16 must be up to max_value, 255, and for int32 alone"
    ):
        ModelInput(
            name="raw",
            dtype="int32",
            channels=1,
            max_value=255,
            whites_of_16=(4095,),
            trained_shape=SIZE,
            how_to_feed="",
        )


@pytest.mark.parametrize("kept", [True, False])
def test_a_film_of_fewer_bits_than_those_of_the_model_is_named(tmp_path: Path, kept: bool) -> None:
    files = [png(tmp_path / "raw" / f"{name}.png", pixels(65535)) for name in "ab"]
    wanted = wanted_by(prepared(tmp_path, "set", files), tmp_path / "store")
    wanted = wanted if kept else wanted.model_copy(update={"whites_of_16": ()})
    assert read_image(files[0], wanted).changes == ()
    assert read_image(png(tmp_path / "c.png", pixels(20000)), wanted).changes == ()  # dark, and of 16 bits
    assert read_image(png(tmp_path / "d.png", pixels(4000)), wanted).changes == ("dark",)
    assert read_image(pgm(tmp_path / "e.pgm", pixels(4000), 4095), wanted).changes == ("maxval",)
