import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from results.scores.metrics import scores
from trainables.common.errors import SplitError
from trainables.config.tasks import task_named
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet, select_rows
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.models.weights import take_inventory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.folds import NanLossError
from trainables.validation.cross_validation import CrossValidation

pytestmark = pytest.mark.slow

FROZEN = {
    "model.backbone": "efficientnet_lite0",
    "input.size_px": 32,
    "model.head.hidden": [8],
    "optimizer.lr": 0.01,
    "training.epochs": 3,
    "training.batch_size": 16,
}
FROM_PIXELS = {
    "model.backbone": "scratch4",
    "model.weights": "random",
    "model.trained_stages": "all",
    "model.head.hidden": [8],
    "training.epochs": 2,
    "training.average_views": False,
}


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
def runtime(tmp_path: Path) -> TrialRuntime:
    inventory = take_inventory(("efficientnet_lite0", "scratch4"), weights_dir=None, may_download=False)
    return TrialRuntime(tmp_path / "store", torch.device("cpu"), inventory.usable)


def validation(
    config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime, seed: int = 0
) -> CrossValidation:
    return CrossValidation(config, training_data, runtime, seed=seed, score=scores)


def finished(
    config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime, seed: int = 0
) -> CrossValidation:
    run = validation(config, training_data, runtime, seed)
    while not run.is_over:
        run.epoch()
    return run


def probabilities(run: CrossValidation) -> np.ndarray:
    assert run.best is not None
    return run.best.probabilities


def test_every_image_of_the_training_part_is_predicted_by_a_model_that_never_saw_it(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    folds = validation(decode(FROZEN), training_data, runtime).folds
    seen = np.zeros(len(training_data.labels), dtype=int)
    for train, held_out in zip(folds.train_positions, folds.held_out, strict=True):
        assert set(training_data.groups[train]).isdisjoint(training_data.groups[held_out])
        seen[held_out] += 1
    assert (seen == 1).all()


def test_the_sealed_test_part_is_not_in_the_material(
    training_data: TrainingData, bright_patches: PatchSet
) -> None:
    assert len(training_data.rows) < len(bright_patches.labels)
    assert set(training_data.folds.tolist()) == {0, 1, 2}


def test_a_split_of_other_data_is_refused(bright_patches: PatchSet) -> None:
    task = task_named("benign_malignant")
    rows = select_rows(bright_patches, task)
    split = make_split(rows, fingerprint="other", task=task.name, folds=3, test_share=0.25, seed=0)
    with pytest.raises(SplitError):
        training_data_of(bright_patches, task, split)


@pytest.mark.parametrize("settings", [FROZEN, FROM_PIXELS], ids=["frozen", "from pixels"])
def test_the_same_seed_gives_the_same_predictions(
    settings: dict[str, object], training_data: TrainingData, runtime: TrialRuntime
) -> None:
    first, again, other = (finished(decode(settings), training_data, runtime, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(probabilities(first), probabilities(again))
    assert not np.array_equal(probabilities(first), probabilities(other))


def test_a_cold_a_warm_and_a_damaged_store_give_the_same_predictions(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    cold = finished(decode(FROZEN), training_data, runtime)
    warm = finished(decode(FROZEN), training_data, runtime)
    for path in runtime.store.rglob("*.npy"):
        if "prefix" in path.parts:
            path.write_bytes(b"nonsense")
    with pytest.warns(UserWarning, match="damaged"):
        damaged = finished(decode(FROZEN), training_data, runtime)
    assert (cold.feature_use.computed, warm.feature_use.computed, damaged.feature_use.computed) == (8, 0, 8)
    np.testing.assert_allclose(probabilities(warm), probabilities(cold), atol=1e-5)
    np.testing.assert_allclose(probabilities(damaged), probabilities(cold), atol=1e-5)


@pytest.mark.parametrize("settings", [FROZEN, FROM_PIXELS], ids=["frozen", "from pixels"])
def test_a_trial_that_goes_on_from_a_checkpoint_ends_where_it_would_have(
    settings: dict[str, object], training_data: TrainingData, runtime: TrialRuntime
) -> None:
    whole = finished(decode(settings), training_data, runtime)
    interrupted = validation(decode(settings), training_data, runtime)
    interrupted.epoch()
    resumed = validation(decode(settings), training_data, runtime)
    resumed.load_state(interrupted.state())
    while not resumed.is_over:
        resumed.epoch()
    np.testing.assert_allclose(probabilities(resumed), probabilities(whole), atol=1e-6)


def test_a_bright_spot_is_learnt(training_data: TrainingData, runtime: TrialRuntime) -> None:
    run = finished(decode({**FROZEN, "training.epochs": 15}), training_data, runtime)
    assert run.best is not None
    assert run.best.value > 0.9


def test_the_last_block_trains_on_its_stored_input(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    run = finished(
        decode({**FROZEN, "model.trained_stages": 1, "training.epochs": 1}), training_data, runtime
    )
    assert (run.feature_use.kind, run.feature_use.stage) == ("stored views", "block7")
    assert run.best is not None
    assert any(name.startswith("trained.conv_head") for name in run.best.weights[0])


def test_a_learning_rate_out_of_all_bounds_is_reported_as_such(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    settings = {
        **FROM_PIXELS,
        "optimizer.name": "sgd",
        "optimizer.lr": 10.0,
        "training.epochs": 20,
        "training.patience": None,
    }
    with pytest.raises(NanLossError, match=r"not finite|the training loss became"):
        finished(decode(settings), training_data, runtime)


def test_a_fold_whose_units_have_died_is_named_and_one_that_calls_all_images_alike_is_not(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    run = validation(decode({**FROZEN, "optimizer.lr": 1e-9}), training_data, runtime)
    for model, changes in enumerate(({"bias": 9.0}, {"bias": 9.0, "weight": 0.0}, {})):
        state = run.folds.models.kept_state(model)
        last = max(name for name in state if name.endswith("bias")).removesuffix("bias")
        changed = {last + name: torch.full_like(state[last + name], value) for name, value in changes.items()}
        run.folds.models.load_kept_state(model, state | changed)
    assert run.epoch().collapsed == (1,)


def test_the_epoch_is_chosen_by_the_mean_validation_loss(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    run = validation(decode({**FROZEN, "training.epochs": 8, "training.patience": 3}), training_data, runtime)
    losses = []
    while not run.is_over:
        losses.append(run.epoch().scalars["loss/validation"])
    assert run.best is not None
    assert run.best.epoch == int(np.argmin(losses)) + 1


def test_labels_do_not_reach_the_stored_features(training_data: TrainingData, runtime: TrialRuntime) -> None:
    finished(decode(FROZEN), training_data, runtime)
    flipped = dataclasses.replace(training_data, labels=1 - training_data.labels)
    assert finished(decode(FROZEN), flipped, runtime).feature_use.computed == 0
