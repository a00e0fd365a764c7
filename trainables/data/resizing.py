"""Resizing of images by exact whole numbers: the one routine of preparation and of predictions from files.

It needs NumPy alone, and gives the same pixels on every machine: weights are whole numbers, sums are exact,
and a single division rounds. Pixels are those of OpenCV's `INTER_AREA` and `INTER_LINEAR` but for that last
rounding, which differs there from one processor and version to the next.
"""

from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Sums: TypeAlias = NDArray[np.int64]


def resize(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize by area averaging; bilinearly between the centres of pixels where a side grows.

    Args:
        pixels: Whole numbers from 0 to 65535, any type of whole numbers; shape (H, W) or (H, W, channels).
        size: Height and width of the result, in pixels, at least 1.

    Returns:
        Pixels in the same type, rounded to the nearest whole number, halves to the even one; the very array
        where it has that size.

    >>> resize(np.array([[0, 10, 20, 31]], np.uint8), (1, 2))
    array([[ 5, 26]], dtype=uint8)
    >>> resize(np.array([[0, 100]], np.uint8), (1, 4))
    array([[  0,  25,  75, 100]], dtype=uint8)
    """
    height, width = pixels.shape[:2]
    if (height, width) == tuple(size):
        return pixels
    if size[0] > height or size[1] > width:
        rows = _blended(pixels, size[0])
        total = _blended(rows.swapaxes(0, 1), size[1]).swapaxes(0, 1)
        parts = 4 * size[0] * size[1]
    else:
        total = _summed_columns(_summed_rows(pixels, size[0]), size[1])
        parts = height * width
    return np.ascontiguousarray(np.rint(total / parts).astype(pixels.dtype))


def _summed_rows(pixels: NDArray[Any], target: int) -> Sums:
    """Sums of the rows of each of `target` equal parts, times `target`; shape (target, W, ...)."""
    length = len(pixels)
    edges = [divmod(place * length, target) for place in range(target + 1)]
    total = np.empty((target, *pixels.shape[1:]), np.int64)
    for place, ((first, before), (last, within)) in enumerate(pairwise(edges)):
        own = target * np.add.reduce(pixels[first:last], axis=0, dtype=np.int64)
        if before:
            own -= before * pixels[first].astype(np.int64)
        if within:
            own += within * pixels[last].astype(np.int64)
        total[place] = own
    return total


def _summed_columns(rows: Sums, target: int) -> Sums:
    """Sums of the columns of each of `target` equal parts, times `target`; shape (H, target, ...)."""
    length = rows.shape[1]
    running = np.zeros((rows.shape[0], length + 1, *rows.shape[2:]), np.int64)
    np.cumsum(rows, axis=1, out=running[:, 1:])
    column, within = np.divmod(np.arange(target + 1) * length, target)
    ends = target * running.take(column, axis=1)
    share = within.reshape(-1, *(1 for _ in rows.shape[2:]))
    ends += share * rows.take(np.minimum(column, length - 1), axis=1)
    return np.asarray(np.diff(ends, axis=1), dtype=np.int64)


def _blended(rows: NDArray[Any], target: int) -> Sums:
    """Rows at `target` places, in straight lines between the centres of pixels, times twice `target`."""
    length, whole = len(rows), 2 * target
    places = np.clip((2 * np.arange(target) + 1) * length - target, 0, (length - 1) * whole)
    first, share = np.divmod(places, whole)
    share = share.reshape(-1, *(1 for _ in rows.shape[1:]))
    second = np.minimum(first + 1, length - 1)
    total = (whole - share) * rows.take(first, axis=0).astype(np.int64)
    total += share * rows.take(second, axis=0)
    return np.asarray(total, dtype=np.int64)
