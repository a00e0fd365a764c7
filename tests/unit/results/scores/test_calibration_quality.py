import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression

from results.scores.calibration import sigmoid
from results.scores.calibration_quality import (
    calibration_quality,
    calibration_slope,
    smooth_calibration_error,
)


def _drawn(images=1500, *, slope=1.0, shift=0.0, seed=0):
    random = np.random.default_rng(seed)
    logits = 1.5 * random.normal(size=images)
    labels = (random.random(images) < sigmoid(logits)).astype(np.int64)
    said = slope * logits + shift
    return labels, np.stack([sigmoid(-said), sigmoid(said)], axis=1), np.arange(images).astype(str)


def test_slope_and_intercept_are_those_of_logistic_regression():
    labels, probabilities, groups = _drawn(slope=2.0, shift=0.4)
    found = calibration_quality(labels, probabilities, groups, seed=0)
    logits = np.log(probabilities[:, 1] / probabilities[:, 0])
    fitted = LogisticRegression(C=1e9, tol=1e-8).fit(logits[:, None], labels)
    assert found.slope.estimate == pytest.approx(fitted.coef_[0, 0], rel=1e-3)
    assert found.slope.estimate == pytest.approx(calibration_slope(labels, probabilities), rel=1e-4)
    assert found.slope.holds(0.5)
    moved = sigmoid(logits + found.intercept.estimate)
    assert moved.mean() == pytest.approx(labels.mean(), abs=1e-6)


@pytest.mark.parametrize("shift", [-40.0, -10.0, -7.0, -5.0, -3.0, 0.5, 5.0, 8.0, 10.0, 40.0])
def test_an_intercept_is_found_however_far_off_the_probabilities_are(shift):
    labels, probabilities, groups = _drawn(shift=shift)
    logits = np.log(probabilities[:, 1] / probabilities[:, 0])
    wanted = brentq(lambda one: float((sigmoid(logits + one) - labels).sum()), -100, 100, xtol=1e-12)
    found = calibration_quality(labels, probabilities, groups, seed=0).intercept
    assert found.estimate == pytest.approx(wanted, abs=1e-6)
    assert found.low < -shift < found.high


def test_a_slope_is_found_where_two_images_keep_the_classes_from_being_separated():
    logits = np.concatenate([np.linspace(-30, 0.02, 60), np.linspace(0.01, 30, 60)])
    labels = np.repeat([0, 1], 60)
    probabilities = np.stack([sigmoid(-logits), sigmoid(logits)], axis=1)
    found = calibration_quality(labels, probabilities, np.arange(120).astype(str), seed=0).slope
    scaled = logits[:, None] / logits.std()
    fitted = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000).fit(scaled, labels)
    assert found.estimate * logits.std() == pytest.approx(fitted.coef_[0, 0], rel=1e-3)


def test_right_probabilities_have_no_more_error_than_chance_and_wrong_ones_have():
    right = calibration_quality(*_drawn(), seed=0)
    wrong = calibration_quality(*_drawn(slope=3.0), seed=0)
    assert right.slope.holds(1.0)
    assert right.intercept.holds(0.0)
    assert right.smooth_error <= right.smooth_error_of_chance
    assert wrong.smooth_error > 2 * wrong.smooth_error_of_chance


def test_the_smooth_error_of_a_constant_shift_is_the_shift():
    labels, positive = np.tile([0, 1], 500), np.full(1000, 0.7)
    assert smooth_calibration_error(labels, positive) == pytest.approx(0.2, abs=0.01)


def test_copies_of_patients_widen_the_interval_as_much_as_they_add_nothing():
    labels, probabilities, groups = _drawn(400)
    one = calibration_quality(labels, probabilities, groups, seed=0).slope
    again = calibration_quality(
        np.tile(labels, 4), np.tile(probabilities, (4, 1)), np.tile(groups, 4), seed=0
    )
    assert again.slope.low == pytest.approx(one.low, rel=1e-6)


def test_separated_classes_have_no_slope():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]])
    assert calibration_quality(labels, probabilities, np.arange(4).astype(str), seed=0).slope is None


def test_the_reliability_curve_counts_every_image_once():
    found = calibration_quality(*_drawn(203), seed=0)
    assert sum(one.images for one in found.reliability) == 203
    assert [one.expected for one in found.reliability] == sorted(one.expected for one in found.reliability)
