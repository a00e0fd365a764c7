"""`integrated_gradients`: gradients of the pixels, summed on the way from the blurred image to the image."""

from typing import Final

import torch
from torch import Tensor

from trainables.common.types import Float64Array
from trainables.relevance.gradient_method import (
    Differentiable,
    GradientMethod,
    GradientSettings,
    check_has_gradient,
)
from trainables.relevance.pixels import over_channels
from trainables.relevance.reference_image import blurred

_BATCH: Final = 8


def integrated_gradients(
    model: Differentiable, raw: Tensor, label: int, settings: GradientSettings
) -> Float64Array:
    """Compute the map; arguments are those of `GradientMethod.compute`.

    The sum over all pixels is the log odds of the image less those of its blurred copy.
    """
    pixels = raw.to(torch.float32)
    reference = blurred(pixels)
    total = torch.zeros_like(pixels, dtype=torch.float64)
    shares = (torch.arange(settings.steps, dtype=torch.float32, device=raw.device) + 0.5) / settings.steps
    for chosen in shares.split(_BATCH):
        on_the_way = reference + chosen.view(-1, *[1] * (pixels.dim() - 1)) * (pixels - reference)
        on_the_way.requires_grad_()
        (gradient,) = torch.autograd.grad(model.log_odds(on_the_way, label).sum(), on_the_way)
        total += gradient.to(torch.float64).sum(dim=0, keepdim=True)
    check_has_gradient("integrated_gradients", [total])
    return over_channels(total / settings.steps * (pixels - reference))


INTEGRATED_GRADIENTS: Final = GradientMethod(
    name="integrated_gradients",
    about="share of the pixel in the difference of log odds between the image and its blurred copy",
    compute=integrated_gradients,
    source="Sundararajan, Taly and Yan (2017), Axiomatic attribution for deep networks, arXiv 1703.01365",
)
