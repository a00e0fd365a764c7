"""Platt scaling: equal to sklearn, never turning a model round, never infinite."""

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression

from results.run.records import OutOfFold
from results.scores.calibration import (
    Platt,
    cross_fitted_calibration,
    fit_platt,
    fit_platt_to_scores,
    logit,
    sigmoid,
)
from results.scores.metrics import METRICS


def overconfident(images=800, seed=0, turn=1.0):
    random = np.random.default_rng(seed)
    labels = random.integers(2, size=images)
    value = turn * labels + random.normal(size=images)
    return labels, sigmoid(4 * value)


def test_the_fit_equals_an_unpenalised_logistic_regression_on_platts_targets():
    labels, positive = overconfident()
    ones, zeros = labels.sum(), len(labels) - labels.sum()
    targets = np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    value = logit(positive)[:, None]
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.concatenate([value, value]),
        np.repeat([1, 0], len(labels)),
        sample_weight=np.concatenate([targets, 1 - targets]),
    )
    found = fit_platt(labels, positive)
    assert (found.slope, found.intercept) == pytest.approx(
        (reference.coef_[0, 0], reference.intercept_[0]), abs=1e-5
    )


def test_calibration_mends_overconfidence_and_keeps_the_ranking():
    labels, positive = overconfident()
    calibrated = fit_platt(labels, positive).apply(positive)
    loss = METRICS["log_loss"].function
    before, after = (loss(labels, np.stack([1 - p, p], axis=1)) for p in (positive, calibrated))
    assert after < before - 0.1
    inside = (positive > 1e-5) & (positive < 1 - 1e-5)
    assert (np.argsort(positive[inside]) == np.argsort(calibrated[inside])).all()
    assert calibrated.mean() == pytest.approx(labels.mean(), abs=0.01)


@pytest.mark.parametrize(
    ("labels", "positive"),
    [
        pytest.param(*overconfident(turn=-1.0), id="falling"),
        pytest.param(np.array([0, 1, 0]), np.full(3, 0.3), id="constant"),
        pytest.param(np.array([1, 1, 1]), np.array([0.1, 0.2, 0.3]), id="one class"),
    ],
)
def test_scores_that_say_nothing_are_left_as_they_are(labels, positive):
    assert fit_platt(labels, positive) == Platt(slope=1.0, intercept=0.0)


def test_perfectly_separated_scores_get_a_finite_calibration():
    found = fit_platt(np.array([0, 0, 1, 1]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert 0 < found.slope < 1
    assert 0.5 < found.apply(np.array([1.0]))[0] < 0.9


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
def test_real_valued_scores_of_any_scale_are_calibrated_alike(scale):
    labels, positive = overconfident(images=100)
    value = logit(positive)
    plain = fit_platt_to_scores(labels, value)
    scaled = fit_platt_to_scores(labels, value * scale + 3)
    assert scaled.apply_to_scores(value * scale + 3) == pytest.approx(plain.apply_to_scores(value), abs=1e-6)


def test_certain_probabilities_are_clipped():
    assert Platt().apply(np.array([0.0, 1.0])) == pytest.approx([1e-6, 1 - 1e-6])


def test_large_scores_do_not_overflow():
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_a_calibration_survives_json():
    found = fit_platt(*overconfident())
    assert Platt.model_validate_json(found.model_dump_json()) == found


def test_a_slope_that_turns_the_model_round_is_refused():
    with pytest.raises(ValidationError, match="greater than 0"):
        Platt(slope=-1.0)


def test_each_fold_is_calibrated_by_the_others():
    labels, positive = overconfident(images=200)
    folds = np.arange(200) % 2
    rows = np.arange(200)
    predictions = OutOfFold(rows, labels, folds, rows.astype(str), np.stack([1 - positive, positive], axis=1))
    wanted = fit_platt(labels[folds == 1], positive[folds == 1]).apply(positive[folds == 0])
    assert cross_fitted_calibration(predictions)[folds == 0, 1] == pytest.approx(wanted)


def test_a_single_fold_is_not_calibrated():
    one = OutOfFold(np.arange(2), np.array([0, 1]), np.zeros(2, dtype=int), np.array(["a", "b"]), np.eye(2))
    assert (cross_fitted_calibration(one) == np.eye(2)).all()
