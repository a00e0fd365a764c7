"""Layers of nets that were written for TensorFlow: SAME padding, units, branches and residuals.

TensorFlow's SAME keeps ceil(size / stride) positions and pads one more pixel at the bottom and right where
the padding is odd; torch pads both sides alike. So the padding is a separate layer where the two differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Padding = Literal["same", "valid"]
Kernel = int | tuple[int, int]


def same_padding(size: int, *, kernel: int, stride: int) -> tuple[int, int]:
    """Numbers of pixels that TensorFlow's SAME adds before and after a side.

    Args:
        size: Length of the side, in pixels, at least 1.
        kernel: Length of the window, in pixels.
        stride: Step of the window, in pixels.

    >>> same_padding(150, kernel=3, stride=2), same_padding(75, kernel=3, stride=2)
    ((0, 1), (1, 1))
    """
    positions = -(-size // stride)
    total = max(0, (positions - 1) * stride + kernel - size)
    return total // 2, total - total // 2


class SamePad(nn.Module):
    """Pads as TensorFlow's SAME does for a window of this kernel and stride.

    Args:
        kernel: Side of the window, in pixels.
        stride: Step of the window, in pixels.
        value: Value of the padding: 0 before a convolution, minus infinity before a maximum.
    """

    def __init__(self, kernel: int, stride: int, *, value: float = 0.0) -> None:
        super().__init__()
        self.kernel, self.stride, self.value = kernel, stride, value

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H + vertical padding, W + horizontal padding)."""
        height, width = features.shape[-2:]
        top, bottom = same_padding(height, kernel=self.kernel, stride=self.stride)
        left, right = same_padding(width, kernel=self.kernel, stride=self.stride)
        return F.pad(features, (left, right, top, bottom), value=self.value)


class SameAveragePool(nn.Module):
    """Average over a window at stride 1, SAME; padding is not averaged, as in TensorFlow.

    Args:
        kernel: Side of the window, in pixels.
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel, self.pad = kernel, SamePad(kernel, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        ones = torch.ones_like(features[:1, :1])
        sums = F.avg_pool2d(self.pad(features), self.kernel, stride=1)
        return sums / F.avg_pool2d(self.pad(ones), self.kernel, stride=1)


class Branches(nn.ModuleList):
    """Parallel modules on the same input; their outputs are concatenated along the channels."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, sum of the branches' channels, H', W')."""
        return torch.cat([branch(features) for branch in self], dim=1)


class Residual(nn.Module):
    """A residual connection: the output of a body plus its input through a shortcut.

    Args:
        body: Module from (B, C, H, W) to (B, C', H', W').
        shortcut: Module between the same two shapes.
    """

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        summed: Tensor = self.body(features) + self.shortcut(features)
        return summed


@dataclass(frozen=True, slots=True)
class Recipe:
    """Normalisation and initial weights of a net's convolutions.

    Attributes:
        has_norm: True for batch normalisation between convolution and ReLU.
        norm_eps: Number added to the variance in batch normalisation.
        norm_momentum: Weight of a batch in the running statistics: 1 minus TensorFlow's momentum.
        weight_sd: Standard deviation of truncated normal weights; None draws Glorot-uniform ones, as Keras.
    """

    has_norm: bool
    norm_eps: float = 1e-3
    norm_momentum: float = 0.01
    weight_sd: float | None = None


KERAS: Final = Recipe(has_norm=False)
KERAS_NORMALISED: Final = Recipe(has_norm=True)
TF003: Final = Recipe(has_norm=True, norm_eps=1e-8, weight_sd=0.05)


def unit(
    recipe: Recipe, inputs: int, filters: int, kernel: Kernel, *, stride: int = 1, padding: Padding = "same"
) -> nn.Sequential:
    """Build padding where SAME needs it, a convolution with bias, optional batch normalisation, and ReLU.

    Args:
        recipe: Normalisation and initial weights.
        inputs: Number of input channels.
        filters: Number of output channels.
        kernel: Side, or (height, width), of the window; odd, in pixels.
        stride: Stride, 1; with a square kernel it may be larger.
        padding: `same` or `valid`.

    Returns:
        Module from (B, inputs, H, W) to (B, filters, ceil(H / stride), ceil(W / stride)) where SAME.
    """
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    is_symmetric = padding == "same" and stride == 1
    own = (height // 2, width // 2) if is_symmetric else (0, 0)
    convolution = nn.Conv2d(inputs, filters, (height, width), stride=stride, padding=own)
    _draw(convolution, recipe)
    layers: list[nn.Module] = [convolution]
    if padding == "same" and not is_symmetric:
        layers.insert(0, SamePad(height, stride))
    if recipe.has_norm:
        layers.append(nn.BatchNorm2d(filters, eps=recipe.norm_eps, momentum=recipe.norm_momentum))
    return nn.Sequential(*layers, nn.ReLU())


def chain(recipe: Recipe, inputs: int, filters: Sequence[int]) -> nn.Sequential:
    """Build 3x3 units in sequence, stride 1, SAME: (B, inputs, H, W) to (B, filters[-1], H, W)."""
    widths = (inputs, *filters)
    return nn.Sequential(*(unit(recipe, one, other, 3) for one, other in zip(widths, filters, strict=False)))


def max_pool(kernel: int, *, padding: Padding = "same") -> nn.Sequential:
    """Build max-pooling with stride 2: (B, C, H, W) to (B, C, ceil(H / 2), ceil(W / 2)) where SAME."""
    pool = nn.MaxPool2d(kernel, stride=2)
    if padding == "valid":
        return nn.Sequential(pool)
    return nn.Sequential(SamePad(kernel, 2, value=float("-inf")), pool)


def _draw(convolution: nn.Conv2d, recipe: Recipe) -> None:
    if recipe.weight_sd is None:
        nn.init.xavier_uniform_(convolution.weight)
    else:
        sd = recipe.weight_sd
        nn.init.trunc_normal_(convolution.weight, std=sd, a=-2 * sd, b=2 * sd)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
