"""Shares of classes in place of labels: the loss, the models of a trial, and closed-form heads."""

import dataclasses

import numpy as np
import pytest
import torch
from finished_run import noise_patches
from split_data import split_in_three

from results.scores.metrics import scores
from trainables.common.errors import ConfigError
from trainables.config.trial_config import decode
from trainables.data.patches import store_patch_set
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.losses import soft_loss, weighted_loss
from trainables.validation.factory import open_validation

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("options", [{}, {"smoothing": 0.1}, {"focal_gamma": 2.0}])
def test_whole_shares_are_labels(outputs, options):
    generator = torch.Generator().manual_seed(0)
    classes = max(outputs, 2)
    logits = torch.randn(3, 8, outputs, generator=generator)
    labels = torch.randint(classes, (3, 8), generator=generator)
    weights = torch.rand(3, classes, generator=generator) + 0.5
    targets = torch.nn.functional.one_hot(labels, classes).float()
    torch.testing.assert_close(
        soft_loss(logits, targets, weights, **options), weighted_loss(logits, labels, weights, **options)
    )


def test_without_weights_it_is_the_cross_entropy_and_least_where_the_probabilities_are_the_targets():
    targets, even = torch.tensor([[0.2, 0.5, 0.3]]), torch.ones(3)
    expected = torch.nn.functional.cross_entropy(torch.tensor([[1.0, 2.0, -1.0]]), targets)
    torch.testing.assert_close(soft_loss(torch.tensor([[1.0, 2.0, -1.0]]), targets, even), expected)
    logits = targets.log().requires_grad_()
    soft_loss(logits, targets, even).backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-7, rtol=0)


# -- the models of a trial

NET = {
    "model.backbone": "scratch4",
    "model.weights": "random",
    "model.trained_stages": "all",
    "model.head.hidden": [],
    "input.size_px": 48,
    "training.epochs": 1,
    "training.mixup": 0.2,
}
HEAD = {"model.backbone": "texture", "classical.name": "logistic", "training.class_weight": "balanced"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    return split_in_three(store_patch_set(noise_patches("uint8", colours=False), store / "data"))


def trained(settings, data, store, *, targets, fusion="sequential"):
    """Out-of-fold probabilities, and the weights of each fold's model, after one epoch."""
    runtime = TrialRuntime(
        store, torch.device("cpu"), {"scratch4": None, "texture": None}, fusion=fusion, features="off"
    )
    given = dataclasses.replace(data, soft_targets=targets)
    validation = open_validation(decode(settings), given, runtime, seed=0, score=scores, metric="auc")
    while not validation.is_over:
        validation.epoch()
    return validation.best.probabilities


@pytest.mark.parametrize(
    ("settings", "fusion"), [(NET, "sequential"), (NET, "fused"), (HEAD, "sequential")], ids=str
)
def test_each_fold_learns_its_own_targets_and_whole_ones_are_labels(settings, fusion, data, tmp_path):
    whole = np.tile(np.eye(2)[data.labels], (3, 1, 1))
    labels = trained(settings, data, tmp_path, targets=None, fusion=fusion)
    np.testing.assert_allclose(
        trained(settings, data, tmp_path, targets=whole, fusion=fusion), labels, atol=2e-5
    )
    other = whole.copy()
    other[1] = 0.5
    changed = np.abs(trained(settings, data, tmp_path, targets=other, fusion=fusion) - labels).max(axis=1)
    assert changed[data.folds == 1].max() > 1e-3
    assert changed[data.folds != 1].max() < 2e-5


def test_a_head_that_learns_whole_labels_says_so(data, tmp_path):
    targets = np.full((3, len(data.labels), 2), 0.5)
    with pytest.raises(ConfigError, match=r"classical\.name=lda learns whole labels, and not the shares"):
        trained({**HEAD, "classical.name": "lda"}, data, tmp_path, targets=targets)


def test_a_training_part_without_a_fold_keeps_the_others_in_order(data):
    rest = data.without_fold(1)
    np.testing.assert_array_equal(rest.rows, data.rows[data.folds != 1])
    np.testing.assert_array_equal(rest.folds, np.where(data.folds == 2, 1, 0)[data.folds != 1])
    np.testing.assert_array_equal(rest.labels, data.labels[data.folds != 1])
    with pytest.raises(ConfigError, match="a split needs two or more; search with 3 folds or more"):
        rest.without_fold(0)
