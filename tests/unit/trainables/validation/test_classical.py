"""Classical models in cross-validation, against scikit-learn itself."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from results.scores.metrics import scores
from trainables.common.errors import ConfigError, OutOfTimeError
from trainables.common.seeds import LARGEST_SEED
from trainables.config.tasks import task_named
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet, RawPatches, select_rows, store_patch_set
from trainables.data.sources import load_patch_set
from trainables.data.split_record import TRAINING
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.estimators.estimator import Rows
from trainables.estimators.fitted import FittedEstimator
from trainables.estimators.registry import ESTIMATORS
from trainables.features.loading import open_features
from trainables.models.weights import find_weights
from trainables.runtime.checkpoint import packed_checkpoint
from trainables.runtime.fill_limit import FillLimit
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.folds import NanLossError, training_positions
from trainables.validation import classical
from trainables.validation.classical import ClassicalValidation, fit_estimator, predicted
from trainables.validation.cross_validation import CrossValidation, TrialSnapshot
from trainables.validation.factory import open_validation

# A head that weighs the images of a unit has tests of its own, test_attention.py.
MODELS = tuple(sorted(set(ESTIMATORS) - {"majority", "stratified", "attention"}))


def material_of(patch_set: PatchSet, task_name: str, *, test_share: float = 0.2) -> TrainingData:
    task = task_named(task_name)
    rows = select_rows(patch_set, task)
    split = make_split(
        rows, fingerprint=patch_set.fingerprint, task=task.name, folds=3, test_share=test_share, seed=0
    )
    return training_data_of(patch_set, task, split)


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


def validation(
    training_data: TrainingData, runtime: TrialRuntime, settings: dict[str, Any], *, seed: int = 0
) -> ClassicalValidation:
    backbone = "table" if training_data.patch_set.is_table else "efficientnet_lite0"
    config = decode({"model.backbone": backbone, **settings})
    return ClassicalValidation(config, training_data, runtime, seed=seed, score=scores)


def fitted(
    training_data: TrainingData, runtime: TrialRuntime, settings: dict[str, Any], *, seed: int = 0
) -> TrialSnapshot:
    run = validation(training_data, runtime, settings, seed=seed)
    run.epoch()
    assert run.best is not None
    return run.best


def columns(training_data: TrainingData) -> NDArray[np.float32]:
    return np.asarray(training_data.patch_set.images[training_data.rows])


def accuracies(best: TrialSnapshot) -> list[float]:
    return [one["accuracy"] for one in best.fold_metrics]


def by_hand(
    training_data: TrainingData, make: Callable[[NDArray[np.intp], int], Any]
) -> tuple[list[float], NDArray[np.float64]]:
    """Accuracy of each fold and the probabilities, by scikit-learn alone."""
    inputs, labels = columns(training_data).astype(np.float64), training_data.labels
    found, probabilities = [], np.zeros((len(labels), 2))
    for fold in np.unique(training_data.folds):
        train, held_out = np.flatnonzero(training_data.folds != fold), training_data.folds == fold
        model = make(train, int(fold)).fit(inputs[train], labels[train])
        found.append(float((model.predict(inputs[held_out]) == labels[held_out]).mean()))
        probabilities[held_out] = model.predict_proba(inputs[held_out])
    return found, probabilities


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_every_model_beats_the_majority_on_wisconsin(
    name: str, wisconsin: TrainingData, runtime: TrialRuntime
) -> None:
    best = fitted(wisconsin, runtime, {"classical.name": name, "classical.standardize": True})
    assert min(accuracies(best)) > 0.88
    assert best.value > 0.9
    assert best.collapsed == ()


@pytest.mark.parametrize("name", ["majority", "stratified"])
def test_the_guessers_know_the_class_shares_and_nothing_else(
    name: str, wisconsin: TrainingData, runtime: TrialRuntime
) -> None:
    best = fitted(wisconsin, runtime, {"classical.name": name})
    assert abs(best.value - 0.5) < 0.1
    if name == "majority":
        assert best.collapsed == (0, 1, 2)
        assert best.probabilities[:, 1] == pytest.approx(wisconsin.labels.mean(), abs=0.01)


@pytest.mark.parametrize(
    ("settings", "make"),
    [
        (
            {"classical.name": "knn", "classical.neighbours": 15, "classical.minkowski_p": 1},
            lambda train, fold: KNeighborsClassifier(15, p=1),
        ),
        (
            {"classical.name": "tree", "classical.depth": 4},
            lambda train, fold: DecisionTreeClassifier(max_depth=4, random_state=fold),
        ),
        (
            {"classical.name": "logistic", "classical.c": 0.1, "classical.standardize": True},
            lambda train, fold: make_pipeline(
                StandardScaler(), LogisticRegression(C=0.1, max_iter=9999, tol=1e-9)
            ),
        ),
    ],
    ids=["knn", "tree", "logistic"],
)
def test_folds_agree_with_scikit_learn_by_hand(
    settings: dict[str, Any],
    make: Callable[[NDArray[np.intp], int], Any],
    wisconsin: TrainingData,
    runtime: TrialRuntime,
) -> None:
    best = fitted(wisconsin, runtime, settings)
    expected, probabilities = by_hand(wisconsin, make)
    np.testing.assert_allclose(accuracies(best), expected, atol=1e-12)
    if settings["classical.name"] in ("tree", "knn"):
        probabilities = with_one_more_of_each_class(probabilities, wisconsin.folds)
    np.testing.assert_allclose(best.probabilities, probabilities, atol=2e-6)


def with_one_more_of_each_class(
    probabilities: NDArray[np.floating[Any]], folds: NDArray[np.int64]
) -> NDArray[np.floating[Any]]:
    """Shares of counted rows, kept from 0 and 1 by one more row of each class in the training part."""
    counts = np.array([(folds != fold).sum() for fold in folds])[:, None]
    return np.asarray((counts * probabilities + 1) / (counts + probabilities.shape[1]))


def test_a_support_vector_machine_is_calibrated_on_held_out_patients_of_the_training_part(
    wisconsin: TrainingData, runtime: TrialRuntime
) -> None:
    def make(train: NDArray[np.intp], fold: int) -> Pipeline:
        cut = StratifiedGroupKFold(5, shuffle=True, random_state=fold)
        inner = cut.split(columns(wisconsin)[train], wisconsin.labels[train], wisconsin.groups[train])
        machine = SVC(C=0.5, gamma=1 / columns(wisconsin).shape[1])  # of columns with unit variance
        calibrated = CalibratedClassifierCV(machine, method="sigmoid", cv=list(inner), ensemble=False)
        return make_pipeline(StandardScaler(), calibrated)

    settings = {"classical.name": "svm", "classical.c": 0.5, "classical.standardize": True}
    expected, probabilities = by_hand(wisconsin, make)
    best = fitted(wisconsin, runtime, settings)
    np.testing.assert_allclose(accuracies(best), expected, atol=1e-12)
    np.testing.assert_allclose(best.probabilities, probabilities, atol=1e-5)


def test_patients_stay_together_where_a_machine_is_calibrated(
    monkeypatch: pytest.MonkeyPatch, bright: TrainingData, runtime: TrialRuntime
) -> None:
    seen = []
    original = CalibratedClassifierCV.__init__

    @functools.wraps(original)  # scikit-learn reads the parameters off it
    def spy(self: CalibratedClassifierCV, *args: Any, **options: Any) -> None:
        seen.append(options["cv"])
        original(self, *args, **options)

    monkeypatch.setattr(CalibratedClassifierCV, "__init__", spy)
    fitted(bright, runtime, {"classical.name": "svm", "input.size_px": 32})
    assert len(seen) == 3
    for fold, cut in enumerate(seen):
        groups = bright.groups[bright.folds != fold]
        for train, held_out in cut:
            assert set(groups[train]).isdisjoint(groups[held_out])
        assert sorted(np.concatenate([held_out for _, held_out in cut])) == list(range(len(groups)))


def test_scaling_sees_the_training_part_only(
    wisconsin: TrainingData, runtime: TrialRuntime, tmp_path: Path
) -> None:
    """What the held-out rows of a fold are like moves none of the predictions of its other rows."""
    settings = {"classical.name": "logistic", "classical.standardize": True}
    before = fitted(wisconsin, runtime, settings).probabilities
    changed = np.array(wisconsin.patch_set.images, dtype=np.float32)
    held_out = np.flatnonzero(wisconsin.folds == 0)
    changed[wisconsin.rows[held_out[0]]] *= 1000.0
    raw = RawPatches(changed, wisconsin.patch_set.labels, "task", patients=wisconsin.patch_set.patients)
    other = replace(wisconsin, patch_set=store_patch_set(raw, tmp_path / "changed"))
    after = fitted(other, runtime, settings).probabilities
    np.testing.assert_array_equal(after[held_out[1:]], before[held_out[1:]])
    assert not np.array_equal(after[wisconsin.folds == 1], before[wisconsin.folds == 1])


@pytest.mark.parametrize("name", ["svm", "linear_svm", "tree", "logistic", "mlp"])
def test_a_weight_on_malignant_masses_moves_the_probabilities(
    name: str, wisconsin: TrainingData, runtime: TrialRuntime
) -> None:
    settings = {"classical.name": name, "classical.standardize": True, "classical.depth": 3}
    plain, weighted = (
        fitted(wisconsin, runtime, {**settings, "training.class_weight": weight}).probabilities[:, 1]
        for weight in ("none", 20.0)
    )
    assert not np.allclose(weighted, plain)
    if name in ("tree", "logistic", "mlp"):  # a Platt scaling brings the others back to the class shares
        assert weighted.mean() > plain.mean() + 0.01


def test_balanced_weights_are_scikit_learns(wisconsin: TrainingData, runtime: TrialRuntime) -> None:
    settings = {"classical.name": "tree", "classical.depth": 3, "training.class_weight": "balanced"}
    best = fitted(wisconsin, runtime, settings)
    _, expected = by_hand(
        wisconsin,
        lambda train, fold: DecisionTreeClassifier(max_depth=3, class_weight="balanced", random_state=fold),
    )
    expected = with_one_more_of_each_class(expected, wisconsin.folds)
    np.testing.assert_allclose(best.probabilities, expected, atol=1e-6)


def test_balanced_weights_are_those_of_units_where_a_head_is_trained_on_units(
    monkeypatch: pytest.MonkeyPatch, wisconsin: TrainingData, runtime: TrialRuntime
) -> None:
    found = []

    def spy(config: TrialConfig, rows: Rows, *, seed: int) -> FittedEstimator:
        found.append(rows)
        return fit_estimator(config, rows, seed=seed)

    monkeypatch.setattr(classical, "fit_estimator", spy)
    units = np.arange(len(wisconsin.labels))
    malignant = wisconsin.labels == 1
    for fold in range(3):  # of each two malignant samples in a fold one unit is made
        own = np.flatnonzero(malignant & (wisconsin.folds == fold))
        units[own[1::2]] = units[own[: len(own) // 2 * 2 : 2]]
    data = replace(wisconsin, units=units, unit="patient")
    balanced = {"training.class_weight": "balanced", "classical.epochs": 1}
    fitted(data, runtime, balanced | {"classical.name": "attention", "unit.combine": "attention"})
    fitted(data, runtime, balanced | {"classical.name": "logistic"})
    for of_units, of_images in zip(found[:3], found[3:], strict=True):
        assert of_units.units is not None
        _, first = np.unique(of_units.units, return_index=True)
        for weights, labels in (
            (of_units.class_weights, of_units.labels[first]),
            (of_images.class_weights, of_images.labels),
        ):
            benign, found_malignant = weights * np.bincount(labels)
            assert benign == pytest.approx(found_malignant)


def test_sampling_balances_what_is_fitted_on(
    monkeypatch: pytest.MonkeyPatch, wisconsin: TrainingData, runtime: TrialRuntime
) -> None:
    counts = []

    def spy(config: TrialConfig, rows: Rows, *, seed: int) -> FittedEstimator:
        counts.append(np.bincount(rows.labels).tolist())
        return fit_estimator(config, rows, seed=seed)

    monkeypatch.setattr(classical, "fit_estimator", spy)
    for sampling in ("none", "over", "under"):
        fitted(wisconsin, runtime, {"classical.name": "tree", "training.sampling": sampling})
    for fold in range(3):
        benign, malignant = np.bincount(wisconsin.labels[wisconsin.folds != fold]).tolist()
        assert [counts[fold], counts[fold + 3], counts[fold + 6]] == [
            [benign, malignant],
            [benign, benign],
            [malignant, malignant],
        ]


def test_a_share_of_the_patients_is_a_share_of_the_rows(
    wisconsin: TrainingData, runtime: TrialRuntime
) -> None:
    whole = fitted(wisconsin, runtime, {"classical.name": "knn"})
    tenth = fitted(wisconsin, runtime, {"classical.name": "knn", "training.train_fraction": 0.1})
    assert not np.array_equal(whole.probabilities, tenth.probabilities)
    with pytest.raises(ConfigError, match="neighbours=30 needs as many training rows, a fold has 1"):
        fitted(
            wisconsin,
            runtime,
            {"classical.name": "knn", "classical.neighbours": 30, "training.train_fraction": 0.05},
        )


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
    settings = {"classical.name": name, "classical.standardize": True, "classical.epochs": 3}
    assert np.isfinite(fitted(wisconsin, runtime, settings, seed=seed).probabilities).all()


def test_rows_that_always_train_are_never_predicted(wisconsin: TrainingData, runtime: TrialRuntime) -> None:
    """A hold-out: one fold, and rows of fold -2 that only train."""
    folds = np.where(wisconsin.folds == 0, 0, -2)
    best = fitted(replace(wisconsin, folds=folds), runtime, {"classical.name": "knn"})
    whole = fitted(wisconsin, runtime, {"classical.name": "knn"})
    assert len(best.fold_metrics) == 1
    np.testing.assert_array_equal(best.probabilities[folds == 0], whole.probabilities[folds == 0])
    assert not best.probabilities[folds == -2].any()


def test_neighbours_are_found_among_frozen_features(bright: TrainingData, runtime: TrialRuntime) -> None:
    settings = {"classical.name": "knn", "classical.neighbours": 3, "input.size_px": 32}
    run = validation(bright, runtime, settings)
    report = run.epoch()
    assert (run.feature_use.kind, run.feature_use.views) == ("stored views", 1)
    plain = {"model.backbone": "efficientnet_lite0", "input.size_px": 32, "training.augmentation": "none"}
    features, _ = open_features(decode(plain), bright, runtime)
    assert len(features.shape) == 1
    (inputs,) = [batch.numpy() for batch in features.for_prediction(np.arange(len(bright.labels)))]
    expected = np.zeros((len(bright.labels), 2), dtype=np.float32)
    for fold in range(3):
        train, held_out = bright.folds != fold, bright.folds == fold
        model = KNeighborsClassifier(3).fit(inputs[train], bright.labels[train])
        expected[held_out] = model.predict_proba(inputs[held_out])
    assert run.best is not None
    expected = with_one_more_of_each_class(expected, bright.folds)
    np.testing.assert_allclose(run.best.probabilities, expected, atol=1e-6)
    assert report.is_last


def test_a_whole_map_gives_more_numbers_than_its_mean(
    monkeypatch: pytest.MonkeyPatch, bright: TrainingData, runtime: TrialRuntime
) -> None:
    widths = []

    def spy(config: TrialConfig, rows: Rows, *, seed: int) -> FittedEstimator:
        widths.append(rows.inputs.shape[1])
        return fit_estimator(config, rows, seed=seed)

    monkeypatch.setattr(classical, "fit_estimator", spy)
    settings = {"classical.name": "knn", "input.size_px": 64, "model.cut": "block3"}
    for pooling in ("gap", "flatten"):
        fitted(bright, runtime, {**settings, "model.head.pooling": pooling})
    assert widths[3] == 64 * widths[0]


def test_training_and_test_images_have_their_own_contrast(
    bright: TrainingData, runtime: TrialRuntime
) -> None:
    settings = {"classical.name": "logistic", "input.size_px": 32}
    found = [
        fitted(
            bright, runtime, {**settings, "input.contrast": own, "input.contrast_test": test}
        ).probabilities
        for own, test in ((1.0, 1.0), (2.0, 1.0), (2.0, 2.0))
    ]
    assert not np.array_equal(found[0], found[1])
    assert not np.array_equal(found[1], found[2])


def test_a_trained_convolution_is_refused(bright: TrainingData, runtime: TrialRuntime) -> None:
    with pytest.raises(ConfigError, match="pooling=conv trains a convolution"):
        validation(bright, runtime, {"classical.name": "knn", "model.head.pooling": "conv"})


def test_a_machine_without_enough_patients_says_so(wisconsin: TrainingData, runtime: TrialRuntime) -> None:
    few = np.where(wisconsin.labels == 1, "the same", wisconsin.groups)
    with pytest.raises(ConfigError, match="at least 2 of each class; a fold's training part has 1"):
        fitted(replace(wisconsin, groups=few), runtime, {"classical.name": "svm"})


def test_weights_that_leave_the_numbers_are_reported_as_such(
    wisconsin: TrainingData, runtime: TrialRuntime
) -> None:
    settings = {"classical.name": "mlp", "classical.lr": 1.0, "classical.l2": 10.0}
    with pytest.raises(NanLossError, match=r"classical.name=mlp became NaN or infinite"):
        fitted(wisconsin, runtime, settings)


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
    kept = training_positions(everyone, wisconsin.groups, 0, share=0.25)
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
