"""Activation maximisation: the image that a net prefers for a class, found from noise.

Source:
    Simonyan, Vedaldi and Zisserman (2014), Deep inside convolutional networks, arXiv 1312.6034.
    Mahendran and Vedaldi (2016), Visualizing deep convolutional neural networks using natural pre-images,
    arXiv 1512.02017: jitter, and a bound on the total variation.
"""

from typing import Final

import torch
from torch import Tensor

from trainables.common.types import Float32Array
from trainables.relevance.gradient_method import Differentiable, check_has_gradient

STEPS: Final = 96
_RATE: Final = 0.05
_SMOOTH: Final = 20.0  # weight of the mean total variation, against the log odds
_NEAR_GREY: Final = 0.2  # weight of the distance from mid-grey, so that the image stays within its range
_JITTER: Final = 1 / 16  # of the side


def preferred_image(
    model: Differentiable,
    shape: tuple[int, ...],
    label: int,
    *,
    max_value: float,
    steps: int = STEPS,
    seed: int = 0,
) -> tuple[Float32Array, list[float]]:
    """Find an image with high log odds of a class.

    Args:
        model: The model.
        shape: Shape of the image, (H, W) or (H, W, 3).
        label: Index of the class.
        max_value: Pixel value that is white.
        steps: Number of steps of Adam, at least 1.
        seed: Seed of the noise that it starts from, and of the shifts.

    Returns:
        The image, raw pixels from 0 to `max_value`, and the log odds before each step.

    Raises:
        ConfigError: If the model has no gradient.
    """
    generator = torch.Generator().manual_seed(seed)
    # Drawn on the CPU, so that the noise is the same on every device.
    hidden = (0.2 * torch.randn((1, *shape), generator=generator)).to(model.device).requires_grad_()
    optimizer, odds = torch.optim.Adam([hidden], lr=_RATE), list[float]()
    reach = max(1, round(_JITTER * max(shape[:2])))
    (first,) = torch.autograd.grad(model.log_odds(max_value * torch.sigmoid(hidden), label).sum(), hidden)
    check_has_gradient("the preferred image", [first])
    for _ in range(steps):
        shift = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
        pixels = torch.roll(torch.sigmoid(hidden), shifts=shift, dims=(1, 2))
        score = model.log_odds(max_value * pixels, label).sum()
        loss = -score + _SMOOTH * _variation(pixels) + _NEAR_GREY * ((pixels - 0.5) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        odds.append(float(score.detach()))
    found: Float32Array = (max_value * torch.sigmoid(hidden))[0].detach().cpu().numpy()
    return found, odds


def _variation(pixels: Tensor) -> Tensor:
    down, right = pixels[:, 1:] - pixels[:, :-1], pixels[:, :, 1:] - pixels[:, :, :-1]
    return (down**2).mean() + (right**2).mean()
