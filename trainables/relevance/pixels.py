"""Maps of pixels: from the channels of an image to one value a pixel."""

from torch import Tensor

from trainables.common.types import Float64Array


def over_channels(values: Tensor) -> Float64Array:
    """Add up the channels of one image, (1, H, W) or (1, H, W, 3), to float64 (H, W)."""
    one = values.detach()[0].double()
    found: Float64Array = (one.sum(dim=2) if one.dim() == 3 else one).cpu().numpy()
    return found
