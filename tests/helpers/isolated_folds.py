"""What tests of a process for each fold share: two small configurations, material, and processes to watch."""

import os
from pathlib import Path

import pytest
import torch

from trainables.config.tasks import task_named
from trainables.data.patches import PatchSet, select_rows
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.models.weights import take_inventory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation import isolated
from trainables.validation.fold_process import FoldProcess, FoldTask

FROZEN = {
    "model.backbone": "efficientnet_lite0",
    "input.size_px": 32,
    "model.head.hidden": [8],
    "model.head.dropout": 0.3,
    "optimizer.lr": 0.01,
    "training.epochs": 3,
    "training.batch_size": 16,
}
FROM_PIXELS = {
    "model.backbone": "scratch4",
    "model.weights": "random",
    "model.trained_stages": "all",
    "model.head.hidden": [8],
    "training.epochs": 1,
    "training.average_views": False,
}


def material_of(patches: PatchSet, *, folds: int = 3) -> TrainingData:
    task = task_named("benign_malignant")
    split = make_split(
        select_rows(patches, task),
        fingerprint=patches.fingerprint,
        task=task.name,
        folds=folds,
        test_share=0.25,
        seed=0,
        holdout=0.25 if folds == 1 else None,
    )
    return training_data_of(patches, task, split)


def place_in(store: Path) -> TrialRuntime:
    inventory = take_inventory(("efficientnet_lite0", "scratch4"), weights_dir=None, may_download=False)
    return TrialRuntime(store, torch.device("cpu"), inventory.usable, features="float32", fusion="sequential")


def watch_processes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the processes that folds are trained in, as they start."""
    found: list[int] = []

    class Watched(FoldProcess):
        def __init__(self, task: FoldTask) -> None:
            super().__init__(task)
            assert self.pid is not None
            found.append(self.pid)

    monkeypatch.setattr(isolated, "FoldProcess", Watched)
    return found


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
