"""Small data in the layouts that sources read: arrays in files and folders of images."""

from pathlib import Path

import cv2
import numpy as np

from trainables.config.tasks import TASKS, LabelCodes
from trainables.data.patches import PatchSet
from trainables.data.sources import load_patch_set

GREY = np.random.default_rng(0).integers(0, 256, (6, 8, 8)).astype(np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
CLASSES = np.array([0, 1, 1, 0, 1, 0])
PISA = np.array([0, 1, 0, 2, 0, 4])


def load(
    data: Path,
    *,
    task: str = "benign_malignant",
    label_codes: LabelCodes | None = None,
    source: str | None = None,
) -> tuple[PatchSet, list[str]]:
    store = data.parent / "store"
    return load_patch_set(str(data), task=TASKS[task], label_codes=label_codes, store=store, source=source)


def npz(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "set.npz", **({"images": GREY, "labels": CLASSES} | arrays))
    return folder / "set.npz"


def pisa(folder: Path, **arrays: object) -> Path:
    content = {
        "train_tensor": GREY,
        "train_labels": PISA,
        "public_test_tensor": GREY[:4] + 1,
        "public_test_labels": PISA[:4],
    } | arrays
    (folder / "pisa").mkdir()
    for name, array in content.items():
        if array is not None:
            np.save(folder / "pisa" / f"{name}.npy", array)
    return folder / "pisa"


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def class_folders(folder: Path, *, suffix: str = ".png", images: np.ndarray = GREY) -> Path:
    for number, image in enumerate(images):
        name = "malignant" if CLASSES[number] else "benign"
        write(folder / "films" / name / f"{number}{suffix}", image)
    return folder / "films"
