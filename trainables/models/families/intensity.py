"""`intensity`: colour and first-order statistics of the pixels, the simplest explanation of a label.

It has no weights: every number is a plain function of the image. A model that is not better than a closed-
form head on these has learned no more than how bright, how coloured and how spread the images are.
"""

from collections import OrderedDict
from typing import Final

import torch
from torch import Tensor, nn

from trainables.config.baseline import BASELINE_BACKBONE
from trainables.models.stages import Backbone

QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_LEAST: Final = 1e-6  # of a deviation or a mean, for pixels in [0, 1]; keeps ratios finite


class FirstOrder(nn.Module):
    """Mean, deviation, skewness and quantiles of each channel, and of colours the shares of their means."""

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) to statistics (B, F, 1, 1): F is 10 for grey images and 35 for RGB.

        In order: mean, deviation, skewness, the quantiles of `QUANTILES`, each for all channels; and for RGB
        the share of each channel's mean and the logs of their ratios, red to green and green to blue.
        """
        pixels = images.flatten(2)
        mean = pixels.mean(dim=2)
        centred = pixels - mean.unsqueeze(2)
        deviation = (centred**2).mean(dim=2).sqrt()
        skewness = (centred**3).mean(dim=2) / deviation.clamp_min(_LEAST) ** 3
        found = [mean, deviation, skewness, *quantiles(pixels)]
        if images.shape[1] == 3:
            positive = mean.clamp_min(_LEAST)
            logs = positive.log()
            found += [positive / positive.sum(dim=1, keepdim=True), logs[:, :2] - logs[:, 1:]]
        return torch.cat(found, dim=1)[:, :, None, None]


def quantiles(pixels: Tensor) -> list[Tensor]:
    """Quantiles of (B, C, N), interpolated linearly, one (B, C) for each of `QUANTILES`."""
    count = pixels.shape[2]
    ordered = torch.sort(pixels, dim=2).values
    found = []
    for share in QUANTILES:
        place = share * (count - 1)
        below = int(place)
        above, rest = min(below + 1, count - 1), place - below
        found.append(ordered[:, :, below] * (1.0 - rest) + ordered[:, :, above] * rest)
    return found


def _build(channels: int) -> "OrderedDict[str, nn.Module]":
    return OrderedDict(first_order=FirstOrder())


INTENSITY: Final = Backbone(
    name=BASELINE_BACKBONE,
    build=_build,
    stage_names=("first_order",),
    levels=("first_order",),
    min_size_px=8,
    size_px=256,
    source="First-order statistics, no weights",
    is_fixed=True,
    default_rank=90,
)
