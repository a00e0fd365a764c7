"""The decision rule: calibrated, robust with few patients, judged on parts it was not fitted on."""

import numpy as np
import pytest

from results.run.records import OutOfFold
from results.scores.calibration import sigmoid
from results.scores.decision_rule import (
    OWN_THRESHOLD,
    DecisionRule,
    balanced_threshold,
    cross_fit,
    fit_decision_rule,
)
from results.scores.decisions import confusion, decisions
from results.scores.fold_scores import out_of_fold_metrics
from results.scores.metrics import STANDARD
from results.scores.operating_point import Operation


def two_columns(value):
    return np.stack([sigmoid(-value), sigmoid(value)], axis=1)


def predictions(images=200, share=0.3, strength=1.5, scale=1.0, shift=0.0, folds=4, seed=0):
    random = np.random.default_rng(seed)
    labels = (np.arange(images) < share * images).astype(np.int64)
    value = scale * (strength * (labels - share) + random.normal(size=images)) + shift
    rows = np.arange(images)
    return OutOfFold(rows, labels, rows % folds, rows.astype(str), two_columns(value))


def test_the_threshold_of_a_calibrated_score_is_the_share_of_positives():
    labels = (np.arange(3000) < 600).astype(np.int64)
    value = np.where(labels == 1, 1.0, -1.0) + np.log(0.25) + np.random.default_rng(0).normal(size=3000)
    assert balanced_threshold(labels, two_columns(value)) == pytest.approx(0.2, abs=0.08)


def test_where_the_share_decides_badly_the_nearest_good_threshold_is_taken():
    labels = np.repeat([0, 1], [80, 20])
    positive = np.where(labels == 1, 0.9, 0.6) + np.random.default_rng(0).uniform(-0.02, 0.02, 100)
    found = balanced_threshold(labels, np.stack([1 - positive, positive], axis=1))
    assert 0.58 < found < 0.92
    decided = decisions(np.stack([1 - positive, positive], axis=1), found)
    assert (decided == labels).mean() >= 0.97


@pytest.mark.parametrize("scale", [0.05, 1.0, 8.0])
@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
def test_a_perfect_ranking_of_few_images_is_never_called_one_class(scale, shift):
    # 48 images, 12 of a class in each fold: scores of any scale and place, perfectly ranked.
    one = predictions(images=48, share=0.5, strength=8.0, scale=scale, shift=shift)
    rule = fit_decision_rule(one)
    shipped = rule.mean_calibration.apply(one.probabilities)
    matrix = confusion(one.labels, decisions(shipped, rule.threshold), 2)
    assert matrix.tolist() == [[24, 0], [0, 24]]


def test_more_than_two_classes_have_no_rule():
    one = OutOfFold(np.arange(3), np.arange(3), np.arange(3), np.arange(3).astype(str), np.eye(3))
    assert fit_decision_rule(one) == DecisionRule()


def test_probabilities_out_of_fold_are_those_of_the_data_whatever_prevalence_decisions_are_for():
    one = predictions()
    here, there = (
        cross_fit(one, operation=Operation.of(at="sensitivity=0.9", prevalence=share))
        for share in (None, 0.006)
    )
    np.testing.assert_allclose(there.probabilities, here.probabilities, rtol=1e-9)
    assert there.probabilities[:, 1].mean() == pytest.approx(one.labels.mean(), abs=0.02)
    np.testing.assert_array_equal(there.decided["recall"], here.decided["recall"])


@pytest.mark.parametrize("searched", [("auc",), ("balanced_accuracy",), ("f2", "balanced_accuracy")])
def test_an_operating_point_holds_for_what_is_called_whatever_the_search_optimises(searched):
    one = predictions(images=600)
    found = cross_fit(one, searched=searched, metrics=(), operation=Operation.of(at="specificity=0.95"))
    assert dict(found.decided) == {}
    alarms = found.called[one.labels == 0].mean()
    assert alarms == pytest.approx(0.05, abs=0.02)


def test_without_an_operating_point_the_threshold_of_the_main_metric_decides_what_is_called():
    one = predictions(images=600)
    found = cross_fit(one, searched=("f2", "balanced_accuracy"))
    np.testing.assert_array_equal(found.called, found.decided["f2"])
    assert (found.called != found.decided["balanced_accuracy"]).any()


def test_triage_out_of_fold_is_that_of_probabilities_at_the_prevalence_asked_for():
    one = predictions(images=600)
    here, there = (
        cross_fit(one, operation=Operation.of(triage="missed=0.2,alarms=0.2", prevalence=share)).outcomes
        for share in (None, 0.006)
    )
    np.testing.assert_array_equal(here, there)
    assert len(np.unique(there)) == 3


def test_f1_and_f2_have_thresholds_of_their_own_and_all_others_share_one():
    rule = fit_decision_rule(predictions())
    assert set(rule.thresholds) == set(OWN_THRESHOLD)
    assert rule.threshold_of("f2") < rule.threshold
    assert rule.threshold_of("recall") == rule.threshold_of("mcc") == rule.threshold


def test_a_fold_is_decided_without_its_labels():
    one = predictions()
    own = one.folds == 2
    turned = OutOfFold(
        one.rows, np.where(own, 1 - one.labels, one.labels), one.folds, one.groups, one.probabilities
    )
    first, second = cross_fit(one), cross_fit(turned)
    np.testing.assert_array_equal(first.probabilities[own], second.probabilities[own])
    for metric, decided in first.decided.items():
        np.testing.assert_array_equal(decided[own], second.decided[metric][own])


def test_decisions_on_noise_are_no_better_than_chance():
    found = [
        out_of_fold_metrics(predictions(images=400, strength=0.0, seed=seed))["balanced_accuracy"]
        for seed in range(20)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.015)


def test_f2_of_noise_is_that_of_calling_everything_positive():
    found = out_of_fold_metrics(predictions(images=400, share=0.5, strength=0.0))
    assert found["f2"] == pytest.approx(5 * 0.5 / (5 * 0.5 + 0.5), abs=0.02)


def test_too_few_patients_are_decided_at_a_half_as_they_are():
    both, patients = np.array([[0.4, 0.6], [0.3, 0.7]]), np.array(["a", "b"])
    one = OutOfFold(np.arange(2), np.array([0, 1]), np.zeros(2, dtype=int), patients, both)
    found = cross_fit(one)
    np.testing.assert_array_equal(found.probabilities, one.probabilities)
    assert found.decided["recall"].tolist() == [1, 1]


def test_all_metrics_are_there():
    assert set(out_of_fold_metrics(predictions())) == set(STANDARD)
