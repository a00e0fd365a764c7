"""Intervals equal the slow definition, respect patients, and are fast."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from results.run.records import OutOfFold
from results.scores.bootstrap import bootstrap_interval, fold_auc_statistic
from results.scores.interval import Interval
from trainables.common.errors import OneClassError


def two_columns(positive):
    return np.stack([1 - positive, positive], axis=1)


def interval_of(predictions, **choices):
    statistic = fold_auc_statistic(predictions.labels, predictions.probabilities, predictions.folds)
    return bootstrap_interval(predictions.groups, statistic, **choices)


def noisy_predictions(images, patients, seed, strength=1.0):
    random = np.random.default_rng(seed)
    of_patient = random.integers(patients, size=images)
    labels = (random.random(patients) < 0.4).astype(np.int64)[of_patient]
    positive = 1 / (1 + np.exp(-(strength * labels + random.normal(size=images))))
    rows = np.arange(images)
    return OutOfFold(rows, labels, of_patient % 5, of_patient.astype(str), two_columns(positive))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_a_weighted_auc_equals_sklearn_on_the_expanded_resample(seed, images):
    random = np.random.default_rng(seed)
    labels = random.integers(2, size=images)
    positive = random.integers(6, size=images) / 5  # many ties
    counts = random.integers(3, size=(4, images))
    found = fold_auc_statistic(labels, two_columns(positive))(counts)
    for value, count in zip(found, counts, strict=True):
        expanded = np.repeat(np.arange(images), count)
        if len(set(labels[expanded])) < 2:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(roc_auc_score(labels[expanded], positive[expanded]), abs=1e-14)


def test_more_classes_are_scored_one_against_the_rest():
    random = np.random.default_rng(0)
    labels, raw = random.integers(3, size=60), random.random((60, 3))
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    found = fold_auc_statistic(labels, probabilities)(np.ones((1, 60), dtype=np.int64))
    assert found[0] == pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr"))


def test_a_fold_left_with_one_class_has_no_part_in_the_mean():
    labels, folds = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    area = fold_auc_statistic(labels, two_columns(np.array([0.1, 0.9, 0.9, 0.1])), folds)
    assert area(np.array([[1, 1, 1, 1], [1, 1, 2, 0]])).tolist() == [0.5, 1.0]


def test_a_thousand_resamples_of_sixteen_hundred_images_take_less_than_a_second():
    predictions = noisy_predictions(1600, 600, seed=1)
    started = time.perf_counter()
    interval_of(predictions, resamples=1000, seed=0)
    assert time.perf_counter() - started < 1.0


def test_the_interval_holds_the_estimate_and_repeats_with_its_seed():
    predictions = noisy_predictions(400, 100, seed=2)
    first, again = (interval_of(predictions, resamples=300, seed=4) for _ in range(2))
    assert first == again
    assert first.low < first.estimate < first.high
    assert interval_of(predictions, resamples=300, seed=5) != first


def test_blocks_do_not_change_the_number_of_resamples(monkeypatch):
    monkeypatch.setattr("results.scores.bootstrap._CELLS_AT_ONCE", 1000)
    drawn = []

    def statistic(counts):
        drawn.append(len(counts))
        return counts[:, 0].astype(float)

    bootstrap_interval(np.arange(100).astype(str), statistic, resamples=25, seed=0)
    assert drawn == [1, 10, 10, 10]


def test_images_of_a_patient_are_drawn_together():
    def all_or_none(counts):
        assert (counts[:, 0] == counts[:, 1]).all()
        return counts.sum(axis=1).astype(float)

    bootstrap_interval(np.array(["a", "a", "b"]), all_or_none, resamples=50, seed=0)


def test_repeating_images_within_patients_does_not_narrow_the_interval():
    once = noisy_predictions(120, 120, seed=3)
    often = OutOfFold(*(np.repeat(getattr(once, name), 8, axis=0) for name in OutOfFold.__slots__))
    narrow, wide = (interval_of(one, resamples=400, seed=0) for one in (often, once))
    assert (narrow.low, narrow.high) == pytest.approx((wide.low, wide.high))


def test_resamples_of_one_class_are_drawn_again():
    labels, positive = np.array([0, 1]), np.array([0.1, 0.9])
    area = fold_auc_statistic(labels, two_columns(positive))
    assert bootstrap_interval(np.array(["a", "b"]), area, resamples=50, seed=0) == Interval(1.0, 1.0, 1.0)


def test_images_of_one_class_have_no_interval():
    area = fold_auc_statistic(np.array([1, 1]), two_columns(np.array([0.1, 0.9])))
    with pytest.raises(OneClassError, match="two classes within a fold"):
        bootstrap_interval(np.array(["a", "b"]), area, resamples=50, seed=0)
