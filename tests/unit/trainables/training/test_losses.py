import numpy as np
import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from trainables.models.heads import probabilities
from trainables.training.losses import class_weights, log_loss, weighted_loss

LABELS = np.array([0, 0, 0, 1])


def test_class_weights_follow_their_definitions() -> None:
    np.testing.assert_allclose(class_weights("none", LABELS, 2), [1, 1])
    np.testing.assert_allclose(class_weights("balanced", LABELS, 2), [4 / 6, 4 / 2])
    np.testing.assert_allclose(class_weights("other_share", LABELS, 2), [0.25, 0.75])
    np.testing.assert_allclose(class_weights(1.3, LABELS, 2), [1, 1.3])


def test_a_class_alone_in_a_training_part_still_counts() -> None:
    alone = np.zeros(3, dtype=np.int64)
    weights = class_weights("other_share", alone, 2)
    np.testing.assert_allclose(weights, [1, 1])
    assert log_loss(alone, np.full((3, 2), 0.5), weights) == pytest.approx(np.log(2))


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


def test_effective_weights_follow_the_formula_of_the_paper() -> None:
    beta, counts = 0.9, np.array([3, 1])
    inverse = (1 - beta) / (1 - beta**counts)
    expected = inverse * 2 / inverse.sum()
    np.testing.assert_allclose(class_weights("effective", LABELS, 2, beta=beta), expected)
    assert class_weights("effective", LABELS, 2, beta=0.5).sum() == pytest.approx(2.0)


def test_effective_weights_lie_between_none_and_balanced() -> None:
    np.testing.assert_allclose(class_weights("effective", LABELS, 2, beta=0.0), [1, 1])
    balanced = class_weights("balanced", LABELS, 2)
    nearly = class_weights("effective", LABELS, 2, beta=1 - 1e-9)
    assert nearly[1] / nearly[0] == pytest.approx(balanced[1] / balanced[0], rel=1e-6)
    assert np.isfinite(class_weights("effective", np.array([0, 0]), 2)).all()  # a class without an image


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_the_focal_loss_is_that_of_torchvision_with_its_gradient(gamma: float) -> None:
    logits = torch.tensor([[-4.0], [-0.3], [0.0], [2.0], [9.0]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 0, 1])
    expected = sigmoid_focal_loss(logits[:, 0], labels.double(), alpha=-1, gamma=gamma, reduction="mean")
    found = weighted_loss(logits, labels, torch.ones(2, dtype=torch.float64), focal_gamma=gamma)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)
    (own,), (theirs,) = torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits)
    torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_focal_loss_of_one_and_of_two_logits_agree(smoothing: float) -> None:
    one = torch.randn(6, 1, dtype=torch.float64)
    two = torch.cat([torch.zeros_like(one), one], dim=1)
    labels, weights = torch.tensor([0, 1, 1, 0, 1, 0]), torch.tensor([1.0, 2.0], dtype=torch.float64)
    # Two logits spread the smoothing over both classes, one logit takes it from each.
    torch.testing.assert_close(
        weighted_loss(one, labels, weights, smoothing=smoothing, focal_gamma=2.0),
        weighted_loss(two, labels, weights, smoothing=2 * smoothing, focal_gamma=2.0),
    )


def test_the_focal_loss_of_a_certain_hit_has_a_finite_gradient() -> None:
    logits = torch.tensor([[80.0, 0.0]], requires_grad=True)
    weighted_loss(logits, torch.tensor([0]), torch.ones(2), focal_gamma=0.5).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_validation_loss_of_a_focal_trial_is_its_training_loss() -> None:
    logits = torch.randn(8, 1, dtype=torch.float64)
    labels = torch.tensor([0, 1, 1, 0, 1, 0, 0, 0])
    loss = weighted_loss(logits, labels, torch.ones(2, dtype=torch.float64), focal_gamma=2.0)
    found = log_loss(labels.numpy(), probabilities(logits).numpy(), focal_gamma=2.0)
    assert found == pytest.approx(loss.item())
