"""BreastMNIST: three parts in one file, labels of shape (N, 1) where 0 is malignant."""

from pathlib import Path

import numpy as np

NAME, EXAMPLES, PROBLEMS, COLUMN = "medmnist", 10, 0, None


def build(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 6), ("val", 2), ("test", 2)):
        arrays[f"{part}_images"] = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    np.savez(folder / "breastmnist.npz", **arrays)
