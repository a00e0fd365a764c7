"""Data source of one `.npz` file: `images`, `labels` and, where known, `patient` and the test part."""

from pathlib import Path

from trainables.config.tasks import Task
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
    labels = parse_labels(found.labels, len(images), f"{path.name}: labels")
    codes = decide_label_codes(labels, task, stated.label_codes, notes)
    if stated.label_codes is None and "breastmnist" in path.name.lower():
        notes.append(_BREASTMNIST)
    patients = None
    if found.patients is not None:
        patients = parse_patients(found.patients, len(images), f"{path.name}: {found.patients_name}")
    raw = RawPatches(
        images=images,
        labels=labels,
        label_codes=codes,
        patients=patients,
        partners=None if codes == "task" else paired_rows(labels, patients, notes),
        is_test=found.is_test,
        source=path.name,
    )
    return raw, notes


def _reads(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


NPZ = Source("npz", load_npz, "an .npz file", _reads)
