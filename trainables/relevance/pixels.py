"""Maps of pixels: from the channels of an image to one value a pixel."""

from typing import Final

from torch import Tensor

from trainables.common.types import Float64Array

_BLUR: Final = 1 / 64


def over_channels(values: Tensor) -> Float64Array:
    """Add up the channels of one image, (1, H, W) or (1, H, W, 3), to float64 (H, W), and smooth the map.

    Neighbouring pixels share their evidence at random, as one stride of the net or the other reads them; a
    blur of a sixty-fourth of the side shows where it lies, and keeps its sum.
    """
    from scipy import ndimage

    one = values.detach()[0].double()
    summed = (one.sum(dim=2) if one.dim() == 3 else one).cpu().numpy()
    found: Float64Array = ndimage.gaussian_filter(summed, max(1.0, _BLUR * max(summed.shape)))
    return found
