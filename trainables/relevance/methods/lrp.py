"""`lrp`: layer-wise relevance propagation, the class's evidence shared out layer by layer down to the pixels."""

from typing import Final

import torch
from torch import Tensor, nn

from trainables.common.types import Float64Array
from trainables.relevance.backward_rules import ACTIVATIONS, other_gradients, plain_output
from trainables.relevance.gradient_method import (
    Differentiable,
    GradientMethod,
    GradientSettings,
    check_has_gradient,
)
from trainables.relevance.pixels import over_channels
from trainables.relevance.reference_image import blurred

_GAMMA: Final = 0.25  # how much more what speaks for a unit counts than what speaks against it
_LEAST: Final = 1e-6


def lrp(model: Differentiable, raw: Tensor, label: int, settings: GradientSettings) -> Float64Array:
    """Compute the map; arguments are those of `GradientMethod.compute`.

    Convolutions and dense layers follow the gamma rule, written as a gradient; the pixels, whose values have
    no zero of their own, are counted from the blurred image.
    """
    rules = {(nn.Conv2d, nn.Linear): _gamma_rule, ACTIVATIONS: _identity_rule}
    pixels = raw.to(torch.float32).requires_grad_()
    with other_gradients(model.members, rules):
        (gradient,) = torch.autograd.grad(model.log_odds(pixels, label).sum(), pixels)
    check_has_gradient("lrp", [gradient])
    return over_channels(gradient * (pixels - blurred(pixels)))


def _gamma_rule(layer: nn.Module, inputs: Tensor) -> Tensor:
    output = plain_output(layer, inputs)
    raised = {
        name: None if value is None else value + _GAMMA * value.clamp_min(0)
        for name, value in layer._parameters.items()
    }
    lifted = plain_output(layer, inputs, **raised)
    return _kept(lifted, output)


def _identity_rule(layer: nn.Module, inputs: Tensor) -> Tensor:
    return _kept(inputs, plain_output(layer, inputs.detach()))


def _kept(carrier: Tensor, output: Tensor) -> Tensor:
    """The values of `output` with the gradient of `carrier`, in proportion."""
    safe = torch.where(carrier >= 0, carrier.clamp_min(_LEAST), carrier.clamp_max(-_LEAST))
    share = (output / safe).detach()
    scaled = carrier * share
    return scaled + (output - scaled).detach()


LRP: Final = GradientMethod(
    name="lrp",
    about="share of the pixel in the class's log odds, handed down layer by layer by the gamma rule",
    compute=lrp,
    source="Montavon et al. (2019), Layer-wise relevance propagation: an overview; Bach et al. (2015)",
)
