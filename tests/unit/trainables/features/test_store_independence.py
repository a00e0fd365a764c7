"""A trial's result does not depend on whether its features were stored, or in how many bits."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from results.scores.metrics import scores
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet, select_rows
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.models.weights import take_inventory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.cross_validation import CrossValidation

CONFIG = decode(
    {
        "model.backbone": "efficientnet_lite0",
        "input.size_px": 32,
        "model.head.hidden": [8],
        "optimizer.lr": 0.01,
        "training.epochs": 3,
        "training.batch_size": 16,
        "training.augmentation": "flips",
    }
)


@pytest.fixture
def training_data(bright_patches: PatchSet) -> TrainingData:
    task = task_named("benign_malignant")
    split = make_split(
        select_rows(bright_patches, task),
        fingerprint=bright_patches.fingerprint,
        task=task.name,
        folds=3,
        test_share=0.25,
        seed=0,
    )
    return training_data_of(bright_patches, task, split)


@pytest.fixture
def exact(tmp_path: Path) -> TrialRuntime:
    """A store in single precision."""
    inventory = take_inventory(("efficientnet_lite0",), weights_dir=None, may_download=False)
    return TrialRuntime(tmp_path / "store", torch.device("cpu"), inventory.usable, features="float32")


def finished(training_data: TrainingData, runtime: TrialRuntime) -> CrossValidation:
    run = CrossValidation(CONFIG, training_data, runtime, seed=0, score=scores)
    while not run.is_over:
        run.epoch()
    return run


def probabilities(run: CrossValidation) -> np.ndarray:
    assert run.best is not None
    return run.best.probabilities


def value(run: CrossValidation) -> float:
    assert run.best is not None
    return run.best.value


def damage_one(store: Path) -> None:
    path = sorted(store.glob("prefix/*/*/*.npy"))[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def test_a_cold_a_warm_a_missing_and_a_damaged_store_give_the_same_predictions(
    training_data: TrainingData, exact: TrialRuntime
) -> None:
    cold = finished(training_data, exact)
    warm = finished(training_data, exact)
    disabled = finished(
        training_data, dataclasses.replace(exact, features="off", store=Path("/proc/nothing"))
    )
    full = finished(
        training_data, dataclasses.replace(exact, store_gb=0.0, store=exact.store.parent / "full")
    )
    damage_one(exact.store)
    with pytest.warns(UserWarning, match="damaged"):
        damaged = finished(training_data, exact)
    for run in (warm, disabled, full, damaged):
        np.testing.assert_allclose(probabilities(run), probabilities(cold), atol=1e-5, rtol=0)
    counted = [
        (run.feature_use.computed, run.feature_use.rebuilt) for run in (cold, warm, disabled, full, damaged)
    ]
    assert counted == [(4, 0), (0, 0), (4, 0), (4, 0), (1, 1)]
    assert "give a larger --store-gb" in full.feature_use.note
    assert not list((exact.store.parent / "full").rglob("*.npy"))


def test_half_precision_gives_the_same_metric(training_data: TrainingData, exact: TrialRuntime) -> None:
    half = finished(training_data, dataclasses.replace(exact, features="float16"))
    single = finished(training_data, exact)
    assert half.feature_use.computed == single.feature_use.computed == 4
    assert abs(value(half) - value(single)) <= 0.005


def test_what_sharing_saved_can_be_told_of_a_warm_trial(
    training_data: TrainingData, exact: TrialRuntime
) -> None:
    cold, warm = finished(training_data, exact), finished(training_data, exact)
    assert cold.feature_use.computed_seconds > 0.0 == warm.feature_use.computed_seconds
    images = len(training_data.task_rows)
    assert cold.feature_use.computed_seconds == pytest.approx(
        cold.feature_use.seconds_per_image * images * 4, rel=0.01
    )
    assert warm.feature_use.seconds_per_image == pytest.approx(cold.feature_use.seconds_per_image, rel=0.05)
    assert (warm.feature_use.read, cold.feature_use.read) == (8, 8)
