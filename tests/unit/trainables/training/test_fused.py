"""Fused and sequential models of a trial are the same computation."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from split_data import split_in_three

from results.scores.metrics import scores
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet
from trainables.data.training_data import TrainingData
from trainables.features.loading import open_features
from trainables.models.weights import take_inventory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.fused import can_fuse
from trainables.training.initialisation import build_models
from trainables.training.random_streams import epoch_order, resampled
from trainables.validation.cross_validation import CrossValidation

pytestmark = pytest.mark.slow

FROZEN = {
    "model.backbone": "efficientnet_lite0",
    "input.size_px": 32,
    "model.head.hidden": "8",
    "optimizer.lr": 0.003,
    "training.epochs": 2,
    "training.batch_size": 16,
}
# Double-precision convolutions are slow, so what trains stages is cut early.
SHALLOW = {**FROZEN, "model.cut": "block2", "training.average_views": False, "training.augmentation": "none"}
SCRATCH = {
    "model.backbone": "scratch4",
    "model.weights": "random",
    "model.trained_stages": "all",
    "model.head.hidden": "8",
    "training.epochs": 1,
    "training.batch_size": 16,
    "training.average_views": False,
}
CASES = {
    "linear head": {**FROZEN, "model.head.hidden": "none"},
    "two hidden layers with dropout": {**FROZEN, "model.head.hidden": "12-8", "model.head.dropout": 0.5},
    "batch normalisation": {**FROZEN, "model.head.batch_norm": True, "model.head.dropout": 0.2},
    "flattened map": {**FROZEN, "model.head.pooling": "flatten"},
    "class weights": {**FROZEN, "training.class_weight": "balanced", "training.label_smoothing": 0.1},
    "noise, dropped channels and mixing": {
        **FROZEN,
        "training.feature_noise": 0.3,
        "training.feature_dropout": 0.2,
        "training.mixup": 0.4,
    },
    "repeats": {**FROZEN, "training.repeats": 2, "model.head.dropout": 0.3},
    "folds that stop by themselves": {
        **FROZEN,
        "training.early_stopping_scope": "fold",
        "training.patience": 1,
        "training.epochs": 8,
        "optimizer.lr": 0.3,
    },
    "folds that stop while the learning rate follows the mean curve": {
        **FROZEN,
        "training.early_stopping_scope": "fold",
        "training.patience": 2,
        "training.epochs": 9,
        "optimizer.schedule": "plateau",
        "optimizer.step_epochs": 2,
        "optimizer.lr": 0.3,
    },
    "last block": {**SHALLOW, "model.trained_stages": 1, "optimizer.stage_lr_factor": 0.1},
    "two last blocks": {**SHALLOW, "model.trained_stages": 2, "training.epochs": 1},
    "from scratch": SCRATCH,
    "1x1 convolution below frozen stages": {**SHALLOW, "model.channels": "conv1x1", "training.epochs": 1},
    "over-sampling, two logits, L1": {
        **FROZEN,
        "training.sampling": "over",
        "model.head.output": "softmax",
        "optimizer.l1": 1e-4,
    },
    "rmsprop": {**FROZEN, "optimizer.name": "rmsprop", "optimizer.schedule": "step"},
    "sgd": {**FROZEN, "optimizer.name": "sgd", "optimizer.momentum": 0.9, "optimizer.weight_decay": 0.01},
    "adadelta": {**FROZEN, "optimizer.name": "adadelta", "optimizer.lr": 1.0},
}


PAIRS = {
    "difference of pairs": {**FROZEN, "model.pair": "diff", "training.feature_dropout": 0.2},
    "pairs through a shared layer": {**FROZEN, "model.pair": "concat", "model.head.branch": "6"},
    "pairs from pixels": {**SCRATCH, "model.pair": "absdiff", "training.augmentation": "d4"},
    "the type of the finding": {**FROZEN, "model.type_input": "human", "training.mixup": 0.3},
    "augmentation in the last epoch": {**FROZEN, "training.augment_last": 1, "training.mixup": 0.3},
    "a head that was trained first": {
        **SHALLOW,
        "model.trained_stages": 1,
        "training.first_phase": "head",
        "training.first_phase_epochs": 1,
    },
    "stages that rest after a first phase": {
        **SHALLOW,
        "model.trained_stages": 1,
        "training.first_phase": "five_class",
        "training.first_phase_epochs": 1,
        "training.first_phase_freezes": True,
    },
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def training_data(bright_patches: PatchSet) -> TrainingData:
    return split_in_three(bright_patches)


@pytest.fixture
def pairs(paired_patches: PatchSet) -> TrainingData:
    return split_in_three(paired_patches)


@pytest.fixture
def runtime(store: Path) -> TrialRuntime:
    inventory = take_inventory(("efficientnet_lite0", "scratch4"), weights_dir=None, may_download=False)
    return TrialRuntime(store, torch.device("cpu"), inventory.usable, dtype=torch.float64)


def finished(
    config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime, mode: str
) -> CrossValidation:
    run = CrossValidation(
        config, training_data, dataclasses.replace(runtime, fusion=mode), seed=3, score=scores
    )
    assert run.folds.models.mode == mode
    while not run.is_over:
        run.epoch()
    return run


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES.keys())
def test_fused_and_sequential_models_agree_to_1e_5_in_double_precision(
    settings: dict[str, object], training_data: TrainingData, runtime: TrialRuntime
) -> None:
    assert_same_by_both_ways(decode(settings), training_data, runtime)


@pytest.mark.parametrize("settings", PAIRS.values(), ids=PAIRS.keys())
def test_fused_and_sequential_models_of_pairs_and_phases_agree(
    settings: dict[str, object], pairs: TrainingData, runtime: TrialRuntime
) -> None:
    assert_same_by_both_ways(decode(settings), pairs, runtime)


def assert_same_by_both_ways(config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime) -> None:
    one, other = (finished(config, training_data, runtime, mode) for mode in ("sequential", "fused"))
    assert one.best is not None
    assert other.best is not None
    assert one.best.epoch == other.best.epoch
    np.testing.assert_allclose(other.best.probabilities, one.best.probabilities, atol=1e-5)
    for expected, found in zip(one.best.weights, other.best.weights, strict=True):
        assert list(expected) == list(found)
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=1e-5, msg=lambda text: text)


def test_a_fused_trial_goes_on_from_a_checkpoint_where_it_was(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    config = decode({**FROZEN, "training.epochs": 3, "model.head.dropout": 0.5})
    whole = finished(config, training_data, runtime, "fused")
    begun = CrossValidation(
        config, training_data, dataclasses.replace(runtime, fusion="fused"), seed=3, score=scores
    )
    begun.epoch()
    # The machine that goes on may have chosen otherwise; the checkpoint says how its models ran.
    elsewhere = dataclasses.replace(runtime, fusion="sequential")
    resumed = CrossValidation(config, training_data, elsewhere, seed=3, score=scores)
    resumed.load_state(begun.state())
    while not resumed.is_over:
        resumed.epoch()
    assert resumed.folds.models.mode == "fused"
    assert whole.best is not None
    assert resumed.best is not None
    np.testing.assert_allclose(resumed.best.probabilities, whole.best.probabilities, atol=1e-9)


def test_a_fold_that_has_stopped_neither_changes_nor_fails_the_others(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    config = decode({**FROZEN, "model.head.batch_norm": True, "optimizer.name": "adam"})
    features, _ = open_features(config, training_data, runtime)
    sequential, fused = (
        build_models(config, training_data, runtime, features=features, seed=3, mode=mode)
        for mode in ("sequential", "fused")
    )
    for folds in (sequential, fused):
        folds.train_epoch(0, active=[True] * 3)
    before = fused.models.kept_state(1)
    broken = {
        name: tensor * torch.nan if tensor.is_floating_point() else tensor for name, tensor in before.items()
    }
    losses = [folds.train_epoch(1, active=[True, False, True]) for folds in (sequential, fused)]
    torch.testing.assert_close(fused.models.kept_state(1), before, rtol=0, atol=0)
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-5)
    np.testing.assert_allclose(fused.predict(), sequential.predict(), atol=1e-5)
    fused.models.load_kept_state(1, broken)
    losses = [folds.train_epoch(2, active=[True, False, True]) for folds in (sequential, fused)]
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-5)
    for model in (0, 2):
        torch.testing.assert_close(
            fused.models.kept_state(model), sequential.models.kept_state(model), rtol=1e-5, atol=1e-5
        )


def test_a_fold_that_has_stopped_keeps_its_own_epoch(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    run = finished(decode(CASES["folds that stop by themselves"]), training_data, runtime, "fused")
    kept = [own for own in run.record.kept if own is not None]
    assert len({own.epoch for own in kept}) > 1
    assert run.best is not None
    assert run.best.epoch == max(own.epoch for own in kept)
    assert run.best.value == pytest.approx(np.mean([own.metrics["auc"] for own in kept]))


def test_repeats_are_other_models_whose_predictions_are_averaged(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    run = finished(decode({**FROZEN, "training.repeats": 2}), training_data, runtime, "sequential")
    assert run.best is not None
    assert len(run.best.weights) == 6
    first, second = run.best.weights[:2]
    assert not torch.equal(first["head.2.weight"], second["head.2.weight"])


def test_the_choice_is_measured_once_and_then_read(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    config = decode({**FROZEN, "model.head.hidden": "24"})
    auto = dataclasses.replace(runtime, fusion="auto")
    mode = CrossValidation(config, training_data, auto, seed=0, score=scores).folds.models.mode
    files = set((runtime.store / "fusion").iterdir())
    assert files
    for file in files:
        other = "sequential" if mode == "fused" else "fused"
        file.write_text(f'{{"how": "{other}"}}')
    assert CrossValidation(config, training_data, auto, seed=0, score=scores).folds.models.mode == other
    assert set((runtime.store / "fusion").iterdir()) == files
    for file in files:
        file.unlink()


def test_a_head_with_an_unknown_layer_is_not_fused(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    run = CrossValidation(decode(FROZEN), training_data, runtime, seed=0, score=scores)
    part = run.folds.models.part if hasattr(run.folds.models, "part") else run.folds.models.parts[0]
    assert can_fuse(part)
    part.head.append(torch.nn.Softplus())
    assert not can_fuse(part)


def test_resampling_balances_the_classes_of_what_it_is_given() -> None:
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    images = np.array([0, 1, 2, 3, 4, 6, 7])
    generator = torch.Generator().manual_seed(0)
    over = resampled(images, labels, "over", generator)
    under = resampled(images, labels, "under", generator)
    assert np.bincount(labels[over]).tolist() == [5, 5]
    assert set(over) == set(images)
    assert np.bincount(labels[under]).tolist() == [2, 2]
    assert set(under) <= set(images)


def test_an_epoch_shows_every_image_before_any_image_twice() -> None:
    generator = torch.Generator().manual_seed(0)
    order = epoch_order(np.arange(10, 15), 8, generator)
    assert sorted(order[:5]) == [10, 11, 12, 13, 14]
    assert len(order) == 8
    assert len(set(order[5:])) == 3
