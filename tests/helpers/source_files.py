"""Small data in the layouts that sources read: arrays in files and folders of images."""

from pathlib import Path

import cv2
import numpy as np

from trainables.config.tasks import TASKS, LabelCodes, UpperFolders
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
    max_value: float | None = None,
    upper_folders: UpperFolders | None = None,
) -> tuple[PatchSet, list[str]]:
    return load_patch_set(
        str(data),
        task=TASKS[task],
        label_codes=label_codes,
        store=data.parent / "store",
        source=source,
        max_value=max_value,
        upper_folders=upper_folders,
    )


def noise(number: int, *, largest: int = 255, side: int = 8) -> np.ndarray:
    """An image that no other number gives; 16 bit where its largest value is above 255."""
    random = np.random.default_rng(number)
    image = random.integers(0, largest + 1, (side, side)).astype(np.uint8 if largest < 256 else np.uint16)
    image[0, 0] = largest
    return image


def two_classes(folder: Path, count: int = 12, *, suffix: str = ".png", largest: int = 255) -> Path:
    """Class folders `benign` and `malignant` in turn, with different images `0`, `1`, ... in them."""
    for number in range(count):
        name = ("benign", "malignant")[number % 2]
        write(folder / name / f"{number}{suffix}", noise(number, largest=largest))
    return folder


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
