"""Class weights, sampling and shares decide what classical models are fitted on."""

from dataclasses import replace

import numpy as np
import pytest
from classical_trials import by_hand, fitted, with_one_more_of_each_class
from sklearn.tree import DecisionTreeClassifier

from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig
from trainables.data.training_data import TrainingData
from trainables.estimators.estimator import Rows
from trainables.estimators.fitted import FittedEstimator
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation import classical
from trainables.validation.classical import fit_estimator

pytestmark = pytest.mark.slow


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


def test_rows_that_always_train_are_never_predicted(wisconsin: TrainingData, runtime: TrialRuntime) -> None:
    """A hold-out: one fold, and rows of fold -2 that only train."""
    folds = np.where(wisconsin.folds == 0, 0, -2)
    best = fitted(replace(wisconsin, folds=folds), runtime, {"classical.name": "knn"})
    whole = fitted(wisconsin, runtime, {"classical.name": "knn"})
    assert len(best.fold_metrics) == 1
    np.testing.assert_array_equal(best.probabilities[folds == 0], whole.probabilities[folds == 0])
    assert not best.probabilities[folds == -2].any()
