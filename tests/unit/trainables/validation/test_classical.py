"""Classical models in cross-validation, against scikit-learn itself."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classical_trials import (
    accuracies,
    by_hand,
    columns,
    fitted,
    validation,
    with_one_more_of_each_class,
)
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import RawPatches, store_patch_set
from trainables.data.training_data import TrainingData
from trainables.estimators.estimator import Rows
from trainables.estimators.fitted import FittedEstimator
from trainables.estimators.registry import ESTIMATORS
from trainables.features.loading import open_features
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.folds import NanLossError
from trainables.validation import classical
from trainables.validation.classical import fit_estimator

# A head that weighs the images of a unit has tests of its own, test_attention.py.
MODELS = tuple(sorted(set(ESTIMATORS) - {"majority", "stratified", "attention"}))


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
