"""`grad_cam_plus`: Grad-CAM++, channels of the last feature map by their positive gradients."""

from typing import Final

import torch
from torch import Tensor

from trainables.common.types import Float64Array
from trainables.relevance.gradient_method import Differentiable, GradientMethod, GradientSettings
from trainables.relevance.layer_maps import summed_maps

_LEAST: Final = 1e-12


def grad_cam_plus(model: Differentiable, raw: Tensor, label: int, settings: GradientSettings) -> Float64Array:
    """Compute the Grad-CAM++ map; arguments are those of `GradientMethod.compute`."""
    return summed_maps(model, raw, label, method="grad_cam_plus", map_of=_map_of)


def _map_of(activation: Tensor, gradient: Tensor) -> Tensor:
    square, cube = gradient**2, gradient**3
    below = 2 * square + (activation * cube).sum(dim=(2, 3), keepdim=True)
    share = square / torch.where(below.abs() > _LEAST, below, torch.ones_like(below))
    weight = (share * gradient.clamp_min(0)).sum(dim=(2, 3), keepdim=True)
    return (weight * activation).sum(dim=1).clamp_min(0)


GRAD_CAM_PLUS: Final = GradientMethod(
    name="grad_cam_plus",
    about="how strongly the channels that raise the class's log odds answer there, at the last feature map",
    compute=grad_cam_plus,
    source="Chattopadhay et al. (2018), Grad-CAM++, arXiv 1710.11063",
)
