"""Data source of the Pisa layout: CBIS-DDSM patches in `.npy` files, baseline and abnormality in turn.

The files are `train_tensor.npy`, `train_labels.npy`, `public_test_tensor.npy`, `public_test_labels.npy`; the
first two are required. The set of the Pisa course has no patients; `train_patient.npy` and
`public_test_patient.npy` (or `test_patient.npy`) are read if they are there.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.types import IntArray
from trainables.config.tasks import LabelCodes, Task
from trainables.data.patches import RawPatches, TextArray
from trainables.data.source import Source, Stated
from trainables.data.sources.checks import (
    check_spellings,
    has_pairs,
    paired_rows,
    parse_images,
    parse_labels,
    parse_patients,
)
from trainables.data.sources.telling_names import may_be_patients

_KINDS: Final = ("tensor", "labels", "patient")
_KNOWN_PATIENTS: Final = ("train_patient.npy", "public_test_patient.npy", "test_patient.npy")


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
    name = _test_name(folder)
    if name is not None:
        parts.append(_read_part(folder, name, ("public_test_patient.npy", "test_patient.npy"), notes))
    _check_others(folder, notes)
    is_paired = codes != "task" and all(has_pairs(part.labels) for part in parts)
    notes.append(_about_codes(codes, is_paired))
    images = _joined(parts)
    is_test = np.arange(len(images)) >= len(parts[0].images)
    if is_test.any():
        notes.append(f"the public test part of {is_test.sum()} patches is the sealed test part")
    labels, patients = np.concatenate([part.labels for part in parts]), _patients(parts, folder)
    raw = RawPatches(
        images=images,
        labels=labels,
        label_codes=codes,
        patients=patients,
        # An even number of training rows comes first, so test pairs start at an even row too.
        partners=paired_rows(labels, patients, notes) if is_paired else None,
        is_test=is_test if is_test.any() else None,
        source=folder.name,
    )
    return raw, notes


def _test_name(folder: Path) -> str | None:
    """Name of the test part: `public_test`, else `test`; None without one."""
    names = ("public_test", "test")
    is_there = [
        any((folder / f"{name}_{kind}.npy").is_file() for kind in ("tensor", "labels")) for name in names
    ]
    found = [name for name, is_found in zip(names, is_there, strict=True) if is_found]
    if len(found) > 1:
        raise DataError(
            f"{folder} holds public_test_*.npy and test_*.npy, and one is the test part; keep one"
        )
    return found[0] if found else None


def _check_others(folder: Path, notes: list[str]) -> None:
    """Ask about arrays that may be patients, and name the others that are not read."""
    known = {f"{part}_{kind}.npy" for part in ("train", "public_test", "test") for kind in _KINDS}
    others = sorted(path.name for path in folder.glob("*.npy") if path.name not in known)
    near = [name for name in others if _may_be_patients(name)]
    if near:
        raise DataError(
            f"{folder} holds {', '.join(near)}, which is not read; did you mean train_patient.npy and "
            "public_test_patient.npy? Rename the files, or move them away"
        )
    if others:
        notes.append(
            f"arrays left out, since the Pisa layout has none of these names: {', '.join(others[:4])}"
        )


def _may_be_patients(name: str) -> bool:
    if name.lower() in _KNOWN_PATIENTS:
        return False
    bare = re.sub(r"^(public_?)?(train|test)_?|\.npy$", "", name.lower())
    return "patient" in bare or may_be_patients(bare)


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
    if not known:
        return None
    patients = np.concatenate(known)
    check_spellings(patients.tolist(), folder.name)  # one may be written in another way in the other part
    return patients


def _reads(path: Path) -> bool:
    return (path / "train_tensor.npy").is_file()


PISA = Source("pisa", load_pisa, "a folder with train_tensor.npy", _reads, precedence=1)
