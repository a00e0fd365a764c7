"""A relevance method that looks into the net, as `trainables.relevance.methods` holds it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from trainables.common.errors import ConfigError
from trainables.common.types import Float64Array
from trainables.inference.finished_trials import SharedBackbones


class Differentiable(Protocol):
    """A model whose log odds have gradients."""

    @property
    def members(self) -> SharedBackbones:
        """The trials of the model."""

    @property
    def device(self) -> torch.device:
        """Device that the model runs on."""

    def log_odds(self, raw: Tensor, label: int) -> Tensor:
        """Map raw pixels as floats, (B, H, W) or (B, H, W, 3), to the log odds of a class, (B,)."""


@dataclass(frozen=True, slots=True)
class GradientSettings:
    """Settings of the methods that look into the net.

    Attributes:
        steps: Number of images on the way from the reference to the image, for `integrated_gradients`.
        unit_share: Share c of a unit's highest activation from which on a pixel stays, for `unit_mask`.

    Raises:
        ConfigError: If a value is out of its range.
    """

    steps: int = 32
    unit_share: float = 0.5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"integrated gradients need at least 1 step, found {self.steps}")
        if not 0 < self.unit_share < 1:
            raise ConfigError(f"the share of an activation lies between 0 and 1, found {self.unit_share:g}")


@dataclass(frozen=True, slots=True)
class GradientMethod:
    """A relevance method that looks into the net.

    Attributes:
        name: Name that the user types.
        about: What a value of the map means, in a sentence.
        compute: Model, raw image as floats of shape (1, H, W) or (1, H, W, 3), class, settings -> relevance,
            float64, (H, W).
        source: Paper.
    """

    name: str
    about: str
    compute: Callable[[Differentiable, Tensor, int, GradientSettings], Float64Array]
    source: str


def check_has_gradient(name: str, gradients: "list[Tensor] | tuple[Tensor, ...]") -> None:
    """Refuse a model without a gradient, such as one of neighbours or trees.

    Raises:
        ConfigError: If every gradient is 0.
    """
    if not any(bool(torch.count_nonzero(gradient)) for gradient in gradients):
        raise ConfigError(
            f"{name} needs a model whose probability has a gradient, and this one answers in steps, or at "
            "the end of its range; take --method occlusion or rise"
        )
