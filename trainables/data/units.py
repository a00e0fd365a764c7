"""Units of a set: the images of one breast, exam or patient, which are split and scored together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.types import IntArray
from trainables.config.tasks import Task
from trainables.config.unit_config import PLURALS, UnitName
from trainables.data.columns import Columns
from trainables.data.patches import PatchSet, TaskRows

TextArray = NDArray[np.str_]

# Columns that name the unit besides the patient. A patient without an `exam` column has had one exam.
_NEEDED: Final = {"breast": ("laterality",), "exam": ("exam",), "patient": ()}
_OPTIONAL: Final = {"breast": ("exam",), "exam": (), "patient": ()}


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """What the scores of a search are computed on: the held-out images, or the units that they make up.

    Attributes:
        rows: Row of the image, or of the first image of the unit, in the patch set, shape (n,).
        labels: Class index; of a unit the largest of its images, shape (n,).
        folds: 0-based fold that holds it out; below 0 for images that no fold holds out, shape (n,).
        groups: Patient, shape (n,).
    """

    rows: IntArray
    labels: IntArray
    folds: IntArray
    groups: TextArray


def units_of(patch_set: PatchSet, rows: TaskRows, unit: UnitName, task: Task) -> IntArray | None:
    """Number the units of the rows of a task, in order of their first images.

    Args:
        patch_set: The whole set, whose columns name the units.
        rows: Rows of the set that have a part in the task.
        unit: Unit of the search.
        task: Task of the search.

    Returns:
        0-based unit of each row, shape (n,); None for single images.

    Raises:
        DataError: If patients or a column are missing, a value is unknown, or a unit of a task of several
            classes without an order has images of different classes.
    """
    if unit == "image":
        return None
    names = _names(patch_set, rows, unit)
    units = numbered(names)
    if len(task.classes) > 2 and not task.is_ordinal:
        _check_one_class(units, rows.labels, unit, task)
    return units


def with_units(patch_set: PatchSet, rows: TaskRows, unit: UnitName, task: Task) -> TaskRows:
    """Return rows that know their units, so that a split of them has two classes of units in each part.

    Args:
        patch_set: The whole set, whose columns name the units.
        rows: Rows of the set that have a part in the task.
        unit: Unit of the search.
        task: Task of the search.

    Raises:
        DataError: If the set does not tell the units of its images, see `units_of`.
    """
    return replace(rows, units=units_of(patch_set, rows, unit, task))


def only_class_of_units(rows: TaskRows, chosen: NDArray[np.bool_], classes: Sequence[str]) -> str | None:
    """Return the class that all units of some rows have, so that nothing can be scored on them.

    Args:
        rows: Rows of the task.
        chosen: True for the rows of a part of a split, which cuts no unit, shape (n,).
        classes: Names of the classes, in the order of their labels.

    Returns:
        Name of the class; None where there are two or more, no chosen row, or no units.
    """
    if rows.units is None or not chosen.any():
        return None
    most = labels_of_units(rows.labels[chosen], rows.units[chosen])
    return None if np.ptp(most) > 0 else classes[int(most[0])]


def numbered(names: NDArray[np.generic]) -> IntArray:
    """Number equal values from 0, in order of their first places.

    >>> numbered(np.array(["b", "a", "b", "c"])).tolist()
    [0, 1, 0, 2]
    """
    _, first, place = np.unique(names, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[place.reshape(-1)]


def labels_of_units(labels: IntArray, units: IntArray) -> IntArray:
    """Return the label of each unit, the largest of its images, in the order of the units' numbers.

    Args:
        labels: Class indices, shape (images,).
        units: Unit of each image, any whole numbers, shape (images,).

    >>> labels_of_units(np.array([0, 1, 0]), np.array([7, 7, 3])).tolist()
    [0, 1]
    """
    names, unit = np.unique(units, return_inverse=True)
    most = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(most, unit, labels)
    return most


def scored_units(
    rows: IntArray, labels: IntArray, folds: IntArray, groups: TextArray, units: IntArray | None
) -> ScoredRows:
    """Return the units that held-out images make up; without units, the images themselves.

    Args:
        rows: Row of each image in the patch set, shape (images,).
        labels: Class indices, shape (images,).
        folds: Fold of each image, shape (images,).
        groups: Patient of each image, shape (images,).
        units: Unit of each image, shape (images,), or None.
    """
    if units is None:
        return ScoredRows(rows, labels, folds, groups)
    held_out = np.flatnonzero(folds >= 0)
    unit = numbered(units[held_out])
    _, first = np.unique(unit, return_index=True)
    chosen = held_out[first]
    return ScoredRows(rows[chosen], labels_of_units(labels[held_out], unit), folds[chosen], groups[chosen])


def images_of_units(rows: TaskRows, units: IntArray, first_rows: IntArray) -> tuple[IntArray, IntArray]:
    """Return all images of some units; extra images, which are never scored, are no part of a unit.

    Args:
        rows: Rows of the set that have a part in the task.
        units: Unit of each of them, shape (n,).
        first_rows: Row of the first image of each wanted unit, shape (k,).

    Returns:
        Rows of the images, unit by unit, and the 0-based place in `first_rows` of each, shape (m,) each.
    """
    scored = np.ones(len(units), dtype=bool) if rows.is_extra is None else ~rows.is_extra
    by_unit: dict[int, list[int]] = {}
    for place in np.flatnonzero(scored):
        by_unit.setdefault(int(units[place]), []).append(int(rows.rows[place]))
    wanted = [by_unit[int(units[place])] for place in np.searchsorted(rows.rows, first_rows)]
    places = np.repeat(np.arange(len(wanted)), [len(images) for images in wanted])
    return np.array([row for images in wanted for row in images], dtype=np.int64), places


def check_whole(rows: TaskRows, units: IntArray, folds: IntArray, unit: UnitName) -> None:
    """Refuse a split that cuts a unit: images of it in several folds, or on both sides of the test part.

    Args:
        rows: Rows of the set that have a part in the task; extra ones are no part of a unit.
        units: Unit of each row, shape (n,).
        folds: Fold of each row, `TEST` or `TRAINING`, shape (n,).
        unit: Unit of the search.

    Raises:
        DataError: If a unit is cut.
    """
    scored = np.ones(len(units), dtype=bool) if rows.is_extra is None else ~rows.is_extra
    parts = np.unique(np.stack([units[scored], folds[scored]]), axis=1)
    cut = int((np.bincount(parts[0]) > 1).sum())
    if cut:
        raise DataError(
            f"--unit {unit} keeps the images of a unit together, and this split cuts {cut} "
            f"{PLURALS[unit]}: leave --naive-split out, or mend the set's own test part, so that no patient "
            "lies on both sides"
        )


def _names(patch_set: PatchSet, rows: TaskRows, unit: UnitName) -> TextArray:
    if patch_set.patients is None:
        raise DataError(
            f"--unit {unit} needs the patient of each image, which {patch_set.source} does not have; give "
            "patients, or search with --unit image"
        )
    parts = [patch_set.patients[rows.rows]]
    for name in _NEEDED[unit]:
        parts.append(_column(patch_set, rows, unit, name))
    for name in _OPTIONAL[unit]:
        if name in (patch_set.columns or {}):
            parts.append(_column(patch_set, rows, unit, name))
    return np.array(["\x1f".join(one) for one in zip(*(part.tolist() for part in parts), strict=True)])


def _column(patch_set: PatchSet, rows: TaskRows, unit: UnitName, name: str) -> TextArray:
    columns: Columns = patch_set.columns or {}
    if name not in columns:
        known = ", ".join(sorted(columns)) or "none"
        raise DataError(
            f"--unit {unit} needs the column {name}, one value an image; {patch_set.source} has the columns: "
            f"{known}. Add an array {name} to the .npz file, prepare the set with its table, or search with "
            "--unit image or patient"
        )
    values = columns[name][rows.rows]
    is_known = values != "" if values.dtype.kind == "U" else np.isfinite(values)
    if not is_known.all():
        raise DataError(
            f"--unit {unit} needs {name} of every image; {int((~is_known).sum())} of {len(values)} images of "
            f"{patch_set.source} have none, the first is row {rows.rows[np.flatnonzero(~is_known)[0]]}. Fill "
            "them in, or leave those images out"
        )
    return values.astype(np.str_)


def _check_one_class(units: IntArray, labels: IntArray, unit: UnitName, task: Task) -> None:
    both = np.unique(np.stack([units, labels]), axis=1)
    several = int((np.bincount(both[0]) > 1).sum())
    if several:
        raise DataError(
            f"{several} {PLURALS[unit]} have images of several classes of {task.name}, which have no order "
            f"of degree, so that a {unit} has no class: search with --unit image, or a task of two classes"
        )
