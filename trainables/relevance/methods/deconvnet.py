"""`deconvnet`: the strongest evidence brought back to the pixels, through the switches of the pooling."""

from typing import Any, Final

import torch
from torch import Tensor, nn

from trainables.common.errors import ConfigError
from trainables.common.types import Float64Array
from trainables.relevance.backward_rules import ACTIVATIONS, other_gradients, plain_output
from trainables.relevance.gradient_method import (
    Differentiable,
    GradientMethod,
    GradientSettings,
    check_has_gradient,
)
from trainables.relevance.pixels import over_channels


class _Rectified(torch.autograd.Function):
    """An activation whose gradient is rectified, whatever its input was."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, output: Tensor) -> Tensor:
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].clamp_min(0), None


def deconvnet(model: Differentiable, raw: Tensor, label: int, settings: GradientSettings) -> Float64Array:
    """Compute the map; arguments are those of `GradientMethod.compute`.

    Maximum pooling hands its gradient to the pixel that had the maximum, which are the switches of the paper.
    """
    with other_gradients(model.members, {ACTIVATIONS: _rectified}) as layers:
        if layers == 0:
            raise ConfigError("deconvnet needs a net with rectified units; take --method occlusion or rise")
        pixels = raw.to(torch.float32).requires_grad_()
        (gradient,) = torch.autograd.grad(model.log_odds(pixels, label).sum(), pixels)
    check_has_gradient("deconvnet", [gradient])
    return over_channels(gradient.abs())


def _rectified(layer: nn.Module, inputs: Tensor) -> Tensor:
    found: Tensor = _Rectified.apply(inputs, plain_output(layer, inputs.detach()))
    return found


DECONVNET: Final = GradientMethod(
    name="deconvnet",
    about="size of the class's evidence, brought back to the pixel by the net's transposed layers",
    compute=deconvnet,
    source="Zeiler and Fergus (2014), Visualizing and understanding convolutional networks, arXiv 1311.2901",
)
