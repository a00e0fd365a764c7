"""Images of which parts are hidden: masks, and what is put in the place of hidden pixels."""

from collections.abc import Iterator
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from results.relevance.method import Fill
from trainables.common.types import Float32Array

BATCH: Final = 16  # changed images in memory at once
_BATCH_PIXELS: Final = 1 << 22  # their pixels, unless a single image has more


def filled(image: NDArray[Any], fill: Fill, *, scale_px: float) -> Float32Array:
    """Return what is seen in the place of hidden pixels, for the whole image.

    Args:
        image: Image, shape (H, W) or (H, W, 3).
        fill: `blur`, or `mean` of the image, by channel.
        scale_px: Size of the detail that must vanish, in pixels; the blur has half of it as its deviation.

    Returns:
        An image of the same shape, float32, in the same range.

    >>> filled(np.array([[0, 2], [4, 6]], np.uint8), "mean", scale_px=1).tolist()
    [[3.0, 3.0], [3.0, 3.0]]
    """
    pixels = image.astype(np.float32)
    if fill == "mean":
        return np.broadcast_to(pixels.mean(axis=(0, 1)), pixels.shape).astype(np.float32)
    return np.asarray(
        cv2.GaussianBlur(pixels, (0, 0), max(scale_px / 2, 0.5), borderType=cv2.BORDER_REFLECT),
        dtype=np.float32,
    )


def batches_hidden(
    image: NDArray[Any], behind: Float32Array, shown: Iterator[Float32Array] | list[Float32Array]
) -> Iterator[NDArray[Any]]:
    """Yield batches of the image with parts hidden, in the number type of the image.

    Args:
        image: Image, shape (H, W) or (H, W, 3).
        behind: What is seen where it is hidden, same shape.
        shown: Masks in [0, 1], shape (H, W): 1 where the image is seen, 0 where it is hidden.
    """
    size = max(1, min(BATCH, _BATCH_PIXELS // max(1, image.shape[0] * image.shape[1])))
    pixels, held = image.astype(np.float32), []
    for mask in shown:
        held.append(hidden(image, pixels, behind, mask))
        if len(held) == size:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)


def hidden(
    image: NDArray[Any], pixels: Float32Array, behind: Float32Array, mask: Float32Array
) -> NDArray[Any]:
    """Return one image with a part hidden; whole numbers are rounded to the nearest one."""
    share = mask if image.ndim == 2 else mask[:, :, None]
    mixed = behind + share * (pixels - behind)
    return (np.rint(mixed) if image.dtype.kind in "iu" else mixed).astype(image.dtype)
