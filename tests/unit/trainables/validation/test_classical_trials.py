"""Trials of classical models: seeds, one epoch, resuming, time limits and refits."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from classical_trials import fitted, validation

from results.scores.metrics import scores
from trainables.common.errors import OutOfTimeError
from trainables.common.seeds import LARGEST_SEED
from trainables.config.tasks import task_named
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import select_rows
from trainables.data.split_record import TRAINING
from trainables.data.training_data import TrainingData
from trainables.estimators.estimator import Rows
from trainables.estimators.fitted import FittedEstimator
from trainables.estimators.registry import ESTIMATORS
from trainables.runtime.checkpoint import packed_checkpoint
from trainables.runtime.fill_limit import FillLimit
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.folds import training_positions
from trainables.validation import classical
from trainables.validation.classical import ClassicalValidation, predicted
from trainables.validation.cross_validation import CrossValidation
from trainables.validation.factory import open_validation

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["mlp", "stratified"])
def test_the_seed_decides_what_is_drawn(name: str, wisconsin: TrainingData, runtime: TrialRuntime) -> None:
    settings = {"classical.name": name, "classical.standardize": True, "classical.epochs": 3}
    first, again, other = (
        fitted(wisconsin, runtime, settings, seed=seed).probabilities for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", [20260101, LARGEST_SEED])
@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"attention"}))
def test_a_head_is_fitted_with_any_seed_that_a_search_takes(
    name: str, seed: int, wisconsin: TrainingData, runtime: TrialRuntime
) -> None:
    settings = {"classical.name": name, "classical.standardize": True}
    settings |= {"classical.epochs": 3, "classical.trees": 20}
    assert np.isfinite(fitted(wisconsin, runtime, settings, seed=seed).probabilities).all()


def test_a_classical_trial_is_one_epoch_and_an_interrupted_one_starts_again(
    wisconsin: TrainingData, runtime: TrialRuntime
) -> None:
    run = validation(wisconsin, runtime, {"classical.name": "tree"})
    assert (run.epochs_done, run.is_over, run.best) == (0, False, None)
    report = run.epoch()
    assert (report.epoch, report.is_last, run.epochs_done, run.is_over) == (1, True, 1, True)
    assert run.best is not None
    assert len(run.best.weights) == 3
    assert {"present", "counted", "trees.feature", "trees.value"} <= set(run.best.weights[0])
    assert report.scalars["auc/validation"] == pytest.approx(report.value)
    assert report.scalars["fold_2/loss_validation"] > 0
    again = validation(wisconsin, runtime, {"classical.name": "tree"})
    assert packed_checkpoint(run.state())
    again.load_state(run.state())
    assert not again.is_over
    again.epoch()
    assert again.best is not None
    np.testing.assert_array_equal(again.best.probabilities, run.best.probabilities)


def test_a_refit_takes_the_share_of_the_patients_that_the_trial_trains_on(
    wisconsin: TrainingData, runtime: TrialRuntime
) -> None:
    settings = {"model.backbone": "table", "classical.name": "lda", "training.train_fraction": 0.25}
    found = classical.refit_classical(decode(settings), wisconsin, runtime, epochs=1, seeds=1, seed=0)
    everyone = np.full(len(wisconsin.rows), TRAINING)
    kept = training_positions(everyone, wisconsin.labels, wisconsin.groups, 0, share=0.25)
    assert found.images == len(kept) < len(wisconsin.rows) / 3
    alone = replace(
        wisconsin,
        positions=wisconsin.positions[kept],
        labels=wisconsin.labels[kept],
        folds=wisconsin.folds[kept],
        groups=wisconsin.groups[kept],
    )
    settings["training.train_fraction"] = 1.0
    same = classical.refit_classical(decode(settings), alone, runtime, epochs=1, seeds=1, seed=0)
    assert found.loss == pytest.approx(same.loss)
    for name, array in found.weights[0].items():
        np.testing.assert_allclose(array.numpy(), same.weights[0][name].numpy(), atol=1e-9)


def test_a_head_on_all_rows_keeps_what_it_learned_for_each_seed(
    wisconsin: TrainingData, runtime: TrialRuntime
) -> None:
    config = decode({"model.backbone": "table", "classical.name": "lda", "classical.standardize": True})
    found = classical.refit_classical(config, wisconsin, runtime, epochs=1, seeds=2, seed=0)
    assert (found.images, len(found.weights)) == (len(wisconsin.rows), 2)
    sealed = np.setdiff1d(wisconsin.task_rows, wisconsin.rows)
    inputs = np.asarray(wisconsin.patch_set.images[sealed], dtype=np.float32)
    labels = select_rows(wisconsin.patch_set, task_named("wisconsin")).labels
    calls = predicted(found.weights[0], inputs, classes=2).argmax(axis=1)
    assert (calls == labels[np.searchsorted(wisconsin.task_rows, sealed)]).mean() > 0.9
    assert 0 < found.loss < 0.3


def test_the_name_of_the_model_decides_who_validates(
    wisconsin: TrainingData, bright: TrainingData, runtime: TrialRuntime
) -> None:
    net = decode({"model.backbone": "efficientnet_lite0", "input.size_px": 32, "training.epochs": 1})
    tree = decode({"model.backbone": "table", "classical.name": "tree"})
    options: dict[str, Any] = {"seed": 0, "score": scores, "metric": "auc"}
    assert isinstance(open_validation(net, bright, runtime, **options), CrossValidation)
    assert isinstance(open_validation(tree, wisconsin, runtime, **options), ClassicalValidation)


@pytest.mark.parametrize("is_needed", [False, True], ids=["a score is there", "no score yet"])
def test_no_further_fold_is_fitted_once_the_time_is_up(
    wisconsin: TrainingData, runtime: TrialRuntime, monkeypatch: pytest.MonkeyPatch, *, is_needed: bool
) -> None:
    now, done = 0.0, list[int]()
    fit = classical.fit_estimator

    def slow(config: TrialConfig, rows: Rows, *, seed: int) -> FittedEstimator:
        nonlocal now
        now += 40.0
        done.append(seed)
        return fit(config, rows, seed=seed)

    monkeypatch.setattr(classical, "fit_estimator", slow)
    limit = FillLimit(60.0, is_needed=lambda: is_needed, clock=lambda: now)
    run = validation(wisconsin, replace(runtime, fill_limit=limit), {"classical.name": "lda"})
    if is_needed:
        run.epoch()
        assert len(done) == 3
        return
    with pytest.raises(OutOfTimeError, match="the time was up before fold 3 of 3 was computed"):
        run.epoch()
    assert len(done) == 2
