"""`layer_cam`: activations of the last feature map, each by its own positive gradient."""

from typing import Final

from torch import Tensor

from trainables.common.types import Float64Array
from trainables.relevance.gradient_method import Differentiable, GradientMethod, GradientSettings
from trainables.relevance.layer_maps import summed_maps


def layer_cam(model: Differentiable, raw: Tensor, label: int, settings: GradientSettings) -> Float64Array:
    """Compute the LayerCAM map; arguments are those of `GradientMethod.compute`."""
    return summed_maps(model, raw, label, method="layer_cam", map_of=_map_of)


def _map_of(activation: Tensor, gradient: Tensor) -> Tensor:
    return (gradient.clamp_min(0) * activation).sum(dim=1).clamp_min(0)


LAYER_CAM: Final = GradientMethod(
    name="layer_cam",
    about="activation by positive gradient of the class's log odds, at each place of the last feature map",
    compute=layer_cam,
    source="Jiang et al. (2021), LayerCAM, IEEE Transactions on Image Processing 30",
)
