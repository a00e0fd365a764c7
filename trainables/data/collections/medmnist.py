"""BreastMNIST: 780 ultrasound images of BUSI as small arrays in three official parts.

Source: Yang et al. (2023), "MedMNIST v2". In the file, label 0 is malignant and 1 is normal or benign.
"""

import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from trainables.common.errors import DataError
from trainables.data.collections.collection import Choices, Collection, Example, Listing, Problem
from trainables.data.collections.parts import checked_options, listing, no_table, regions_of

_PARTS: Final = ("train", "val", "test")
_LABELS: Final = {0: 1, 1: 0}  # as stored -> 1 for malignant
_NAMES: Final = ("breastmnist.npz", "breastmnist_64.npz", "breastmnist_128.npz", "breastmnist_224.npz")


def list_medmnist(path: Path, choices: Choices) -> Listing:
    """List the rows of `breastmnist*.npz`.

    Args:
        path: The file, or the folder that holds it; of several, the one of the smallest images is taken.
        choices: There are none.

    Raises:
        DataError: If the file or one of its arrays is missing.
    """
    checked_options(choices)
    regions_of(choices, ("image",))
    no_table(choices)
    file = path if path.is_file() else next((path / name for name in _NAMES if (path / name).is_file()), None)
    if file is None:
        raise DataError(f"{path} needs one of {', '.join(_NAMES)}; none is there")
    stored = _labels(file)
    examples, problems, row = list[Example](), list[Problem](), 0
    for part in _PARTS:
        for place, label in enumerate(stored[part]):
            name = f"{part}-{place:04d}"
            if label in _LABELS:
                columns = {"part": part, "modality": "ultrasound"}
                is_test = part == "test"
                examples.append(
                    Example(file, name, _LABELS[label], frame=row, is_test=is_test, columns=columns)
                )
            else:
                problems.append(Problem(name, f"has the label {label}; 0 (malignant) and 1 are known"))
            row += 1
    notes = [
        "label 0 of the file is malignant and 1 is normal or benign; here 1 is malignant",
        "official parts: test is sealed, train and val are the training part",
        "there are no patients, so images of one patient may fall on both sides of a split",
    ]
    return listing(path, examples, "task", notes=notes, problems=problems, classes=("benign", "malignant"))


def _labels(file: Path) -> dict[str, list[int]]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            for part in _PARTS:
                for name in (f"{part}_images", f"{part}_labels"):
                    if name not in arrays.files:
                        raise DataError(f"{file} needs the array {name}; it has {', '.join(arrays.files)}")
            return {part: arrays[f"{part}_labels"].reshape(-1).astype(int).tolist() for part in _PARTS}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{file} cannot be read ({error}); download it again") from error


def _reads(path: Path) -> bool:
    return path.name in _NAMES and path.is_file()


MEDMNIST = Collection(
    name="medmnist",
    title="BreastMNIST (Yang et al. 2023, after Al-Dhabyani et al. 2020)",
    accepts="breastmnist.npz, or the folder that holds it",
    list=list_medmnist,
    reads=_reads,
    is_mammogram=False,
    licence="CC BY 4.0; cite Yang et al. 2023 and Al-Dhabyani et al. 2020",
)
