"""Images of a user's own with a table: what is no mammogram loses no tissue to the steps for one."""

import csv
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom
from dicom_files import film as small_film
from dicom_tree import film, write_tree
from source_files import noise, write

from orchestrator import prepare_set
from trainables.common.errors import DataError
from trainables.config.tasks import TASKS
from trainables.data.patches import PatchSet
from trainables.data.prepared.on_the_way import load_data

OPTION = "data prepare with --option mammograms"


def tree(folder: Path, images: dict[str, np.ndarray]) -> Path:
    """Images in class folders, with a table beside these."""
    rows = []
    for number, (name, pixels) in enumerate(images.items()):
        label = ("benign", "malignant")[number % 2]
        write(folder / label / name, pixels)
        rows.append((f"{label}/{name}", label, f"p{number // 2}"))
    with (folder / "labels.csv").open("w", newline="") as table:
        csv.writer(table).writerows([("file", "label", "patient"), *rows])
    return folder


def patches(count: int) -> dict[str, np.ndarray]:
    return {f"{number}.png": noise(number, side=40) for number in range(count)}


def films(count: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    return {
        f"film {number}.png": film(number, is_malignant=number % 2 > 0, side="L", size=size)
        for number in range(count)
    }


def searched(folder: Path) -> tuple[PatchSet, list[str]]:
    return load_data(
        str(folder), task=TASKS["benign_malignant"], label_codes=None, store=folder.parent / "store"
    )


def test_a_search_takes_patches_as_they_are_and_says_so(tmp_path: Path) -> None:
    made = patches(8)
    found, notes = searched(tree(tmp_path / "tree", made))
    assert found.preparation is None
    assert found.images.shape == (8, 40, 40)
    assert sorted(map(np.ndarray.tobytes, found.images)) == sorted(map(np.ndarray.tobytes, made.values()))
    (said,) = [note for note in notes if OPTION in note]
    assert "taken as they are and not as whole mammograms" in said
    assert f"{OPTION}=yes" in said


def test_films_as_large_as_films_are_made_ready_and_the_search_says_so(tmp_path: Path) -> None:
    found, notes = searched(tree(tmp_path / "tree", films(4, (1000, 500))))
    assert found.preparation is not None
    assert found.images.shape == (4, 1024, 832)
    assert any("taken as whole mammograms" in note and f"{OPTION}=no" in note for note in notes)


@pytest.mark.parametrize(("large", "is_mammogram"), [(9, True), (8, False)])
def test_a_mixture_goes_by_nine_tenths_and_is_warned_of(
    tmp_path: Path, large: int, is_mammogram: bool
) -> None:
    folder = tree(tmp_path / "tree", films(large, (1000, 500)) | patches(10 - large))
    done = prepare_set("dicom", folder, tmp_path / "set", size=(64, 48))
    assert (done.prepared.facts["settings"]["steps"] is not None) == is_mammogram
    (said,) = [note for note in done.notes if note.startswith("WARNING")]
    assert f"{large} of 10 images are whole mammograms" in said


def test_headers_decide_whatever_the_size(tmp_path: Path) -> None:
    done = prepare_set("dicom", write_tree(tmp_path / "films", 4), tmp_path / "set", size=(48, 32))
    assert done.prepared.facts["settings"]["steps"] is not None
    crops = tmp_path / "crops"
    for number in range(4):
        dicom(crops / f"{number}.dcm", small_film(seed=number), bits=12, SeriesDescription="cropped images")
    rows = [(f"{number}.dcm", number % 2) for number in range(4)]
    with (crops / "labels.csv").open("w", newline="") as table:
        csv.writer(table).writerows([("file", "label"), *rows])
    assert prepare_set("dicom", crops, tmp_path / "other").prepared.facts["settings"]["steps"] is None


def test_a_file_that_cannot_be_read_is_no_part_of_a_mixture(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "films", 4)
    next(folder.glob("*/*CC.dcm")).write_bytes(b"no image")
    done = prepare_set("dicom", folder, tmp_path / "set", size=(48, 32))
    assert (len(done.problems), done.prepared.facts["settings"]["steps"] is None) == (1, False)
    assert not any(note.startswith("WARNING") for note in done.notes)


def test_the_user_decides_otherwise(tmp_path: Path) -> None:
    folder = tree(tmp_path / "small films", films(4, (96, 64)))
    done = prepare_set("dicom", folder, tmp_path / "set", options={"mammograms": "yes"})
    assert done.prepared.facts["settings"]["steps"] is not None
    assert not any(OPTION in note for note in done.notes)
    large = tree(tmp_path / "films", films(4, (1000, 500)))
    done = prepare_set("dicom", large, tmp_path / "other", options={"mammograms": "no"})
    assert done.prepared.facts["settings"]["steps"] is None
    with pytest.raises(DataError, match="mammograms must be one of auto, yes, no; found 'maybe'"):
        prepare_set("dicom", folder, tmp_path / "third", options={"mammograms": "maybe"})
