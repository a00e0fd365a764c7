"""Data source of one `.npz` file: `images`, `labels` and, where known, patient, exam, side and test part."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trainables.common.types import IntArray
from trainables.config.tasks import StoredCodes, Task
from trainables.data.patches import RawPatches
from trainables.data.source import Source, Stated
from trainables.data.sources.checks import (
    decide_label_codes,
    paired_rows,
    parse_images,
    parse_labels,
    parse_patients,
)
from trainables.data.sources.npz_arrays import read_arrays
from trainables.data.sources.own_codes import by_own_codes

_BREASTMNIST = (
    "WARNING: BreastMNIST as it is published has 0 for malignant and 1 for normal or benign, the reverse "
    "of what is read here; save 1 - labels, or say --label-codes task if that was done"
)


def load_npz(data: str, task: Task, stated: Stated) -> tuple[RawPatches, list[str]]:
    """Read one file of arrays.

    Args:
        data: Path of the file.
        task: Task; zeros and ones may be its classes.
        stated: What the user says; without label codes they are decided from the numbers.

    Returns:
        The patches, and messages on what was decided or converted.

    Raises:
        DataError: If the file or one of its arrays cannot be used.
    """
    path, notes = Path(data), list[str]()
    found = read_arrays(path, notes)
    images = parse_images(found.images, f"{path.name}: images", notes)
    labels, codes = _labels(found.labels, len(images), task, stated, path, notes)
    if not task.is_own and stated.label_codes is None and "breastmnist" in path.name.lower():
        notes.append(_BREASTMNIST)
    patients = None
    if found.patients is not None:
        patients = parse_patients(found.patients, len(images), f"{path.name}: {found.patients_name}")
    raw = RawPatches(
        images=images,
        labels=labels,
        label_codes=codes,
        patients=patients,
        partners=None if codes in ("task", "own") else paired_rows(labels, patients, notes),
        is_test=found.is_test,
        is_extra=found.is_extra,
        columns=found.columns,
        source=path.name,
    )
    return raw, notes


def _labels(
    labels: NDArray[Any], count: int, task: Task, stated: Stated, path: Path, notes: list[str]
) -> tuple[IntArray, StoredCodes]:
    """Label codes and the name of their code book; an own task has one of its own, also for texts."""
    where = f"{path.name}: labels"
    if task.is_own:
        return by_own_codes(labels, task, count, where, notes), "own"
    numbers = parse_labels(labels, count, where)
    return numbers, decide_label_codes(numbers, task, stated.label_codes, notes)


def _reads(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


NPZ = Source("npz", load_npz, "an .npz file", _reads)
