"""Pairs with a baseline, the type of the finding, first phases, and starts from finished trials."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from split_data import split_in_three

from results.scores.metrics import scores
from search_spaces.enqueue import InitialPoint
from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet
from trainables.data.training_data import TrainingData
from trainables.features.loading import open_features
from trainables.models.weights import take_inventory
from trainables.runtime.trial_runtime import TrialRuntime, WarmStart
from trainables.training.initialisation import train_first_phase
from trainables.validation.cross_validation import CrossValidation

pytestmark = pytest.mark.slow

FROZEN = {
    "model.backbone": "efficientnet_lite0",
    "input.size_px": 32,
    "model.head.hidden": "16",
    "optimizer.lr": 0.01,
    "training.epochs": 12,
    "training.batch_size": 16,
}
SCRATCH = {
    "model.backbone": "scratch:blocks=2,filters=16",
    "model.weights": "random",
    "model.trained_stages": "all",
    "model.head.hidden": "8",
    "training.epochs": 1,
    "training.average_views": False,
    "training.augmentation": "none",
}


@pytest.fixture
def training_data(paired_patches: PatchSet) -> TrainingData:
    return split_in_three(paired_patches)


@pytest.fixture
def runtime(tmp_path: Path) -> TrialRuntime:
    inventory = take_inventory(
        ("efficientnet_lite0", "scratch:blocks=2,filters=16"), weights_dir=None, may_download=False
    )
    return TrialRuntime(tmp_path / "features", torch.device("cpu"), inventory.usable)


def run(config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime) -> CrossValidation:
    validation = CrossValidation(config, training_data, runtime, seed=1, score=scores)
    while not validation.is_over:
        validation.epoch()
    return validation


def auc(validation: CrossValidation) -> float:
    assert validation.best is not None
    return validation.best.value


def test_a_pair_shows_what_an_image_by_itself_does_not(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    from_pixels = {**SCRATCH, "training.epochs": 20, "optimizer.lr": 0.003, "training.batch_size": 8}
    alone = run(decode(from_pixels), training_data, runtime)
    paired = run(decode({**from_pixels, "model.pair": "diff"}), training_data, runtime)
    assert auc(paired) > auc(alone) + 0.15


@pytest.mark.parametrize("policy", ["d4", "affine"])
def test_both_images_of_a_pair_are_seen_in_the_same_view(
    policy: str, training_data: TrainingData, runtime: TrialRuntime
) -> None:
    twins = _with_baselines_like_their_abnormality(training_data)
    config = decode({**FROZEN, "model.pair": "diff", "training.augmentation": policy})
    features, _ = open_features(config, twins, runtime)
    draws = [torch.Generator().manual_seed(0)]
    batch = features.for_training(np.arange(8)[None], draws)
    assert batch.shape[:3] == (1, 8, 2)
    torch.testing.assert_close(batch[:, :, 0], batch[:, :, 1])


@pytest.mark.parametrize("policy", ["d4", "affine", "e002"])
def test_both_images_of_a_pair_from_pixels_are_augmented_alike(
    policy: str, training_data: TrainingData, runtime: TrialRuntime
) -> None:
    twins = _with_baselines_like_their_abnormality(training_data)
    config = decode({**SCRATCH, "model.pair": "diff", "training.augmentation": policy})
    features, _ = open_features(config, twins, runtime)
    batch = features.for_training(np.arange(8)[None], [torch.Generator().manual_seed(0)])
    other = features.for_training(np.arange(8)[None], [torch.Generator().manual_seed(1)])
    assert not torch.equal(batch, other)
    torch.testing.assert_close(batch[:, :, 0], batch[:, :, 1])


def _with_baselines_like_their_abnormality(training_data: TrainingData) -> TrainingData:
    """The same material with every baseline's pixels replaced by those of its abnormality."""
    images = np.array(training_data.patch_set.images)
    images[0::2] = images[1::2]
    other = dataclasses.replace(training_data.patch_set, images=images, fingerprint="f" * 64)
    return dataclasses.replace(training_data, patch_set=other)


def test_pairs_share_the_features_of_their_abnormalities_with_single_images(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    _, alone = open_features(decode(FROZEN), training_data, runtime)
    _, paired = open_features(decode({**FROZEN, "model.pair": "diff"}), training_data, runtime)
    assert alone.computed > 0
    assert paired.computed == alone.computed  # the baselines only


def test_images_without_a_baseline_make_no_pairs(bright_patches: PatchSet, runtime: TrialRuntime) -> None:
    with pytest.raises(ConfigError, match=r"healthy baseline for every image; 36 of 36|48 of 48"):
        open_features(decode({**FROZEN, "model.pair": "diff"}), split_in_three(bright_patches), runtime)


def test_the_type_of_the_finding_reaches_the_head(training_data: TrainingData, runtime: TrialRuntime) -> None:
    told = dataclasses.replace(training_data, type_probability=training_data.labels.astype(np.float64))
    config = {**FROZEN, "model.type_input": "probability", "model.head.hidden": "none", "training.epochs": 30}
    untold = run(decode({**config, "model.type_input": "none"}), training_data, runtime)
    assert auc(run(decode(config), told, runtime)) > auc(untold) + 0.15  # it is told the answer itself


def test_the_type_as_people_labelled_it_is_read_from_the_codes(training_data: TrainingData) -> None:
    codes = training_data.patch_set.labels[training_data.rows]
    assert training_data.side_input("human") is not None
    np.testing.assert_array_equal(training_data.side_input("human")[:, 0], np.isin(codes, (3, 4)))


def test_a_hard_type_is_a_rounded_probability(training_data: TrainingData) -> None:
    told = dataclasses.replace(training_data, type_probability=np.full(len(training_data.labels), 0.7))
    np.testing.assert_array_equal(told.side_input("hard"), np.ones((len(training_data.labels), 1)))


def test_a_predicted_type_needs_a_trial_that_predicts_it(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    config = decode({**FROZEN, "model.type_input": "probability"})
    with pytest.raises(ConfigError, match="--type-from RUN"):
        CrossValidation(config, training_data, runtime, seed=0, score=scores)


def test_a_first_phase_on_the_head_is_what_the_second_starts_with(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    config = decode(
        {
            **FROZEN,
            "model.trained_stages": 1,
            "model.cut": "block2",
            "training.average_views": False,
            "training.first_phase": "head",
            "training.first_phase_epochs": 20,
            "optimizer.lr": 0.01,
            "optimizer.stage_lr_factor": 1e-9,
            "training.epochs": 1,
        }
    )
    without = config.model_copy(
        update={"training": config.training.model_copy(update={"first_phase": "none"})}
    )
    one, other = (run(given, training_data, runtime) for given in (config, without))
    assert one.record.losses[0] < other.record.losses[0]


def test_stages_of_another_task_are_taken_over_and_may_rest(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    settings = {**SCRATCH, "training.first_phase": "five_class", "training.first_phase_epochs": 2}
    resting = decode({**settings, "training.first_phase_freezes": True})
    states = train_first_phase(resting, training_data, runtime, seed=1)
    finished = run(resting, training_data, runtime)
    assert finished.best is not None
    assert len(states) == len(finished.best.weights) == 3
    for learnt, kept in zip(states, finished.best.weights, strict=True):
        assert learnt
        for name, tensor in learnt.items():
            torch.testing.assert_close(kept[name], tensor)
    moving = run(decode(settings), training_data, runtime)
    assert moving.best is not None
    name = next(name for name in states[0] if name.endswith("weight"))
    assert not torch.equal(moving.best.weights[0][name], states[0][name])


def test_a_phase_without_codes_is_refused(bright_patches: PatchSet, runtime: TrialRuntime) -> None:
    config = decode({**SCRATCH, "training.first_phase": "five_class"})
    validation = CrossValidation(config, split_in_three(bright_patches), runtime, seed=0, score=scores)
    with pytest.raises(ConfigError, match="finding codes"):
        validation.epoch()


def test_each_fold_starts_from_the_same_fold_of_the_finished_trial(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    first = run(decode(SCRATCH), training_data, runtime)
    assert first.best is not None
    started = dataclasses.replace(runtime, start=WarmStart(first.config, first.best.weights))
    config = decode({**SCRATCH, "model.weights": "start", "model.start_head": True})
    again = CrossValidation(config, training_data, started, seed=5, score=scores)
    np.testing.assert_allclose(again.folds.predict(), first.best.probabilities, atol=1e-6)


def test_a_start_may_be_frozen_and_is_then_kept_whole(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    first = run(decode(SCRATCH), training_data, runtime)
    assert first.best is not None
    started = dataclasses.replace(runtime, start=WarmStart(first.config, first.best.weights))
    frozen = run(
        decode({**SCRATCH, "model.weights": "start", "model.trained_stages": 0}), training_data, started
    )
    assert frozen.best is not None
    for before, after in zip(first.best.weights, frozen.best.weights, strict=True):
        for name, tensor in before.items():
            if name.startswith("trained."):
                torch.testing.assert_close(after[name.replace("trained.", "frozen.", 1)], tensor)


def test_a_start_from_another_backbone_is_refused(training_data: TrainingData, runtime: TrialRuntime) -> None:
    started = dataclasses.replace(runtime, start=WarmStart(decode(FROZEN), [{}]))
    config = decode({**SCRATCH, "model.weights": "start"})
    with pytest.raises(ConfigError, match="has backbone efficientnet_lite0"):
        CrossValidation(config, training_data, started, seed=0, score=scores)


def test_a_share_of_the_patients_trains_and_all_are_predicted(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    whole, part = (
        CrossValidation(
            decode({**FROZEN, "training.train_fraction": share}), training_data, runtime, seed=0, score=scores
        ).folds
        for share in (1.0, 0.5)
    )
    for fold, (all_images, some) in enumerate(zip(whole.train_positions, part.train_positions, strict=True)):
        assert set(some) < set(all_images)
        patients = set(training_data.groups[some])
        assert len(patients) == round(0.5 * len(set(training_data.groups[all_images])))
        assert not patients & set(training_data.groups[training_data.folds == fold])
    assert sum(map(len, part.held_out)) == len(training_data.labels)


def test_a_type_that_follows_from_the_class_is_refused(paired_patches: PatchSet) -> None:
    kinds = split_in_three(paired_patches, "mass_calcification")
    with pytest.raises(ConfigError, match="would give the class away"):
        kinds.side_input("human")


def test_a_first_phase_is_no_longer_than_the_search_allows() -> None:
    point = InitialPoint("any", {**SCRATCH, "training.first_phase": "five_class"})
    settings = {**point.settings, "training.first_phase_epochs": 20, "training.epochs": 9}
    config = InitialPoint("any", settings).configure({}, epochs=2)
    assert (config.training.epochs, config.training.first_phase_epochs) == (2, 2)
