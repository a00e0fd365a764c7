import numpy as np
import pytest
import torch

from trainables.models.heads import probabilities
from trainables.training.losses import class_weights, log_loss, weighted_loss

LABELS = np.array([0, 0, 0, 1])


def test_class_weights_follow_their_definitions() -> None:
    np.testing.assert_allclose(class_weights("none", LABELS, 2), [1, 1])
    np.testing.assert_allclose(class_weights("balanced", LABELS, 2), [4 / 6, 4 / 2])
    np.testing.assert_allclose(class_weights("other_share", LABELS, 2), [0.25, 0.75])
    np.testing.assert_allclose(class_weights(1.3, LABELS, 2), [1, 1.3])


def test_the_loss_is_divided_by_images_not_by_weights() -> None:
    # Cross-entropies .2 and .4, weights 1 and 4: (.2 + 1.6) / 2 = .9, as seed 003 computed it.
    logits = torch.tensor(
        [[np.log(1 / np.exp(-0.2) - 1)], [-np.log(1 / np.exp(-0.4) - 1)]], dtype=torch.float64
    )
    loss = weighted_loss(logits, torch.tensor([0, 1]), torch.tensor([1.0, 4.0], dtype=torch.float64))
    assert loss.item() == pytest.approx(0.9)


def test_one_logit_and_two_logits_agree() -> None:
    one = torch.randn(6, 1, dtype=torch.float64)
    two = torch.cat([torch.zeros_like(one), one], dim=1)
    labels, weights = torch.tensor([0, 1, 1, 0, 1, 0]), torch.tensor([1.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(weighted_loss(one, labels, weights), weighted_loss(two, labels, weights))
    torch.testing.assert_close(probabilities(one), probabilities(two))


def test_smoothing_pulls_the_best_probability_off_the_edge() -> None:
    sure = torch.tensor([[20.0]])
    plain = weighted_loss(sure, torch.tensor([1]), torch.ones(2))
    smoothed = weighted_loss(sure, torch.tensor([1]), torch.ones(2), smoothing=0.1)
    assert plain < 1e-6 < smoothed


def test_a_certain_mistake_has_a_finite_log_loss() -> None:
    assert np.isfinite(log_loss(np.array([1]), np.array([[1.0, 0.0]])))
