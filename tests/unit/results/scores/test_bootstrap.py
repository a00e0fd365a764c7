"""The AUC of resamples equals the slow definition, and patients are drawn whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from results.scores.bootstrap import draw_counts, fold_auc_statistic


def two_columns(positive):
    return np.stack([1 - positive, positive], axis=1)


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


def test_images_of_a_patient_are_drawn_together():
    patients = np.array([0, 0, 1, 2])
    counts = draw_counts(patients, 50, np.random.default_rng(0))
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 1:].sum(axis=1) == 3).all()
    assert counts[:, 1:].std(axis=0).min() > 0
