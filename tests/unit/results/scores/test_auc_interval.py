"""Intervals of an AUC: never a point, wider for clusters and for folds, and equal to published formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.run.records import OutOfFold
from results.scores.auc_influence import auc_influences
from results.scores.auc_interval import (
    auc_interval,
    cluster_size,
    fixed_model_auc_interval,
    fold_inflation,
)
from results.scores.calibration import sigmoid
from results.scores.interval import Interval
from trainables.common.errors import OneClassError


def two_columns(value):
    return np.stack([sigmoid(-value), sigmoid(value)], axis=1)


def noisy_predictions(images, patients, seed, strength=1.0, folds=1):
    random = np.random.default_rng(seed)
    of_patient = np.arange(images) % patients
    labels = (random.random(patients) < 0.4).astype(np.int64)[of_patient]
    value = strength * labels + random.normal(size=images)
    return OutOfFold(
        np.arange(images), labels, of_patient % folds, of_patient.astype(str), two_columns(value)
    )


def test_influences_give_the_variance_of_delong():
    # Sun and Xu (2014): the variance of DeLong from placements, written out here with sklearn-free numpy.
    one = noisy_predictions(80, 80, seed=0)
    positive, negative = (one.probabilities[one.labels == label, 1] for label in (1, 0))
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    of_positives, of_negatives = wins.mean(axis=1), wins.mean(axis=0)
    delong = of_positives.var() / len(positive) + of_negatives.var() / len(negative)
    assert (auc_influences(one) ** 2).sum() == pytest.approx(delong * 80 / 79)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_influences_sum_to_nothing(seed):
    one = noisy_predictions(60, 30, seed=seed, folds=3)
    assert auc_influences(one).sum() == pytest.approx(0.0, abs=1e-12)


def test_the_ends_are_the_aucs_from_which_the_estimate_is_196_standard_errors_away():
    labels = np.repeat([0, 1], [30, 20])
    value = np.random.default_rng(0).normal(size=50) + 1.2 * labels
    # One image a patient: the measured design effect is the only difference to Newcombe's own interval.
    found = fixed_model_auc_interval(labels, two_columns(value), np.arange(50).astype(str))
    one = OutOfFold(np.arange(50), labels, 0 * labels, np.arange(50).astype(str), two_columns(value))

    def newcombe(area):
        spread = (1 - area) / (2 - area) + area / (1 + area)
        return area * (1 - area) * (1 + 24 * spread) / 600

    measured = (auc_influences(one) ** 2).sum() / newcombe(found.estimate)
    effect = max((20 * measured + 10) / 30, 1.0)
    for end in (found.low, found.high):
        assert abs(found.estimate - end) == pytest.approx(
            1.959964 * np.sqrt(effect * newcombe(end)), rel=1e-5
        )


@pytest.mark.parametrize("patients", [3, 5, 20, 100])
def test_a_perfect_score_is_less_sure_the_fewer_patients_there_are(patients):
    labels = np.repeat([0, 1], patients)
    groups = np.arange(2 * patients).astype(str)
    found = fixed_model_auc_interval(labels, two_columns(10.0 * labels), groups)
    assert (found.estimate, found.high) == (1.0, 1.0)
    # At least the exact interval of a share of this many patients.
    assert found.low < 0.025 ** (1 / (2 * patients)) + 0.05
    assert 0.3 < found.low < 1.0


def test_images_of_the_same_patients_do_not_narrow_an_interval():
    once = noisy_predictions(60, 60, seed=3)
    often = OutOfFold(*(np.repeat(getattr(once, name), 8, axis=0) for name in OutOfFold.ARRAYS))
    narrow, wide = auc_interval(often), auc_interval(once)
    assert narrow.high - narrow.low == pytest.approx(wide.high - wide.low, rel=0.15)


def test_folds_widen_the_interval_and_a_fixed_model_has_none():
    folds = auc_interval(noisy_predictions(200, 200, seed=1, folds=4))
    fixed = auc_interval(noisy_predictions(200, 200, seed=1))
    assert (folds.high - folds.low) / (fixed.high - fixed.low) == pytest.approx(np.sqrt(2), rel=0.1)
    assert fold_inflation(1) == 1.0


@pytest.mark.parametrize("area", [0.7602, 0.9214])
def test_ninety_five_percent_intervals_cover_the_truth_about_that_often(area):
    strength = {0.7602: 1.0, 0.9214: 2.0}[area]
    covered = sum(
        auc_interval(noisy_predictions(60, 60, seed=seed, strength=strength)).holds(area)
        for seed in range(200)
    )
    assert 184 <= covered <= 199


def test_three_classes_are_scored_one_against_the_rest():
    random = np.random.default_rng(0)
    labels, raw = random.integers(3, size=90), random.random((90, 3))
    raw[np.arange(90), labels] += 0.5
    found = fixed_model_auc_interval(labels, raw / raw.sum(axis=1, keepdims=True), np.arange(90).astype(str))
    assert found.low < found.estimate < found.high < 1.0


def test_one_class_has_no_interval():
    with pytest.raises(OneClassError, match="two classes"):
        fixed_model_auc_interval(np.ones(4, dtype=int), two_columns(np.arange(4.0)), np.arange(4).astype(str))


def test_patients_with_one_image_each_are_clusters_of_one():
    assert cluster_size(np.array(["a", "b"])) == 1.0


def test_an_interval_reads_as_text():
    assert str(Interval(0.714, 0.66, 0.761)) == "0.71 [0.66, 0.76]"
