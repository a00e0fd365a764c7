"""Sources: which one reads what is given, what the phantom takes, and what none of them reads."""

import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from source_files import load, noise, npz, pisa

from trainables.common.errors import DataError, UnknownNameError
from trainables.config.tasks import TASKS
from trainables.data.patches import RawPatches, fingerprint_of
from trainables.data.sources import SOURCES, load_patch_set

# ---- which source


def test_the_table_of_sources_is_read_only_and_complete() -> None:
    assert set(SOURCES) == {"phantom", "npz", "pisa", "prepared", "folder", "wisconsin"}
    with pytest.raises(TypeError, match="does not support item assignment"):
        SOURCES["more"] = SOURCES["npz"]


def test_an_unknown_source_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown source 'piza'; did you mean 'pisa'"):
        load(npz(tmp_path), source="piza")


def test_missing_data_are_answered_with_the_nearest_name(tmp_path: Path) -> None:
    npz(tmp_path)
    with pytest.raises(DataError, match=r"no data at .*sett\.npz; did you mean .*set\.npz\?"):
        load(tmp_path / "sett.npz")
    with pytest.raises(DataError, match=r"no data at .*; there is no folder .*nowhere either"):
        load(tmp_path / "nowhere" / "set.npz")
    with pytest.raises(DataError, match=r"no data at fantom; did you mean phantom\?"):
        load_patch_set("fantom", task=TASKS["benign_malignant"], label_codes=None, store=tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("")
    with pytest.raises(DataError, match=r"no source reads set\.csv; give .*an \.npz file.*, or phantom"):
        load(tmp_path / "set.csv")


def test_a_source_that_is_said_wins_over_the_guess(tmp_path: Path) -> None:
    folder = pisa(tmp_path)
    with pytest.raises(DataError, match="must hold class folders"):
        load(folder, source="folder")
    with pytest.raises(DataError, match=r"cannot be read as an \.npz file"):
        load(folder, source="npz")


# ---- phantom


def test_the_phantom_takes_settings_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    patch_set, notes = load_patch_set(
        "phantom: patients=3, size_px=32,subtlety=0.7,lesions_per_patient=2,seed=3",
        task=TASKS["normal_abnormal"],
        label_codes=None,
        store=tmp_path,
    )
    assert patch_set.images.shape == (12, 32, 32)
    assert patch_set.is_synthetic
    assert notes == ["SYNTHETIC phantom images: scores on them say nothing about patients"]
    assert (tmp_path / "data" / patch_set.fingerprint / "images.npy").is_file()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            "phantom:subtelty=0.7",
            UnknownNameError,
            "unknown phantom setting 'subtelty'; did you mean 'subtlety'",
        ),
        ("phantom:patients=ten", DataError, "phantom: patients must be a whole number, found 'ten'"),
        ("phantom:subtlety=", DataError, "phantom: subtlety must be a number, found ''"),
        ("phantom:patients=0", DataError, "phantom: patients must be from 1"),
    ],
)
def test_phantom_settings_that_cannot_be_used_are_refused(
    tmp_path: Path, data: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_patch_set(data, task=TASKS["benign_malignant"], label_codes=None, store=tmp_path)


def test_the_phantom_has_its_own_label_codes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the phantom's label codes are pisa, not 003"):
        load_patch_set("phantom", task=TASKS["benign_malignant"], label_codes="003", store=tmp_path)


@pytest.mark.parametrize(("spelt", "given"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_path_is_found_as_it_looks(
    tmp_path: Path, spelt: Literal["NFC", "NFD"], given: Literal["NFC", "NFD"]
) -> None:
    npz(tmp_path).rename(tmp_path / unicodedata.normalize(spelt, "Müller.npz"))
    patch_set, _ = load(tmp_path / unicodedata.normalize(given, "Müller.npz"))
    assert len(patch_set.images) == 6


def test_an_answer_about_folders_is_for_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--upper-folders is for folders of images, and .* is none"):
        load(npz(tmp_path), upper_folders="other")


def test_data_of_an_earlier_search_are_read_as_it_read_them(tmp_path: Path) -> None:
    images = np.stack([noise(number % 5, largest=4000) for number in range(6)])
    now, _ = load(npz(tmp_path, images=images))
    before, _ = load_patch_set(
        str(tmp_path / "set.npz"),
        task=TASKS["benign_malignant"],
        label_codes=None,
        store=tmp_path / "store",
        as_declared=True,
    )
    assert (before.max_value, before.duplicate_of) == (65535, None)
    assert before.fingerprint == fingerprint_of(RawPatches(images, before.labels, "task"))
    assert now.fingerprint != before.fingerprint
