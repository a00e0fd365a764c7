"""What an audit looks at: the rows of a set, their parts, and what is known about each image."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.text import printable
from trainables.common.types import IntArray
from trainables.config.tasks import Task
from trainables.data.columns import Columns
from trainables.data.patches import PatchSet, TaskRows, select_rows
from trainables.data.split_record import TEST, Split

NO_PART: Final = -3  # of rows that no part was found for
_LONGEST_NAME: Final = 60  # characters of a name in a finding


@dataclass(frozen=True, slots=True)
class ExaminedSet:
    """A patch set with a task and a split, as an audit sees it.

    Attributes:
        patch_set: The images.
        task: The task.
        rows: Rows that have a part in the task.
        parts: Fold of each of the rows, or `TEST` or `TRAINING`, shape (n,).
        columns: What is known about each image of the patch set; column -> values, shape (N,).
    """

    patch_set: PatchSet
    task: Task
    rows: TaskRows
    parts: IntArray
    columns: Columns

    @classmethod
    def of(cls, patch_set: PatchSet, task: Task, split: Split | None) -> "ExaminedSet":
        """Return a set as an audit sees it.

        Args:
            patch_set: The images.
            task: The task.
            split: Split of the task's rows; None where none can be made.

        Raises:
            OneClassError: If fewer than two classes of the task are there.
        """
        rows = select_rows(patch_set, task)
        return cls(patch_set, task, rows, parts_of(rows, split), columns_of(patch_set))

    @property
    def training(self) -> IntArray:
        """Places in `rows` outside the sealed test part and the extra rows, shape (m,)."""
        extra = self.rows.is_extra
        is_training = self.parts != TEST
        return np.flatnonzero(is_training if extra is None else is_training & ~extra)

    def name(self, row: int) -> str:
        """Name of an image of the patch set, with its patient where patients are known.

        Args:
            row: Row of the patch set.
        """
        names = self.patch_set.names or self.columns.get("name", ())
        name = printable(str(names[row]), keeps="") if len(names) else f"row {row}"
        if len(name) > _LONGEST_NAME:
            name = f"...{name[-_LONGEST_NAME:]}"
        patients = self.patch_set.patients
        return name if patients is None else f"{name} (patient {printable(str(patients[row]), keeps='')})"

    def column(self, name: str) -> NDArray[Any] | None:
        """Values of a column for the rows of the task; None where the column is not there, or says nothing.

        Args:
            name: Name of the column.
        """
        values = self.columns.get(name)
        if values is None:
            return None
        of_rows = np.asarray(values)[self.rows.rows]
        return of_rows if is_known(of_rows).any() else None


def columns_of(patch_set: PatchSet) -> Columns:
    """Return what is known about each image of a set; column -> values, shape (N,)."""
    columns = dict(patch_set.columns or {})
    if patch_set.file_shapes is not None:
        height, width = patch_set.file_shapes.T.astype(np.float64)
        columns = {"height_px": height, "width_px": width} | columns
    return columns


def is_known(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which values are known: not an empty text, and not NaN.

    Args:
        values: Texts or numbers, shape (n,).

    >>> is_known(np.array(["L", ""])).tolist(), is_known(np.array([np.nan, 2.0])).tolist()
    ([True, False], [False, True])
    """
    if values.dtype.kind == "f":
        return ~np.isnan(values)
    return np.asarray(values.astype(str) != "", dtype=bool)


def parts_of(rows: TaskRows, split: Split | None) -> IntArray:
    """Return the part of each row: by the split, else the test part that the data bring.

    Args:
        rows: Rows of the task.
        split: Their split; None where none can be made.
    """
    if split is not None:
        return split.folds_of(rows)
    parts = np.full(len(rows.rows), NO_PART, dtype=np.int64)
    if rows.is_test is not None:
        parts[rows.is_test] = TEST
    return parts
