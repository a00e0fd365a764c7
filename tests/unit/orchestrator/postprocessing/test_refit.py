"""Retrain: on the whole training part and nothing else, for as many epochs as were chosen."""

import dataclasses

import numpy as np
import pytest
import torch
from finished_run import TASK
from refitted_run import SCRATCH, material_of

from trainables.common.errors import ConfigError
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import select_rows
from trainables.data.split_record import TRAINING
from trainables.data.splits import make_split
from trainables.data.training_data import training_data_of
from trainables.features.loading import open_features
from trainables.runtime.checkpoint import read_fold_weights
from trainables.runtime.trial_runtime import WarmStart
from trainables.training.initialisation import build_models, train_first_phase
from trainables.training.refit import refit, refitted_config

pytestmark = pytest.mark.slow


def config_of(**changes):
    return decode({**SCRATCH, "training.epochs": 3, **changes})


def differ(first, second):
    return any(not torch.equal(first[name], second[name]) for name in first)


def test_a_refit_trains_on_every_image_of_the_training_part_and_on_no_other(searched, runtime):
    training_data = material_of(searched)
    whole = refit(config_of(), training_data, runtime, epochs=1, seeds=1, seed=0)
    assert whole.images == len(training_data.rows) < len(training_data.patch_set.labels)
    half = refit(
        config_of(**{"training.train_fraction": 0.5}), training_data, runtime, epochs=1, seeds=1, seed=0
    )
    assert half.images < whole.images


def test_absurd_sealed_images_change_nothing_and_absurd_training_images_do(searched, runtime):
    training_data = material_of(searched)
    plain = refit(config_of(), training_data, runtime, epochs=2, seeds=1, seed=0).weights[0]
    images = np.array(training_data.patch_set.images)
    sealed = np.setdiff1d(np.arange(len(images)), training_data.rows)
    assert len(sealed) > 0
    for rows, is_other in ((sealed, False), (training_data.rows[:1], True)):
        spoilt = images.copy()
        spoilt[rows] = 65535
        patches = dataclasses.replace(training_data.patch_set, images=spoilt, fingerprint=f"{is_other:064d}")
        found = refit(
            config_of(),
            dataclasses.replace(training_data, patch_set=patches),
            runtime,
            epochs=2,
            seeds=1,
            seed=0,
        )
        assert differ(found.weights[0], plain) == is_other


def test_the_folds_of_the_search_play_no_part(searched, runtime):
    training_data = material_of(searched)
    other = dataclasses.replace(training_data, folds=training_data.folds[::-1].copy())
    first, second = (
        refit(config_of(), one, runtime, epochs=1, seeds=1, seed=0).weights[0]
        for one in (training_data, other)
    )
    assert not differ(first, second)


def test_a_refit_stops_within_the_schedule_of_the_search(searched, runtime):
    """A cosine over three epochs that stops after two, not a cosine over two."""
    training_data = material_of(searched)
    stopped = refit(config_of(), training_data, runtime, epochs=2, seeds=1, seed=0).weights[0]
    own = config_of()
    features, _ = open_features(own, training_data, runtime)
    whole = dataclasses.replace(training_data, folds=np.full(len(training_data.folds), TRAINING))
    folds = build_models(own, whole, runtime, features=features, seed=0, mode="sequential")
    for epoch in range(2):
        folds.train_epoch(epoch, active=[True])
    assert not differ(stopped, folds.kept_states(0)[0])
    shorter = config_of(**{"training.epochs": 2, "training.augment_last": 1})
    assert differ(stopped, refit(shorter, training_data, runtime, epochs=2, seeds=1, seed=0).weights[0])


def test_seeds_are_different_models_and_the_first_is_the_same_alone(searched, runtime):
    training_data = material_of(searched)
    two = refit(config_of(), training_data, runtime, epochs=1, seeds=2, seed=0).weights
    assert len(two) == 2
    assert differ(*two)
    alone = refit(config_of(), training_data, runtime, epochs=1, seeds=1, seed=0).weights
    assert not differ(two[0], alone[0])


def test_a_learning_rate_that_followed_the_losses_follows_them_again(searched, runtime):
    training_data = material_of(searched)
    plateau = config_of(**{"optimizer.schedule": "plateau", "optimizer.step_epochs": 1})
    arguments = {"epochs": 3, "seeds": 1, "seed": 0}
    with pytest.raises(ConfigError, match="record holds 1 of the 2 that are needed"):
        refit(plateau, training_data, runtime, **arguments, losses=[1.0])
    falling = refit(plateau, training_data, runtime, **arguments, losses=[1.0, 0.9, 0.8]).weights[0]
    rising = refit(plateau, training_data, runtime, **arguments, losses=[1.0, 1.1, 1.2]).weights[0]
    constant = refit(
        config_of(**{"optimizer.schedule": "constant"}), training_data, runtime, **arguments
    ).weights[0]
    assert not differ(falling, constant)
    assert differ(rising, constant)


def test_a_refit_goes_on_from_the_first_fold_of_a_finished_trial(searched, runtime):
    training_data = material_of(searched)
    folds = read_fold_weights(searched.trial(0) / "folds")
    started = config_of(**{"model.weights": "start", "optimizer.lr": 1e-12})
    found = [
        refit(
            started,
            training_data,
            dataclasses.replace(runtime, start=WarmStart(config_of(), states)),
            epochs=1,
            seeds=1,
            seed=0,
        ).weights[0]
        for states in (folds, folds[:1], folds[1:])
    ]
    stage = next(name for name in found[0] if name.startswith("trained.") and name.endswith("weight"))
    torch.testing.assert_close(found[0][stage], found[1][stage])
    assert not torch.allclose(found[0][stage], found[2][stage])


def test_a_refit_of_pairs_has_their_first_phase_too(paired_patches, runtime):
    task = task_named(TASK)
    split = make_split(
        select_rows(paired_patches, task),
        fingerprint=paired_patches.fingerprint,
        task=TASK,
        folds=3,
        test_share=0.25,
        seed=0,
    )
    training_data = training_data_of(paired_patches, task, split)
    config = config_of(
        **{
            "model.pair": "diff",
            "training.first_phase": "five_class",
            "training.first_phase_epochs": 1,
            "training.first_phase_freezes": True,
        }
    )
    found = refit(config, training_data, runtime, epochs=1, seeds=2, seed=0).weights
    whole = dataclasses.replace(training_data, folds=np.full(len(training_data.folds), TRAINING))
    first = train_first_phase(refitted_config(config, 2), whole, runtime, seed=0, mode="sequential")
    assert len(found) == len(first) == 2
    for own, learnt in zip(found, first, strict=True):
        assert any(name.startswith("trained.") for name in learnt)
        for name, tensor in learnt.items():
            torch.testing.assert_close(own[name], tensor)
