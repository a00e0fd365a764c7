"""The reference of a gradient method: the image, blurred until what could be a finding is gone."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

_SHARE: Final = 1 / 12  # deviation of the blur, as a share of the image's longer side


def blurred(raw: Tensor) -> Tensor:
    """Blur images (B, H, W) or (B, H, W, 3); the edges are reflected, and the shape stays."""
    images = raw.unsqueeze(1) if raw.dim() == 3 else raw.permute(0, 3, 1, 2)
    deviation = max(0.5, _SHARE * max(images.shape[2:]))
    for dim in (2, 3):
        images = _along(images, dim, deviation)
    return images.squeeze(1) if raw.dim() == 3 else images.permute(0, 2, 3, 1)


def _along(images: Tensor, dim: int, deviation: float) -> Tensor:
    length = images.shape[dim]
    reach = min(round(3 * deviation), length - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    weights = torch.exp(-(offsets**2) / (2 * deviation**2))
    shape = (1, 1, -1, 1) if dim == 2 else (1, 1, 1, -1)
    kernel = (weights / weights.sum()).view(shape)
    channels = images.shape[1]
    padding = (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0)
    padded = F.pad(images, padding, mode="reflect")
    return F.conv2d(padded, kernel.expand(channels, 1, *kernel.shape[2:]), groups=channels)
