"""Tiles of prepared sets overlap only where they show the same tissue of one image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from source_files import noise, npz, pisa, write

from orchestrator.api.prepared_sets import join_sets, prepare_set
from orchestrator.audit.audit import audit_set
from orchestrator.audit.examined_set import ExaminedSet
from trainables.config.tasks import TASKS
from trainables.data.collections.collection import Box, Choices, Collection, Example, Listing
from trainables.data.patches import select_rows
from trainables.data.prepared.engine import prepare
from trainables.data.prepared.settings import Settings
from trainables.data.sources import load_patch_set
from trainables.data.splits import make_split

TASK = TASKS["benign_malignant"]
COUNT = 24


def findings(folder: Path) -> list[str]:
    """What an audit says of tiles of a set."""
    found, _ = load_patch_set(str(folder), task=TASK, label_codes=None, store=folder.parent / "store")
    rows = select_rows(found, TASK)
    split = make_split(rows, fingerprint=found.fingerprint, task=TASK, folds=4, test_share=0.2, seed=0)
    said = audit_set(ExaminedSet.of(found, TASK, split)).findings
    return [one.text for one in said if "overlap" in one.text]


def arrays(name: str, folder: Path) -> Path:
    images = np.stack([noise(number, side=28) for number in range(60)])
    if name == "npz":
        return npz(folder, images=images, labels=np.arange(60) % 2)
    if name == "pisa":
        labels = np.arange(40) % 2 + 1
        return pisa(
            folder,
            train_tensor=images[:40],
            train_labels=labels,
            public_test_tensor=images[40:],
            public_test_labels=labels[:20],
        )
    cuts = {"train": slice(0, 36), "val": slice(36, 44), "test": slice(44, 60)}
    parts = {f"{part}_images": images[cut] for part, cut in cuts.items()}
    labels = {f"{part}_labels": np.arange(60)[cut, None] % 2 for part, cut in cuts.items()}
    np.savez(folder / "breastmnist.npz", **parts, **labels)
    return folder / "breastmnist.npz"


@pytest.mark.parametrize("name", ["npz", "pisa", "medmnist"])
def test_rows_of_one_file_of_arrays_do_not_overlap(tmp_path: Path, name: str) -> None:
    prepare_set(name, arrays(name, tmp_path), tmp_path / "set", workers=1)
    assert findings(tmp_path / "set") == []


def made_up(folder: Path, name: str, *, seed: int, boxes: tuple[Box, ...] = (), frames: int = 0) -> Path:
    """A set of files that every such collection names alike; with boxes, each image gives as many tiles."""
    made = []
    for number in range(COUNT):
        file = folder / name / f"{number}.png"
        write(file, noise(seed + number, side=32))
        one = Example(file, f"{number}", number % 2, patient=f"p{number}", cut="whole")
        made.append(one)
    if boxes:
        made = [
            replace(one, name=f"{one.name}@{place}", box=box, cut="box", patient=f"{one.patient}{place}")
            for one in made
            for place, box in enumerate(boxes)
        ]
    if frames:
        stack = folder / name / "stack.npy"
        np.save(stack, np.stack([noise(seed + number, side=32) for number in range(frames)]))
        made = [
            replace(made[number], file=stack, frame=number, box=Box(4, 4, 20, 20), cut="box")
            for number in range(frames)
        ]
    listing = Listing(tuple(made), "task", classes=TASK.classes)
    collection = Collection(
        name=name,
        title=name,
        accepts="",
        list=lambda path, choices: listing,
        reads=lambda path: False,
        is_mammogram=False,
        licence="",
    )
    out = folder / f"set of {name}"
    prepare(collection, folder / name, out, Choices(), Settings(size=(20, 20)))
    return out


def test_files_of_one_name_in_two_sources_are_two_images(tmp_path: Path) -> None:
    box = (Box(4, 4, 20, 20),)
    sets = [made_up(tmp_path, name, seed=seed, boxes=box) for name, seed in (("aa", 0), ("bb", 500))]
    join_sets(sets, tmp_path / "joined")
    assert findings(tmp_path / "joined") == []


def test_whole_images_of_two_sources_do_not_overlap(tmp_path: Path) -> None:
    sets = [made_up(tmp_path, name, seed=seed) for name, seed in (("aa", 0), ("bb", 500))]
    join_sets(sets, tmp_path / "joined")
    assert findings(tmp_path / "joined") == []


def test_regions_of_two_frames_of_a_file_do_not_overlap(tmp_path: Path) -> None:
    assert findings(made_up(tmp_path, "stack", seed=0, frames=COUNT)) == []


def test_tiles_that_show_the_same_tissue_are_still_found(tmp_path: Path) -> None:
    boxes = (Box(0, 0, 20, 20), Box(6, 6, 20, 20))
    found = made_up(tmp_path, "torn", seed=0, boxes=boxes)
    assert any("pairs of tiles overlap and are in two parts" in text for text in findings(found))
    joined = tmp_path / "joined"
    join_sets([found, made_up(tmp_path, "bb", seed=500)], joined)
    assert any("pairs of tiles overlap and are in two parts" in text for text in findings(joined))
