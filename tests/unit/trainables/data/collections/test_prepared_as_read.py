"""A set prepared from what searches read directly keeps its extra images, exams, sides and views."""

from pathlib import Path

import numpy as np
import pytest
from source_files import CLASSES, GREY, load, noise, npz, write

from orchestrator import join_sets, prepare_set
from trainables.common.errors import DataError
from trainables.data.patches import PatchSet

pytestmark = pytest.mark.slow

SPLIT = np.array(["train", "train", "train", "train", "extra", "extra"])
SIDES, EXAMS, VIEWS = (np.array(list(text)) for text in ("LRLRLR", "aabbcc", "xyxyxy"))


def both(data: Path, name: str) -> tuple[PatchSet, PatchSet]:
    """The set as a search reads it, and as it is prepared."""
    out = data.parent / f"set of {data.name}"
    prepare_set(name, data, out, workers=1)
    return load(data, label_codes="task" if name == "npz" else None)[0], load(out)[0]


def with_extra_folders(folder: Path) -> Path:
    for number in range(12):
        part = "train" if number < 8 else "extra"
        write(folder / part / ("benign", "malignant")[number % 2] / f"{number}.png", noise(number))
    return folder


def test_extra_images_of_class_folders_stay_extra(tmp_path: Path) -> None:
    direct, prepared = both(with_extra_folders(tmp_path / "folders"), "folder")
    assert direct.is_extra is not None
    assert prepared.is_extra is not None
    assert direct.is_extra.sum() == 4
    order = [direct.names.index(name) for name in (prepared.columns or {})["name"]]
    np.testing.assert_array_equal(prepared.is_extra, direct.is_extra[order])
    assert "is_extra" not in (prepared.columns or {})


def test_extra_images_and_columns_of_arrays_stay(tmp_path: Path) -> None:
    data = npz(tmp_path, split=SPLIT, laterality=SIDES, exam=EXAMS, view=VIEWS, patient=EXAMS)
    direct, prepared = both(data, "npz")
    assert direct.is_extra is not None
    np.testing.assert_array_equal(prepared.is_extra, direct.is_extra)
    assert direct.columns is not None
    assert prepared.columns is not None
    assert set(direct.columns) == {"exam", "laterality", "view"}
    for name, values in direct.columns.items():
        np.testing.assert_array_equal(prepared.columns[name], values)


def test_a_column_that_says_nothing_of_some_images_says_nothing_of_them_later(tmp_path: Path) -> None:
    sides = np.array(["L", "R", "", "left", "R", "L"])
    direct, prepared = both(npz(tmp_path, laterality=sides), "npz")
    assert prepared.columns is not None
    assert prepared.columns["laterality"].tolist() == ["L", "R", "", "L", "R", "L"]
    assert direct.columns is not None
    np.testing.assert_array_equal(prepared.columns["laterality"], direct.columns["laterality"])


def test_extra_images_stay_extra_in_a_joined_set(tmp_path: Path) -> None:
    prepare_set("folder", with_extra_folders(tmp_path / "folders"), tmp_path / "one", workers=1)
    prepare_set("npz", npz(tmp_path, images=GREY + 1), tmp_path / "other", workers=1)
    join_sets([tmp_path / "one", tmp_path / "other"], tmp_path / "joined")
    joined, _ = load(tmp_path / "joined")
    assert joined.is_extra is not None
    assert joined.is_extra.tolist() == [True] * 4 + [False] * 14


def test_a_users_column_of_numbers_is_no_flag(tmp_path: Path) -> None:
    rows = [f"{number}.png,{CLASSES[number]},,{number % 2}\n" for number in range(6)]
    for number in range(6):
        write(tmp_path / "tree" / f"{number}.png", noise(number))
    (tmp_path / "tree" / "labels.csv").write_text("file,label,split,is_extra\n" + "".join(rows))
    prepare_set("dicom", tmp_path / "tree", tmp_path / "set", workers=1)
    found, _ = load(tmp_path / "set")
    assert found.is_extra is None
    assert (found.columns or {})["is_extra"].tolist() == [0, 1] * 3


@pytest.mark.parametrize("kind", ["int64", ">u2", "uint32", "<i2"])
def test_whole_numbers_of_any_type_are_prepared_as_a_search_reads_them(tmp_path: Path, kind: str) -> None:
    for number, most in enumerate((250, 4000)):
        images = np.random.default_rng(number).integers(0, most, (6, 16, 16)).astype(kind)
        (tmp_path / str(most)).mkdir()
        direct, prepared = both(npz(tmp_path / str(most), images=images), "npz")
        np.testing.assert_array_equal(prepared.images, direct.images)
        assert prepared.images.dtype == direct.images.dtype
        assert prepared.max_value == direct.max_value


def test_whole_numbers_that_fit_no_image_are_refused(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 70_000, (6, 16, 16))
    with pytest.raises(DataError, match="found int64 from"):
        prepare_set("npz", npz(tmp_path, images=images), tmp_path / "set", workers=1)
