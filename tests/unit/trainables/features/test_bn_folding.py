from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainables.features.bn_folding import folded
from trainables.models.registry import BACKBONES
from trainables.models.weights import build_stages

pytestmark = pytest.mark.slow

# NASNet's separable convolutions are modules of their own: their normalisations have no convolution beside
# them.
PARTLY = {"nasnet"}


def stir(module: nn.Module) -> None:
    """Give normalisations statistics as training would."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.5, 0.5)
            layer.running_var.uniform_(0.5, 2.0)
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.uniform_(-0.5, 0.5)


def count_normalisations(module: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_a_folded_backbone_computes_the_same_with_fewer_or_no_normalisations(name: str) -> None:
    backbone = BACKBONES[name]
    torch.manual_seed(0)
    channels = backbone.channels or 1
    body = nn.Sequential(build_stages(backbone, channels=channels, weights=None)).eval()
    stir(body)
    side = max(96, backbone.min_size_px)
    pixels = torch.rand(2, channels, side, side)
    faster = folded(body, pixels)
    other = torch.rand(2, channels, side, side)
    with torch.inference_mode():
        found, wanted = faster(other), body(other)
    assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    before, after = count_normalisations(body), count_normalisations(faster)
    if name in PARTLY:
        assert 0 < after < before
    else:
        assert after == 0


class Crossed(nn.Module):
    """Neighbours in the list that are no neighbours in the computation."""

    def __init__(self, forward: Callable[["Crossed", Tensor], Tensor]) -> None:
        super().__init__()
        self.convolution, self.normalisation = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
        self._forward = forward

    def forward(self, features: Tensor) -> Tensor:
        return self._forward(self, features)


def test_a_stage_that_is_written_in_another_way_is_left_as_it_is() -> None:
    stage = Crossed(lambda self, x: self.convolution(self.normalisation(x).relu())).eval()
    stir(stage)
    assert folded(stage, torch.rand(2, 2, 4, 4)) is stage


def test_a_stage_without_normalisation_is_left_as_it_is() -> None:
    stage = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU()).eval()
    assert folded(stage, torch.rand(2, 2, 4, 4)) is stage
