import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from results.run.records import OutOfFold
from results.scores.auc_influence import auc_influences
from results.scores.auc_interval import auc_interval
from results.scores.calibration import sigmoid
from results.scores.stratum_auc import blocked_auc
from trainables.common.errors import OneClassError


def _drawn(images=240, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(images) % 2
    positive = sigmoid(random.normal(size=images).round(1) + labels)
    groups = (np.arange(images) // 4).astype(str)
    return labels, np.stack([1 - positive, positive], axis=1), groups, random


def test_in_one_block_it_is_the_auc_of_scikit_learn_with_the_interval_of_the_product():
    labels, probabilities, groups, _ = _drawn()
    found = blocked_auc(labels, probabilities, np.zeros_like(labels), groups)
    one_fold = OutOfFold(np.arange(len(labels)), labels, np.zeros_like(labels), groups, probabilities)
    assert found.estimate == pytest.approx(roc_auc_score(labels, probabilities[:, 1]))
    np.testing.assert_allclose(found.influences, auc_influences(one_fold), atol=1e-12)
    expected = auc_interval(one_fold)
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))


def test_pairs_of_blocks_weigh_alike():
    labels, probabilities, groups, random = _drawn()
    blocks = random.choice(4, size=len(labels), p=[0.6, 0.2, 0.1, 0.1])
    wins = pairs = 0.0
    for block in range(4):
        own = blocks == block
        count = labels[own].sum() * (1 - labels[own]).sum()
        wins += roc_auc_score(labels[own], probabilities[own, 1]) * count
        pairs += count
    assert blocked_auc(labels, probabilities, blocks, groups).estimate == pytest.approx(wins / pairs)


def test_a_part_of_the_images_is_scored_by_itself():
    labels, probabilities, groups, random = _drawn()
    own = random.random(len(labels)) < 0.4
    found = blocked_auc(labels, probabilities, np.zeros_like(labels), groups, images=own)
    assert found.estimate == pytest.approx(roc_auc_score(labels[own], probabilities[own, 1]))
    assert len(found.influences) == len(np.unique(groups))


def test_a_perfect_auc_is_not_certain():
    labels = np.array([0] * 6 + [1] * 6)
    positive = np.linspace(0.1, 0.9, 12)
    both = np.stack([1 - positive, positive], axis=1)
    found = blocked_auc(labels, both, np.zeros_like(labels), np.arange(12).astype(str))
    assert found.estimate == 1.0
    assert 0.5 < found.interval.low < 0.95


def test_blocks_of_one_class_have_no_auc():
    labels, probabilities, groups, _ = _drawn()
    with pytest.raises(OneClassError, match="two classes within a block"):
        blocked_auc(labels, probabilities, labels, groups)
