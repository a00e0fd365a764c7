"""Arrays as data: written to the store once, as an `.npz` file that is read like any other."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainables.common.errors import ConfigError, DataError
from trainables.common.files import folder_in_progress
from trainables.config.tasks import Task

__all__ = ["ArrayLike", "CheckedArrays", "check_arrays", "store_arrays"]

_FOLDER: Final = "arrays"  # within the store
_MISSING: Final = ("NAType", "NaTType")  # of pandas, which takes a second to import


@dataclass(frozen=True, slots=True)
class CheckedArrays:
    """Arrays that belong together.

    Attributes:
        images: Shape (n, h, w) or (n, h, w, 3), as given.
        labels: Numbers, or as given for an own task, shape (n,).
        patient: Text, shape (n,); None where patients are unknown.
        is_by_name: Labels were given as names of classes of a built-in task, and are class indices now.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    patient: NDArray[np.str_] | None
    is_by_name: bool


def check_arrays(
    images: ArrayLike, labels: ArrayLike, patient: ArrayLike | None, task: Task
) -> CheckedArrays:
    """Check that arrays belong together; names of classes become class indices.

    Args:
        images: Grey images (n, h, w) or RGB images (n, h, w, 3).
        labels: Class of each image, by number or by name, shape (n,); a list, an array or a pandas Series.
        patient: Patient of each image, likewise; None where patients are unknown.
        task: Task whose classes labels may name; those of an own one are kept as they are.

    Raises:
        DataError: If shapes do not fit together, a label or a patient is missing, or a name is no class of
            the task.
    """
    pixels = np.asarray(images)
    is_colour = pixels.ndim == 4 and pixels.shape[-1] == 3
    if not (is_colour or pixels.ndim == 3) or pixels.dtype.kind not in "uif":
        raise DataError(
            "images must be one array of numbers, (n, h, w) for grey images or (n, h, w, 3) for colour, all "
            f"of one size; found shape {pixels.shape} of {pixels.dtype}. Images of several sizes are read "
            "from a folder CLASS/FILE"
        )
    classes = _of_one_type(labels, "labels", "fill them in, or leave these images out")
    patients = None
    if patient is not None:
        known = "fill them in, leave these images out, or give no patient at all if they are not known"
        patients = _of_one_type(patient, "patient", known).astype(np.str_)
    for name, array in (("labels", classes), ("patient", patients)):
        if array is not None and array.shape != (len(pixels),):
            raise DataError(
                f"{name} must hold one value an image, shape ({len(pixels)},), but has shape {array.shape}"
            )
    is_by_name = classes.dtype.kind in "UOT" and not task.is_own  # own ones say what their labels mean
    if is_by_name:
        classes = _indices(classes, task)
    return CheckedArrays(pixels, classes, patients, is_by_name)


def store_arrays(arrays: CheckedArrays, store: Path) -> Path:
    """Write arrays to the store under a name made of their content, unless they are there.

    Args:
        arrays: The arrays.
        store: Folder of the store.

    Returns:
        Path of the `.npz` file.

    Raises:
        ConfigError: If the file cannot be written.
    """
    named = {"images": arrays.images, "labels": arrays.labels, "patient": arrays.patient}
    given = {name: array for name, array in named.items() if array is not None}
    folder = store / _FOLDER / _digest(given)
    file = folder / "arrays.npz"
    if file.is_file():
        return file
    try:
        with folder_in_progress(folder) as scratch:
            np.savez(scratch / file.name, **given)  # type: ignore[arg-type]
            if not folder.exists():
                scratch.rename(folder)
    except OSError as error:
        if file.is_file():  # another process was faster, and its copy is equal
            return file
        raise ConfigError(f"the arrays cannot be kept in {folder}: {error.strerror or error}") from error
    return file


def _of_one_type(values: ArrayLike, name: str, remedy: str) -> NDArray[Any]:
    """An array of numbers or text; one without holes, since a hole would be a class or patient of its own."""
    given = np.asarray(values)
    if given.dtype.kind == "U" and not isinstance(values, np.ndarray):
        given = np.asarray(values, dtype=object)  # NumPy makes the text "nan" of a NaN that is among text
    missing = [place for place, one in enumerate(given) if _is_missing(one)] if given.ndim == 1 else []
    if missing:
        places = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise DataError(
            f"{name} must hold a value for each image, but {len(missing)} of {len(given)} are missing (None, "
            f"NaN or NA), at {places}; {remedy}"
        )
    if given.dtype.kind != "O" or given.ndim != 1:
        return given
    # Text and nullable numbers of pandas come as objects.
    return np.array([str(one) for one in given]) if _has_text(given) else np.array(given.tolist())


def _is_missing(one: object) -> bool:
    """True for None, NaN, and NA and NaT of pandas, which equal nothing."""
    if isinstance(one, float | np.floating):
        return bool(np.isnan(one))
    return one is None or type(one).__name__ in _MISSING


def _has_text(values: NDArray[Any]) -> bool:
    return any(isinstance(one, str) for one in values)


def _indices(names: NDArray[Any], task: Task) -> NDArray[np.int64]:
    known = {name: index for index, name in enumerate(task.classes)}
    unknown = sorted({str(name) for name in names} - set(known))
    if unknown:
        raise DataError(
            f"labels must be classes of {task.name}, {' and '.join(task.classes)}, or numbers; found "
            f"{', '.join(unknown[:5])}"
        )
    return np.array([known[str(name)] for name in names], dtype=np.int64)


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    """Name of a set of arrays: a hash of their names, types, shapes and content."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data if array.dtype.kind != "U" else array.tobytes())
    return digest.hexdigest()[:24]
