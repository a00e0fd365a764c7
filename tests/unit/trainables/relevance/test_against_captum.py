"""The rules of relevance methods give what another library computes for the same net: captum as an oracle."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from captum.attr import (
    LRP,
    IntegratedGradients,
    LayerActivation,
    LayerGradientXActivation,
    Occlusion,
)
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule
from torch import Tensor, nn

from results.relevance.hiding import filled
from results.relevance.method import RelevanceSettings
from results.relevance.methods.occlusion import occlusion_map
from trainables.relevance.backward_rules import ACTIVATIONS, other_gradients
from trainables.relevance.gradient_method import GradientSettings
from trainables.relevance.methods import layer_cam
from trainables.relevance.methods.integrated_gradients import integrated_gradients
from trainables.relevance.methods.lrp import _identity_rule, _positive_rule
from trainables.relevance.pixels import over_channels
from trainables.relevance.reference_image import blurred

SIDE = 63


class Net(nn.Module):
    """A small net of two convolutions, from raw pixels (B, H, W) to the logits of two classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.one, self.two = nn.ReLU(), nn.ReLU()
        self.head = nn.Linear(8 * 32 * 32, 2)
        self.eval()

    def forward(self, raw: Tensor) -> Tensor:
        maps = self.two(self.second(self.one(self.first(raw.unsqueeze(1) / 255))))
        found: Tensor = self.head(maps.flatten(1))
        return found

    def log_odds(self, raw: Tensor, label: int) -> Tensor:
        """Difference of the two logits."""
        logits = self(raw)
        found: Tensor = logits[:, label] - logits[:, 1 - label]
        return found


def image() -> Tensor:
    """Noise with a bright square, (1, 63, 63)."""
    grey = np.random.default_rng(0).normal(90, 15, (SIDE, SIDE))
    grey[20:30, 36:46] += 90
    return torch.from_numpy(np.clip(grey, 1, 255).astype(np.float32))[None]


def test_integrated_gradients() -> None:
    net, raw = Net(), image()
    oracle = IntegratedGradients(lambda pixels: net.log_odds(pixels, 1))
    expected = oracle.attribute(raw, baselines=blurred(raw), n_steps=32, method="riemann_middle")
    found = integrated_gradients(cast(Any, net), raw, 1, GradientSettings(steps=32))
    np.testing.assert_allclose(found, over_channels(expected), atol=1e-7, rtol=1e-4)
    assert np.ptp(found) > 5e-4


def test_occlusion_of_one_scale() -> None:
    net, raw = Net(), image()
    pixels = raw[0].numpy()

    def score(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net.log_odds(torch.from_numpy(images.astype(np.float32)), 1).double().numpy()

    found = occlusion_map(score, pixels, 7, RelevanceSettings(fill="mean"))
    behind = torch.from_numpy(filled(pixels, "mean", scale_px=SIDE / 3))[None]
    oracle = Occlusion(lambda images: net.log_odds(images, 1))
    expected = oracle.attribute(raw, (SIDE // 3, SIDE // 3), strides=SIDE // 3, baselines=behind)
    assert found.evaluations == 10  # nine windows, and the whole image
    np.testing.assert_allclose(found.values, expected[0].numpy(), atol=1e-5)


def test_layer_cam_is_the_positive_part_of_gradient_by_activation() -> None:
    net, raw = Net(), image()

    def odds(pixels: Tensor) -> Tensor:
        return net.log_odds(pixels, 1)

    product = LayerGradientXActivation(odds, net.two).attribute(raw)
    activation = LayerActivation(odds, net.two).attribute(raw)
    gradient = torch.where(activation > 0, product / activation.clamp_min(1e-12), torch.zeros_like(product))
    found = layer_cam._map_of(activation.detach(), gradient.detach())
    torch.testing.assert_close(found, product.detach().clamp_min(0).sum(dim=1))


def test_layer_wise_relevance_by_the_positive_rule() -> None:
    net, raw = Net(), image().requires_grad_()
    for layer in (net.first, net.second):
        assert layer.bias is not None  # as torch declares it may be
        nn.init.zeros_(layer.bias)  # captum shares out differently what a bias takes
        vars(layer)["rule"] = Alpha1_Beta0_Rule()  # where captum looks for it
    vars(net.head)["rule"] = EpsilonRule(epsilon=1e-9)
    expected = LRP(net).attribute(raw.detach().clone().requires_grad_(), target=1)
    rules = {(nn.Conv2d,): _positive_rule, ACTIVATIONS: _identity_rule}
    with other_gradients(net, rules):
        (gradient,) = torch.autograd.grad(net(raw)[:, 1].sum(), raw)
    found = (gradient * raw).detach()
    likeness = np.corrcoef(found.flatten().numpy(), expected.detach().flatten().numpy())[0, 1]
    assert likeness == pytest.approx(1.0, abs=1e-3)
