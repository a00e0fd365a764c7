"""IDC: the archive's second folder of the same patches, a ragged patch, a class folder that lies."""

from pathlib import Path

import numpy as np

from collections_trees.files import picture, pixels

NAME, EXAMPLES, PROBLEMS, COLUMN = "idc", 7, 2, None


def build(folder: Path) -> None:
    for patient, label, x, y in (
        (8863, 0, 1, 51),
        (8863, 1, 51, 51),
        (8864, 0, 1, 1),
        (8864, 1, 51, 1),
        (8865, 1, 1, 1),
    ):
        name = f"{patient}_idx5_x{x}_y{y}_class{label}.png"
        for above in (folder, folder / "IDC_regular_ps50_idx5"):
            picture(above / str(patient) / str(label) / name, np.dstack([pixels(name, 50, 50)] * 3))
    picture(folder / "8865/1/8865_idx5_x51_y1_class1.png", pixels("ragged", 50, 32))
    picture(folder / "9023/0/9023_idx5_x1_y1_class0.png")
    picture(folder / "9023/0/9023_idx5_x51_y1_class1.png")
    picture(folder / "9023/0/thumbnail.png")
