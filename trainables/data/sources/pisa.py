"""Data source of the Pisa layout: CBIS-DDSM patches in `.npy` files, baseline and abnormality in turn.

The files are `train_tensor.npy`, `train_labels.npy`, `public_test_tensor.npy`, `public_test_labels.npy`; the
first two are required. The set of the Pisa course has no patients; `train_patient.npy` and
`public_test_patient.npy` (or `test_patient.npy`) are read if they are there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.types import IntArray
from trainables.config.tasks import LabelCodes, Task
from trainables.data.patches import RawPatches, TextArray
from trainables.data.source import Source, Stated
from trainables.data.sources.checks import (
    baseline_partners,
    has_pairs,
    parse_images,
    parse_labels,
    parse_patients,
)


@dataclass(frozen=True, slots=True)
class _Part:
    images: NDArray[Any]
    labels: IntArray
    patients: TextArray | None


def load_pisa(data: str, task: Task, stated: Stated) -> tuple[RawPatches, list[str]]:
    """Read the training part and, where it is there, the public test part as the source's own test set.

    Args:
        data: Path of the folder.
        task: Task; not used, since the label codes are known.
        stated: What the user says; the code book of the label numbers is `pisa` unless stated.

    Returns:
        The patches, training rows first, and messages on what was decided.

    Raises:
        DataError: If a file is missing, or one of the arrays cannot be used.
    """
    folder, notes = Path(data), list[str]()
    codes: LabelCodes = stated.label_codes or "pisa"
    parts = [_read_part(folder, "train", ("train_patient.npy",), notes)]
    if (folder / "public_test_tensor.npy").is_file() or (folder / "public_test_labels.npy").is_file():
        names = ("public_test_patient.npy", "test_patient.npy")
        parts.append(_read_part(folder, "public_test", names, notes))
    is_paired = codes != "task" and all(has_pairs(part.labels) for part in parts)
    notes.append(_about_codes(codes, is_paired))
    images = _joined(parts)
    is_test = np.arange(len(images)) >= len(parts[0].images)
    if is_test.any():
        notes.append(f"the public test part of {is_test.sum()} patches is the sealed test part")
    raw = RawPatches(
        images=images,
        labels=np.concatenate([part.labels for part in parts]),
        label_codes=codes,
        patients=_patients(parts, folder),
        # An even number of training rows comes first, so test pairs start at an even row too.
        partners=baseline_partners(len(images)) if is_paired else None,
        is_test=is_test if is_test.any() else None,
        source=folder.name,
    )
    return raw, notes


def _about_codes(codes: LabelCodes, is_paired: bool) -> str:
    if is_paired:
        return f"label codes: {codes} (even rows are all 0, odd rows are not: baseline/abnormality pairs)"
    return (
        f"label codes: {codes} (rows are not baseline/abnormality pairs, so no patch has a baseline partner)"
    )


def _read_part(folder: Path, name: str, patient_files: tuple[str, ...], notes: list[str]) -> _Part:
    images = parse_images(_array(folder, f"{name}_tensor.npy"), f"{name}_tensor.npy", notes)
    labels = parse_labels(_array(folder, f"{name}_labels.npy"), len(images), f"{name}_labels.npy")
    found = next((file for file in patient_files if (folder / file).is_file()), None)
    patients = None if found is None else parse_patients(_array(folder, found), len(images), found)
    return _Part(images, labels, patients)


def _array(folder: Path, file: str) -> NDArray[Any]:
    try:
        return np.load(folder / file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} must hold {file} beside the other part of the Pisa layout; it is missing"
        ) from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{folder / file} cannot be read ({error}); save it again with numpy.save") from error


def _joined(parts: list[_Part]) -> NDArray[Any]:
    if len(parts) == 1:
        return parts[0].images
    train, test = (part.images for part in parts)
    if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
        raise DataError(
            f"training and test images must be alike; found {train.shape[1:]} of {train.dtype} "
            f"and {test.shape[1:]} of {test.dtype}"
        )
    return np.concatenate([train, test])


def _patients(parts: list[_Part], folder: Path) -> TextArray | None:
    known = [part.patients for part in parts if part.patients is not None]
    if known and len(known) < len(parts):
        lacking = "train" if parts[0].patients is None else "public_test"
        raise DataError(
            f"{folder} holds patients for one part only; add {lacking}_patient.npy, or remove the other one"
        )
    return np.concatenate(known) if known else None


def _reads(path: Path) -> bool:
    return (path / "train_tensor.npy").is_file()


PISA = Source("pisa", load_pisa, "a folder with train_tensor.npy", _reads, precedence=1)
