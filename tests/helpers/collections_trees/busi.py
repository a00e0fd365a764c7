"""BUSI: names with a space and brackets, two masks of one image, a mask of nothing, empty masks."""

from pathlib import Path

import numpy as np

from collections_trees.files import mask, picture

NAME, EXAMPLES, PROBLEMS, COLUMN = "busi", 6, 1, None


def build(folder: Path) -> None:
    inner = folder / "Dataset_BUSI_with_GT"
    for word in ("benign", "malignant", "normal"):
        for number in (1, 2):
            picture(inner / word / f"{word} ({number}).png")
            empty = np.zeros((64, 48), np.uint8)
            picture(inner / word / f"{word} ({number})_mask.png", empty if word == "normal" else mask())
    picture(inner / "benign" / "benign (1)_mask_1.png", mask()[::-1])
    picture(inner / "malignant" / "malignant (9)_mask.png", mask())
