"""Platt scaling: nearly sklearn with many images, never turning a model round, never infinite."""

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from results.scores.calibration import (
    Platt,
    fit_platt,
    fit_platt_to_scores,
    log_odds,
    sigmoid,
)
from results.scores.calibration_quality import calibration_slope
from results.scores.metrics import STANDARD


def two_columns(value):
    return np.stack([sigmoid(-value), sigmoid(value)], axis=1)


def overconfident(images=800, seed=0, turn=1.0):
    random = np.random.default_rng(seed)
    labels = random.integers(2, size=images)
    value = turn * labels + random.normal(size=images)
    return labels, two_columns(4 * value)


def test_with_many_images_the_fit_is_an_unpenalised_logistic_regression():
    labels, probabilities = overconfident(images=20_000)
    value = log_odds(probabilities)[:, None]
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(value, labels)
    found = fit_platt(labels, probabilities)
    assert (found.slope, found.intercept) == pytest.approx(
        (reference.coef_[0, 0], reference.intercept_[0]), rel=2e-3
    )


def test_the_slope_is_the_most_likely_one_under_its_prior():
    labels, probabilities = overconfident(images=60)
    value = log_odds(probabilities)
    found = fit_platt_to_scores(labels, value)

    def loss(slope, intercept):
        score = slope * value + intercept
        apart = (np.log(slope * value.std()) - np.log(0.75)) / 0.7
        return (np.logaddexp(0, score) - labels * score).sum() + apart**2 / 2

    best = loss(found.slope, found.intercept)
    for slope in (0.98, 1.0, 1.02):
        for shift in (-0.02, 0.0, 0.02):
            assert loss(found.slope * slope, found.intercept + shift) >= best - 1e-7


def test_calibration_mends_overconfidence_and_keeps_the_ranking():
    labels, probabilities = overconfident()
    calibrated = fit_platt(labels, probabilities).apply(probabilities)
    loss = STANDARD["log_loss"].function
    assert loss(labels, calibrated) < loss(labels, probabilities) - 0.1
    assert (np.argsort(log_odds(probabilities)) == np.argsort(calibrated[:, 1])).all()
    assert calibrated[:, 1].mean() == pytest.approx(labels.mean(), abs=0.01)


@pytest.mark.parametrize("spread", [1.0, 10.0, 20.0])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_calibration_never_changes_an_auc_however_confident_the_scores(spread, kind):
    random = np.random.default_rng(0)
    labels = random.integers(2, size=500)
    value = spread * (labels + random.normal(size=500)).astype(kind)
    probabilities = np.stack([1 / (1 + np.exp(value)), 1 / (1 + np.exp(-value))], axis=1)
    calibrated = fit_platt(labels, probabilities).apply(probabilities)
    assert roc_auc_score(labels, calibrated[:, 1]) == roc_auc_score(labels, value)


def test_scores_that_fall_with_the_labels_get_a_small_slope_and_the_share_of_positives():
    labels, probabilities = overconfident(turn=-1.0)
    found = fit_platt(labels, probabilities)
    calibrated = found.apply(probabilities)[:, 1]
    assert 0 < found.slope < 0.05
    assert np.abs(calibrated - labels.mean()).max() < 0.15


def test_scores_that_never_vary_get_the_share_of_positives():
    found = fit_platt(np.array([0, 1, 0, 0]), np.full((4, 2), [0.7, 0.3]))
    assert found.apply(np.array([[0.7, 0.3]]))[0, 1] == pytest.approx(0.25)


def test_labels_of_one_class_leave_scores_as_they_are():
    assert fit_platt(np.ones(3, dtype=int), two_columns(np.arange(3.0))) == Platt(slope=1.0, intercept=0.0)


def test_perfectly_separated_scores_get_a_finite_calibration():
    found = fit_platt(np.array([0, 0, 1, 1]), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    assert found.slope > 0
    assert 0.7 < found.apply(np.array([[0.0, 1.0]]))[0, 1] < 0.99


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
def test_real_valued_scores_of_any_scale_are_calibrated_alike(scale):
    labels, probabilities = overconfident(images=100)
    value = log_odds(probabilities)
    plain = fit_platt_to_scores(labels, value)
    scaled = fit_platt_to_scores(labels, value * scale + 3)
    assert scaled.apply_to_scores(value * scale + 3) == pytest.approx(plain.apply_to_scores(value), abs=1e-4)


def test_the_mean_of_fold_models_is_scaled_about_the_centre_and_one_model_is_not():
    platt = Platt(slope=0.8, intercept=-1.0)
    assert platt.for_mean_of(1, centre=2.0) == platt
    found = platt.for_mean_of(4, centre=2.0)
    assert found.slope == pytest.approx(0.8 / (1 - 0.5 / 4))
    assert found.apply_to_scores(np.array([2.0])) == pytest.approx(platt.apply_to_scores(np.array([2.0])))


def test_large_scores_do_not_overflow():
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_a_calibration_survives_json():
    found = fit_platt(*overconfident())
    assert Platt.model_validate_json(found.model_dump_json()) == found


def test_a_slope_that_turns_the_model_round_is_refused():
    with pytest.raises(ValidationError, match="greater than 0"):
        Platt(slope=-1.0)


def test_the_slope_that_calibrated_logits_still_need_is_sklearns():
    labels, probabilities = overconfident()
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(log_odds(probabilities)[:, None], labels)
    assert calibration_slope(labels, probabilities) == pytest.approx(reference.coef_[0, 0], rel=1e-3)


@pytest.mark.parametrize(
    ("labels", "value"),
    [([0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0]), ([1, 1], [0.0, 1.0]), ([0, 1], [0.5, 0.5])],
    ids=["separated", "one class", "constant"],
)
def test_no_slope_is_given_where_none_is_defined(labels, value):
    assert calibration_slope(np.array(labels), two_columns(np.array(value))) is None
