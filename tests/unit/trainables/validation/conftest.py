"""Data and a place for trials of classical models."""

from pathlib import Path

import pytest
import torch
from classical_trials import material_of

from trainables.config.tasks import task_named
from trainables.data.patches import PatchSet
from trainables.data.sources import load_patch_set
from trainables.data.training_data import TrainingData
from trainables.models.weights import find_weights
from trainables.runtime.trial_runtime import TrialRuntime


@pytest.fixture
def wisconsin(tmp_path: Path) -> TrainingData:
    task = task_named("wisconsin")
    patch_set, _ = load_patch_set("wisconsin", task=task, label_codes=None, store=tmp_path)
    return material_of(patch_set, task.name)


@pytest.fixture
def bright(bright_patches: PatchSet) -> TrainingData:
    return material_of(bright_patches, "benign_malignant", test_share=0.25)


@pytest.fixture
def runtime(tmp_path: Path) -> TrialRuntime:
    file = find_weights("efficientnet_lite0", weights_dir=None, may_download=False)
    return TrialRuntime(tmp_path / "store", torch.device("cpu"), {"table": None, "efficientnet_lite0": file})
