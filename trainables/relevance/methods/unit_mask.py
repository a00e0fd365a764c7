"""`unit_mask`: the image where the unit that matters most for the class answers strongly."""

from typing import Final

import numpy as np
from torch import Tensor

from trainables.common.types import Float64Array
from trainables.relevance.gradient_method import Differentiable, GradientMethod, GradientSettings
from trainables.relevance.layer_maps import LayerMap, layer_maps, on_image


def unit_mask(model: Differentiable, raw: Tensor, label: int, settings: GradientSettings) -> Float64Array:
    """Compute the map; arguments are those of `GradientMethod.compute`.

    Of each net's last feature map the unit with the largest activation by gradient is taken; pixels below
    `unit_share` of its highest activation are masked.
    """
    maps = layer_maps(model, raw, label, method="unit_mask")
    total: Float64Array = np.mean([_masked(one, raw.shape[1:3], settings.unit_share) for one in maps], axis=0)
    return total


def _masked(one: LayerMap, shape: tuple[int, ...], share: float) -> Float64Array:
    unit = int((one.activation * one.gradient).sum(dim=(0, 2, 3)).argmax())
    towards = one.gradient[:, unit].sum().sign()  # a unit may speak for the class by its negative values
    found = on_image(_scaled(towards * one.activation[:, unit]), one.views, shape)
    return found * (found >= share * found.max())


def _scaled(activation: Tensor) -> Tensor:
    positive = activation.clamp_min(0)
    return positive / positive.amax().clamp_min(1e-12)


UNIT_MASK: Final = GradientMethod(
    name="unit_mask",
    about="activation of the unit that matters most for the class, above half of its maximum",
    compute=unit_mask,
    source="Zhou et al. (2015), Object detectors emerge in deep scene CNNs, arXiv 1412.6856",
)
