"""Real sets: the counts that their documentation states. Skipped where the sets are absent."""

from pathlib import Path

import numpy as np
import pytest

from trainables.config.tasks import TASKS
from trainables.data.image_files import decode_image
from trainables.data.patches import PatchSet, select_rows
from trainables.data.pixel_range import bit_range
from trainables.data.sources import load_patch_set
from trainables.data.split_record import TEST, Split
from trainables.data.splits import make_split

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
TASK = TASKS["benign_malignant"]


def load(name: str, store: Path) -> tuple[PatchSet, list[str]]:
    if not (DATA / name).exists():
        pytest.skip(f"the real set {name} is not at {DATA}")
    return load_patch_set(str(DATA / name), task=TASK, label_codes=None, store=store)


def split(patch_set: PatchSet, *, folds: int = 4) -> Split:
    rows = select_rows(patch_set, TASK)
    return make_split(
        rows, fingerprint=patch_set.fingerprint, task=TASK.name, folds=folds, test_share=0.2, seed=0
    )


def test_infn_masses_are_150_pairs_of_76_patients(tmp_path: Path) -> None:
    patch_set, notes = load("infn_mass_patches_150.npz", tmp_path)
    assert patch_set.images.shape == (300, 150, 150)
    assert (patch_set.images.dtype, patch_set.label_codes) == (np.uint16, "pisa")
    assert np.bincount(patch_set.labels).tolist() == [150, 95, 55]
    assert len(set(np.asarray(patch_set.patients).tolist())) == 76
    assert np.asarray(patch_set.partners)[1::2].tolist() == list(range(0, 300, 2))
    assert "label codes: pisa" in notes[1]
    counts = split(patch_set).counts
    assert all(part["malignant"] >= 10 for part in counts.values())
    assert sum(part["benign"] + part["malignant"] for part in counts.values()) == 150


def test_ddsm_films_are_1644_with_patients_and_task_codes(tmp_path: Path) -> None:
    patch_set, notes = load("ddsm_mass_films_227.npz", tmp_path)
    assert patch_set.images.shape == (1644, 227, 227)
    assert np.bincount(patch_set.labels).tolist() == [757, 887]
    assert (patch_set.label_codes, patch_set.partners) == ("task", None)
    assert notes == ["arrays that are not read: density", "label codes: task (0 benign, 1 malignant)"]
    made = split(patch_set)
    shares = [part["malignant"] / (part["benign"] + part["malignant"]) for part in made.counts.values()]
    assert max(shares) - min(shares) < 0.02


def test_mias_in_the_pisa_layout_has_patients_and_its_own_test_part(tmp_path: Path) -> None:
    patch_set, _ = load("mias_pisa_layout", tmp_path)
    assert patch_set.images.shape == (166, 150, 150)
    assert np.asarray(patch_set.is_test).sum() == 40
    assert patch_set.patients is not None
    made = split(patch_set)
    assert made.has_own_test
    own = set(patch_set.patients[np.asarray(patch_set.is_test)].tolist())
    assert {group for group, fold in made.fold_of_group.items() if fold == TEST} == own


def test_idc_patches_are_3668_of_18_patients(tmp_path: Path) -> None:
    patch_set, notes = load("idc", tmp_path)
    assert patch_set.images.shape == (3668, 50, 50, 3)
    assert len(set(np.asarray(patch_set.patients).tolist())) == 18
    assert any("of 3668 images are not 50x50 and were resized" in note for note in notes)
    assert all(part["malignant"] for part in split(patch_set, folds=3).counts.values())


def test_busi_holds_one_picture_under_two_labels(tmp_path: Path) -> None:
    if not (DATA / "formats").exists():
        # Patient data that may not lie in the repository: CI and most clones have none.
        pytest.skip(f"real files of the formats are not at {DATA}")
    patch_set, notes = load_patch_set(
        str(DATA / "formats" / "images" / "busi"),
        task=TASKS["finding_pathology"],
        label_codes=None,
        store=tmp_path,
    )
    assert patch_set.duplicate_of is not None
    assert any(
        "two labels, such as benign/benign (433).png and malignant/malignant (145).png" in n for n in notes
    )


def test_films_of_sixteen_bits_use_them_all() -> None:
    if not (DATA / "nyu_16bit_png_sample").exists():
        # Patient data that may not lie in the repository: CI and most clones have none.
        pytest.skip(f"films of 16 bits are not at {DATA}")
    films = sorted((DATA / "nyu_16bit_png_sample").glob("*.png"))
    assert films
    for path in films:
        pixels = decode_image(path).pixels
        assert (pixels.dtype, bit_range(int(pixels.max()))) == (np.uint16, 65535)
