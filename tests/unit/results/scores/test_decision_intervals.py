"""Intervals of shares and of functions of shares: never a point, aware of patients and of rare classes."""

from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binomtest

from results.scores.decision_intervals import (
    average_precision_interval,
    decision_intervals,
    effective_number,
    middle_interval,
    wilson_interval,
)
from results.scores.metrics import STANDARD


@pytest.mark.parametrize(("hits", "number"), [(0, 5), (3, 7), (20, 21), (50, 50)])
def test_a_share_of_independent_images_has_scipys_wilson_interval(hits, number):
    found = wilson_interval(hits / number, number)
    wanted = binomtest(hits, number).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_images_of_a_patient_count_as_one_where_they_agree():
    is_right, groups = np.repeat([True, False, True, True], 5), np.repeat(list("abcd"), 5)
    assert effective_number(is_right, groups) == pytest.approx(4.0)
    assert effective_number(np.ones(20, dtype=bool), groups) == pytest.approx(4.0)
    assert effective_number(is_right, np.arange(20).astype(str)) == pytest.approx(20)


def test_a_few_patients_do_not_tell_that_their_images_are_independent():
    is_right = np.tile([True, True, True, False], 5 * 4)
    few, many = np.repeat(np.arange(4), 20), np.repeat(np.arange(400), 20)
    assert effective_number(is_right, few) == pytest.approx(80 / ((4 * 1 + 3 * 20) / 7))
    assert effective_number(np.tile(is_right, 100), many) > 0.85 * 8000


def test_the_interval_of_a_share_covers_it_with_few_patients_of_unequal_size():
    random = np.random.default_rng(0)
    truth, covered = NormalDist().cdf(0.8), []
    for _ in range(300):
        groups = np.repeat(np.arange(12), np.maximum(1, np.exp(random.normal(1, 1, 12))).astype(int))
        own = random.normal(size=12)[groups] * 0.6**0.5 + random.normal(size=len(groups)) * 0.4**0.5
        number = effective_number(own < 0.8, groups)
        covered.append(wilson_interval(float((own < 0.8).mean()), number).holds(truth))
    assert np.mean(covered) >= 0.93


def test_the_classes_of_other_patients_come_in_other_numbers():
    matrix = np.array([[160, 30], [3, 7]])
    labels, decided = np.repeat(*_cells(matrix, 0)), np.repeat(*_cells(matrix, 1))
    found = decision_intervals(labels, decided, np.arange(200).astype(str), classes=2, seed=0)
    sets = np.random.default_rng(0).multinomial(200, matrix.ravel() / 200, size=4000).reshape(-1, 2, 2)
    for name in ("f1", "f2", "mcc"):
        low, high = np.quantile(STANDARD[name](sets), [0.025, 0.975])
        assert found[name].high - found[name].low == pytest.approx(high - low, rel=0.15), name


def _cells(matrix, axis):
    """Class of each cell along an axis, and how often it occurs."""
    return np.indices(matrix.shape)[axis].ravel(), matrix.ravel()


def test_each_class_of_four_is_right_as_each_of_two_by_jeffreys_prior():
    labels = np.repeat(np.arange(4), 10)
    found = decision_intervals(labels, labels, np.arange(40).astype(str), classes=4, seed=0)
    drawn = np.random.default_rng(1).beta(10.5, 0.5, size=(20_000, 4)).mean(axis=1)
    assert found["balanced_accuracy"].low == pytest.approx(np.quantile(drawn, 0.025), abs=0.006)


def test_the_middle_of_the_draws_holds_the_estimate():
    assert middle_interval(2.0, np.linspace(0.0, 1.0, 101)).high == 2.0
    assert middle_interval(-2.0, np.linspace(0.0, 1.0, 101)).low == -2.0


def test_a_perfect_model_of_a_few_patients_is_not_certain():
    labels, groups = np.repeat([0, 1], 5), np.arange(10).astype(str)
    found = decision_intervals(labels, labels, groups, classes=2, seed=0)
    assert set(found) == {name for name, metric in STANDARD.items() if metric.judges_decisions}
    for name, interval in found.items():
        assert interval.estimate == interval.high == 1.0, name
        assert interval.low < 0.85, name
    assert found["recall"].low == pytest.approx(binomtest(5, 5).proportion_ci(0.95, "wilson").low)


def test_the_macro_mean_of_a_rare_class_is_as_wide_as_balanced_accuracy():
    random = np.random.default_rng(0)
    labels = np.concatenate([np.repeat(np.arange(4), 25), [4, 4]])
    decided = np.where(random.random(102) < 0.85, labels, (labels + 1) % 5)
    decided[-2:] = 4
    found = decision_intervals(labels, decided, np.arange(102).astype(str), classes=5, seed=0)
    macro, balanced = found["recall"], found["balanced_accuracy"]
    assert macro.estimate == pytest.approx(balanced.estimate)
    assert (macro.low, macro.high) == pytest.approx((balanced.low, balanced.high))
    assert macro.low > 0.6


def test_a_model_that_calls_nothing_positive_has_intervals_too():
    labels = np.repeat([0, 1], 10)
    found = decision_intervals(labels, 0 * labels, np.arange(20).astype(str), classes=2, seed=0)
    assert found["precision"].estimate == found["recall"].estimate == 0.0
    assert found["recall"].high > 0.2


def test_a_perfect_average_precision_is_a_share_of_the_positive_patients():
    labels = np.repeat([0, 1], [20, 6])
    probabilities = np.stack([1 - labels, labels], axis=1) * 0.9 + 0.05
    found = average_precision_interval(labels, probabilities, np.arange(26).astype(str))
    assert found == wilson_interval(1.0, 6)
