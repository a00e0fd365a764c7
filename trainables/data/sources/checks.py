"""Checks that every data source makes: of pixels, labels, patients and label codes."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.types import IntArray
from trainables.config.tasks import LabelCodes, Task
from trainables.data.columns import UNKNOWN_WORDS, known_text
from trainables.data.image_files import is_grey
from trainables.data.patches import NO_PARTNER, PixelArray, TextArray

_ACCEPTED: Final = "uint8, uint16 (or whole numbers from 0 to 65535), or floats in [0, 1]"
_BLOCK_ROWS: Final = 256
# How people write that a patient is not known, in lower case.
_NO_PATIENTS: Final = frozenset({*UNKNOWN_WORDS, "unknown", "na", "n/a", "null", "missing", "?", "-", "-1"})
_PAIRS: Final = "even rows are all 0, odd rows are not: baseline/abnormality pairs"


def parse_images(images: NDArray[Any], where: str, notes: list[str]) -> PixelArray:
    """Return the images as uint8, uint16 or float32, with one channel if all of them are grey.

    Args:
        images: Images, shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), in memory or memory-mapped.
        where: File and array, for messages, such as "infn.npz: images".
        notes: Sentences on every conversion are added here.

    Raises:
        DataError: If shape, type or values cannot be used, or if there are no images.
    """
    _check_shape(images, where)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    pixels: NDArray[Any] = _parse_pixels(images, where, notes)
    if pixels.ndim == 4 and all(is_grey(block) for block in _blocks(pixels)):
        notes.append(f"{where}: the three channels are equal everywhere, so the images are read as grey")
        pixels = np.ascontiguousarray(pixels[..., 0])
    return pixels


def parse_labels(labels: NDArray[Any], count: int, where: str) -> IntArray:
    """Return label codes as int64, shape (count,).

    Raises:
        DataError: If they are not one whole number per image.
    """
    if labels.shape != (count,):
        raise DataError(
            f"{where} must hold one label an image: there are {count} images, "
            f"and labels of shape {labels.shape}"
        )
    if labels.dtype.kind not in "biuf":
        raise DataError(
            f"{where} must be whole numbers, such as 0 for benign and 1 for malignant; found {labels.dtype}"
        )
    if labels.dtype.kind == "b":
        return labels.astype(np.int64)
    broken = np.flatnonzero(~np.isfinite(labels) | (labels % 1 != 0))
    if len(broken):
        raise DataError(f"{where} must be whole numbers; row {broken[0]} holds {labels[broken[0]]}")
    return labels.astype(np.int64)


def parse_patients(patients: NDArray[Any], count: int, where: str) -> TextArray:
    """Return patient ids as text, shape (count,).

    Raises:
        DataError: If there is not one id per image, an id is empty or unknown, or one is written in two ways.
    """
    if patients.shape != (count,):
        raise DataError(
            f"{where} must hold one patient an image: there are {count} images, "
            f"and patients of shape {patients.shape}"
        )
    if patients.dtype.kind == "f" and (patients == np.round(patients)).all():
        patients = patients.astype(np.int64)  # 12.0 is patient 12
    text = known_text(patients, where)
    if text.size:
        text = np.array([unicodedata.normalize("NFC", one) for one in text.tolist()])
    empty = np.flatnonzero([is_no_patient(one) for one in text.tolist()])
    if len(empty):
        found = f" ({text[empty[0]]})" if text[empty[0]] else ""
        raise DataError(
            f"{where}: row {empty[0]} has no patient{found}; give every image one, or leave the array out"
        )
    check_spellings(text.tolist(), where)
    return text


def is_no_patient(text: str) -> bool:
    """True for a text that says that a patient is not known.

    >>> is_no_patient("Unknown"), is_no_patient("-1"), is_no_patient("P-1")
    (True, True, False)
    """
    return text.lower() in _NO_PATIENTS


def check_spellings(patients: Iterable[str], where: str) -> None:
    """Refuse patients that are hardly two: spellings that a spreadsheet, or another hand, makes of one.

    Args:
        patients: Patients as they are written; words for nobody known do not count.
        where: What holds them, for the message.

    Raises:
        DataError: If two differ by case, blanks, an ending `.0` or, in numbers, by leading zeros alone.
    """
    first: dict[str, str] = {}
    for name in sorted({name for name in patients if not is_no_patient(name)}):
        other = first.setdefault(_bare_patient(name), name)
        if other != name:
            raise DataError(
                f"{where}: patients {other} and {name} may be one; write it in one way, or, if they are "
                "two, give one another name"
            )


def _bare_patient(name: str) -> str:
    """A patient in the form in which spellings of one are the same.

    >>> [_bare_patient(name) for name in ("P 12", "0012", "12.0", "000")]
    ['p12', '12', '12', '0']
    """
    bare = "".join(name.casefold().split())
    if re.fullmatch(r"\d+(\.0)?", bare) is None:
        return bare
    return bare.removesuffix(".0").lstrip("0") or "0"


def has_pairs(labels: IntArray) -> bool:
    """True if all even rows are 0 and no odd row is, as in baseline/abnormality pairs.

    >>> has_pairs(np.array([0, 1, 0, 2])), has_pairs(np.array([0, 1, 1, 0]))
    (True, False)
    """
    return len(labels) > 0 and len(labels) % 2 == 0 and not labels[::2].any() and bool(labels[1::2].all())


def paired_rows(labels: IntArray, patients: TextArray | None, notes: list[str]) -> IntArray | None:
    """Row of the baseline of each image where rows are baseline/abnormality pairs; None where they are not.

    Rows that alternate but whose patients differ are no pairs: what the user says about patients wins.

    Args:
        labels: Label codes, shape (N,).
        patients: Patient of each row, shape (N,), or None.
        notes: A sentence on pairs of two patients is added here.
    """
    if not has_pairs(labels):
        return None
    if patients is not None and (patients[::2] != patients[1::2]).any():
        torn = int((patients[::2] != patients[1::2]).sum())
        notes.append(
            f"rows alternate like baseline/abnormality pairs, but {torn} of {len(labels) // 2} would be "
            "of two patients, so no image has a baseline partner"
        )
        return None
    return baseline_partners(len(labels))


def baseline_partners(count: int) -> IntArray:
    """Row of the baseline before each odd row, `NO_PARTNER` for even rows; shape (count,).

    >>> baseline_partners(4)
    array([-1,  0, -1,  2])
    """
    rows = np.arange(count, dtype=np.int64)
    return np.where(rows % 2 == 1, rows - 1, NO_PARTNER)


def decide_label_codes(
    labels: IntArray, task: Task, given: LabelCodes | None, notes: list[str]
) -> LabelCodes:
    """Decide the code book of label numbers: the user's, or else one that the numbers themselves allow.

    Zeros and ones are the task's own classes, and pairs with further codes are `pisa`. Strictly alternating
    zeros and ones would be `pisa` too if all abnormalities were benign masses; that leaves two classes in
    normal_abnormal only, where both readings give the same labels, so there the pairs are kept.

    Raises:
        DataError: If the numbers allow several code books and the user named none.
    """
    if given is not None:
        notes.append(f"label codes: {given} (as given)")
        return given
    if labels.min() >= 0 and labels.max() <= 1:
        if has_pairs(labels) and task.name == "normal_abnormal":
            notes.append(f"label codes: pisa ({_PAIRS})")
            return "pisa"
        names = ", ".join(f"{index} {name}" for index, name in enumerate(task.classes))
        alternate = "; labels alternate: say --label-codes pisa if even rows are baselines"
        notes.append(f"label codes: task ({names}{alternate if has_pairs(labels) else ''})")
        return "task"
    if has_pairs(labels):
        notes.append(f"label codes: pisa ({_PAIRS})")
        return "pisa"
    found = ", ".join(str(code) for code in np.unique(labels)[:8].tolist())
    raise DataError(
        f"the labels hold {found}, which could be several code books; say which with --label-codes: "
        "pisa (0 baseline, 1 mass benign, 2 mass malignant, 3 calcification benign, 4 calcification "
        "malignant), 003 (0 normal, 1 calcification benign, 2 mass benign, 3 calcification malignant, 4 mass "
        "malignant) "
        f"or task ({', '.join(f'{index} {name}' for index, name in enumerate(task.classes))})"
    )


def _check_shape(images: NDArray[Any], where: str) -> None:
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3)):
        raise DataError(
            f"{where} must have shape (N, H, W) or (N, H, W, 3), channels last; found {images.shape}"
        )
    if 0 in images.shape:
        raise DataError(f"{where} must hold at least one image with pixels; found shape {images.shape}")


def _parse_pixels(images: NDArray[Any], where: str, notes: list[str]) -> NDArray[Any]:
    kind = images.dtype.kind
    if kind == "u" and images.dtype.itemsize <= 2:
        return images.astype(images.dtype.newbyteorder("="), copy=False)
    if kind not in "iuf":
        raise DataError(f"{where} must be {_ACCEPTED}; found {images.dtype}")
    low, high = _range(images, where)
    if kind == "f":
        return _parse_floats(images, low, high, where, notes)
    if low < 0 or high > 65535:
        raise DataError(f"{where} must be {_ACCEPTED}; found {images.dtype} from {low:g} to {high:g}")
    target = np.uint8 if high <= 255 else np.uint16
    notes.append(f"{where}: {images.dtype} pixels from {low:g} to {high:g} are read as {target.__name__}")
    return images.astype(target)


def _parse_floats(images: NDArray[Any], low: float, high: float, where: str, notes: list[str]) -> PixelArray:
    if low < 0.0 or high > 1.0:
        raise DataError(
            f"{where} are {images.dtype} from {low:g} to {high:g}; float pixels must be in [0, 1]: "
            "divide by the largest possible value, or save 8- or 16-bit whole numbers"
        )
    if images.dtype.name != "float32":
        notes.append(f"{where}: {images.dtype} pixels are read as float32")
    return images.astype(np.float32, copy=False)


def _range(images: NDArray[Any], where: str) -> tuple[float, float]:
    low, high, row = np.inf, -np.inf, 0
    for block in _blocks(images):
        finite = np.isfinite(block)
        if not finite.all():
            broken = np.argwhere(~finite)[0]
            raise DataError(
                f"{where}: image {row + broken[0]} holds {block[tuple(broken)]} pixels; "
                "replace them, or leave that image out"
            )
        low, high, row = min(low, float(block.min())), max(high, float(block.max())), row + len(block)
    return low, high


def _blocks(images: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(images), _BLOCK_ROWS):
        yield images[start : start + _BLOCK_ROWS]
