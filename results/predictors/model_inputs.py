"""Inputs of an exported model: images, and baselines and types of findings if its members need them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.common.types import IntArray
from trainables.config.tasks import Task
from trainables.data.patches import PatchSet, select_rows
from trainables.data.split_record import TRAINING
from trainables.data.training_data import TrainingData
from trainables.features.frozen_forward import to_tensor
from trainables.inference.finished_trials import RequiredInputs

BATCH: Final = 8  # images at once; with the eight symmetries 64 pass through a backbone


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """Examples in the form that a module or an exported file takes.

    Attributes:
        raw: Images with raw pixel values, shape (n, H, W) or (n, H, W, 3).
        baseline: Their healthy baselines, of the same shape; None if the model needs none.
        finding_type: Type of each finding, 0 mass or 1 calcification, float32, shape (n,); None if the model
            needs none.
    """

    raw: NDArray[Any]
    baseline: NDArray[Any] | None = None
    finding_type: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.raw)

    def take(self, chosen: Any) -> "ModelInputs":
        """Return the examples at a slice or at positions; a tuple of slices crops the images too."""
        which = chosen[0] if isinstance(chosen, tuple) else chosen
        return ModelInputs(
            self.raw[chosen],
            None if self.baseline is None else self.baseline[chosen],
            None if self.finding_type is None else self.finding_type[which],
        )

    def batches(self) -> Iterator["ModelInputs"]:
        """Yield all examples in order, `BATCH` at a time."""
        for start in range(0, len(self), BATCH):
            yield self.take(slice(start, start + BATCH))

    def tensors(self) -> dict[str, Tensor]:
        """Return the arguments of a module by name; the inputs of an exported file have the same names."""
        found = {"raw": as_model_input(self.raw)}
        if self.baseline is not None:
            found["baseline"] = as_model_input(self.baseline)
        if self.finding_type is not None:
            found["finding_type"] = torch.from_numpy(self.finding_type)
        return found


def inputs_of_rows(patch_set: PatchSet, task: Task, rows: IntArray, needs: RequiredInputs) -> ModelInputs:
    """Return the inputs of a model for rows of a patch set.

    Args:
        patch_set: Images of a search.
        task: Task of the search.
        rows: Rows that take part in the task, shape (n,).
        needs: Inputs that the model requires.

    Raises:
        ConfigError: If an image has no baseline, or its label does not say the type of the finding.
    """
    training_data = _material_of(patch_set, task, rows)
    types = training_data.side_input("human") if needs.finding_type else None
    return ModelInputs(
        patch_set.images[rows],
        patch_set.images[training_data.baselines()] if needs.baseline else None,
        None if types is None else types[:, 0].astype(np.float32),
    )


def as_model_input(raw: NDArray[Any]) -> Tensor:
    """Copy raw pixels into the tensor type that an exported file takes: int32, or float32 for floats."""
    tensor = to_tensor(raw)
    return tensor if tensor.is_floating_point() else tensor.to(torch.int32)


def _material_of(patch_set: PatchSet, task: Task, rows: IntArray) -> TrainingData:
    """Training data of the given rows, in their order, with no row held out."""
    selected = select_rows(patch_set, task)
    places = np.searchsorted(selected.rows, rows)
    return TrainingData(
        patch_set=patch_set,
        task_rows=rows,
        positions=np.arange(len(rows)),
        labels=selected.labels[places],
        groups=selected.groups[places],
        folds=np.full(len(rows), TRAINING),
        classes=len(task.classes),
    )
