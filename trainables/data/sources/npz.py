"""Data source of one `.npz` file: `images`, `labels` and, where known, `patient`."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.config.tasks import LabelCodes, Task
from trainables.data.patches import RawPatches
from trainables.data.source import Source
from trainables.data.sources.checks import (
    baseline_partners,
    decide_label_codes,
    has_pairs,
    parse_images,
    parse_labels,
    parse_patients,
)

_PATIENT_KEYS = ("patient", "patients")


def load_npz(data: str, task: Task, label_codes: LabelCodes | None) -> tuple[RawPatches, list[str]]:
    """Read one file of arrays.

    Args:
        data: Path of the file.
        task: Task; zeros and ones may be its classes.
        label_codes: Code book of the label numbers; None decides from the numbers.

    Returns:
        The patches, and messages on what was decided or converted.

    Raises:
        DataError: If the file or one of its arrays cannot be used.
    """
    path, notes = Path(data), list[str]()
    arrays = _read(path)
    images = parse_images(arrays["images"], f"{path.name}: images", notes)
    labels = parse_labels(arrays["labels"], len(images), f"{path.name}: labels")
    patient_key = next((key for key in _PATIENT_KEYS if key in arrays), None)
    codes = decide_label_codes(labels, task, label_codes, notes)
    raw = RawPatches(
        images=images,
        labels=labels,
        label_codes=codes,
        patients=None
        if patient_key is None
        else parse_patients(arrays[patient_key], len(images), f"{path.name}: {patient_key}"),
        partners=baseline_partners(len(labels)) if codes != "task" and has_pairs(labels) else None,
        source=path.name,
    )
    return raw, notes


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays that are used, and no others, since a file may hold far more."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            missing = [key for key in ("images", "labels") if key not in stored.files]
            if missing:
                raise DataError(
                    f"{path.name} must hold the arrays images and labels; {' and '.join(missing)} missing, "
                    f"found: {', '.join(stored.files) or 'none'}"
                )
            wanted = [key for key in ("images", "labels", *_PATIENT_KEYS) if key in stored.files]
            return {key: _member(stored, key, path) for key in wanted}
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read as an .npz file ({error}); save it again with numpy.savez"
        ) from error


def _member(stored: Any, key: str, path: Path) -> NDArray[Any]:
    try:
        return stored[key]
    except ValueError as error:
        raise DataError(
            f"{path.name}: {key} cannot be read ({error}); save plain numbers or text, not Python objects: "
            "for instance array.astype(str) for patients"
        ) from error


def _reads(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


NPZ = Source("npz", load_npz, "an .npz file", _reads)
