"""`lrp`: layer-wise relevance propagation, evidence shared out layer by layer down to the pixels."""

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

_LEAST: Final = 1e-6


def lrp(model: Differentiable, raw: Tensor, label: int, settings: GradientSettings) -> Float64Array:
    """Compute the map; arguments are those of `GradientMethod.compute`.

    Convolutions follow the z+ rule, written as a gradient; activations and normalisation hand their relevance
    on as it is, and dense layers, in which evidence against the class counts too, by their weights. Pixels,
    whose values have no zero of their own, are counted from the blurred image.
    """
    rules = {(nn.Conv2d,): _positive_rule, (*ACTIVATIONS, nn.BatchNorm2d): _identity_rule}
    pixels = raw.to(torch.float32).requires_grad_()
    with other_gradients(model.members, rules):
        (gradient,) = torch.autograd.grad(model.log_odds(pixels, label).sum(), pixels)
    check_has_gradient("lrp", [gradient])
    return over_channels(gradient * (pixels - blurred(pixels)))


def _positive_rule(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What raises a unit shares its relevance: positive inputs by positive weights, negative by negative."""
    weight, bias = layer._parameters["weight"], layer._parameters.get("bias")
    if weight is None:
        return plain_output(layer, inputs)
    up = None if bias is None else bias.clamp_min(0)
    none = None if bias is None else torch.zeros_like(bias)
    raising = plain_output(layer, inputs.clamp_min(0), weight=weight.clamp_min(0), bias=up)
    raising = raising + plain_output(layer, inputs.clamp_max(0), weight=weight.clamp_max(0), bias=none)
    return _kept(raising, plain_output(layer, inputs.detach()))


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
    about="share of the pixel in the class's log odds, handed down layer by layer by the z+ rule",
    compute=lrp,
    source="Montavon et al. (2019), Layer-wise relevance propagation: an overview; Bach et al. (2015)",
)
