"""The range of pixel values that a set of images uses, which may be smaller than that of its number type."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FULL_RANGES: Final = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
SMALLEST_BITS: Final = 8


def bit_range(largest: int, *, least: int = SMALLEST_BITS) -> int:
    """Return the largest value of the fewest bits, at least 8 unless said, that hold a value.

    >>> bit_range(17), bit_range(255), bit_range(3012), bit_range(65535)
    (255, 255, 4095, 65535)
    """
    return int(2 ** max(least, int(largest).bit_length()) - 1)


def to_range(
    pixels: NDArray[Any], *, white: float, max_value: float, is_inverted: bool = False
) -> NDArray[Any]:
    """Express pixels in units of a set's range.

    Args:
        pixels: Values from 0 to `white`, any shape.
        white: Value of the brightest pixel that the file could hold.
        max_value: Value of the brightest pixel in the set.
        is_inverted: True where 0 is white.

    Returns:
        Values from 0 to `max_value`; float64 and not rounded where the two ranges differ.

    >>> to_range(np.array([0, 4095]), white=4095, max_value=255).tolist()
    [0.0, 255.0]
    """
    turned = np.subtract(white, pixels, dtype=np.float64) if is_inverted else pixels
    if white != max_value:
        return turned.astype(np.float64) * (max_value / white)
    return turned.astype(pixels.dtype, copy=False)
