"""What trials are made of: the training part of a data set, and the place where they run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.data.patches import PatchSet, select_rows
from trainables.data.splits import TEST, Split
from trainables.models.weights import WeightsFile
from trainables.prefix.keys import FeatureStorage, Tap
from trainables.tasks import Task

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Material:
    """The training part of a data set, as a trial sees it: the sealed test part is not in it.

    Attributes:
        patch_set: Images.
        task_rows: Every row with a part in the task, which is what features are stored of.
        positions: Places of the training part in `task_rows`, shape (images,).
        labels: Class indices of the training part, shape (images,).
        groups: Patients of the training part, shape (images,).
        folds: 0-based fold of each image of the training part, shape (images,).
        classes: Number of classes.
    """

    patch_set: PatchSet
    task_rows: IntArray
    positions: IntArray
    labels: IntArray
    groups: NDArray[np.str_]
    folds: IntArray
    classes: int

    @property
    def rows(self) -> IntArray:
        """Rows of the training part in the patch set, shape (images,)."""
        return self.task_rows[self.positions]


def prepare(patch_set: PatchSet, task: Task, split: Split) -> Material:
    """Take the training part of a patch set.

    Raises:
        SplitError: If the split was made for other data.
    """
    split.verify(patch_set.fingerprint)
    rows = select_rows(patch_set, task)
    folds = split.fold_of(rows.groups)
    positions = np.flatnonzero(folds != TEST)
    return Material(
        patch_set=patch_set,
        task_rows=rows.rows,
        positions=positions,
        labels=rows.labels[positions],
        groups=rows.groups[positions],
        folds=folds[positions],
        classes=len(task.classes),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a trial runs.

    Attributes:
        store: Folder of the prefix store.
        features: Number type that stored features have; `off` stores none and computes them for each trial.
        store_gb: Most that stored features may take on disk, in 10^9 bytes; None for a rule.
        shared_store: Folder from which nodes copy features that others computed; None where there is none.
        device: Where it computes.
        weights: Pretrained file of each usable backbone; None for nets trained from scratch.
        taps: For each backbone, the features to fill whenever it runs.
        dtype: Of weights and batches.
        fusion: Whether the models of a trial run fused, one after the other, or as measured.
    """

    store: Path
    device: torch.device
    weights: dict[str, WeightsFile | None]
    taps: dict[str, tuple[Tap, ...]] = field(default_factory=dict)
    features: FeatureStorage = "float16"
    store_gb: float | None = None
    shared_store: Path | None = None
    dtype: torch.dtype = torch.float32
    fusion: Literal["auto", "fused", "sequential"] = "auto"
