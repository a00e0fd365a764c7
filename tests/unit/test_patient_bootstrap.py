"""The percentile bootstrap of the benchmarks respects patients, repeats with its seed, and is fast."""

import time

import numpy as np
import pytest

from benchmarks.patient_bootstrap import bootstrap_interval
from results.run.records import OutOfFold
from results.scores.bootstrap import fold_auc_statistic
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
    monkeypatch.setattr("benchmarks.patient_bootstrap._CELLS_AT_ONCE", 1000)
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
    often = OutOfFold(*(np.repeat(getattr(once, name), 8, axis=0) for name in OutOfFold.ARRAYS))
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
