"""`occlusion`: hide a window at every place, at several scales; what the score loses is its relevance."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.relevance.hiding import batches_hidden, filled
from results.relevance.method import RelevanceMap, RelevanceMethod, RelevanceSettings, Score, score_at_once
from trainables.common.types import Float32Array, Float64Array

_SHARES: Final = (1 / 3, 1 / 5, 1 / 8)  # side of the window, as a share of the image's longer side
_DENSEST: Final = 3  # windows that cover a pixel along each side, at most
_SAME: Final = 1e-3  # share of the image's range below which a window hides nothing


@dataclass(frozen=True, slots=True)
class _Windows:
    """Windows of one scale: their side in pixels, and the first row and column of each, shape (n, 2)."""

    side: int
    corners: NDArray[np.int64]


def occlusion_map(score: Score, image: NDArray[Any], masks: int, settings: RelevanceSettings) -> RelevanceMap:
    """Compute the occlusion map of an image.

    At each scale a pixel gets the mean loss of the windows that cover it; the map is the mean over scales.
    Windows in which nothing would change, such as those of the dark background of a film, are not asked for.

    Args:
        score: Score of the class that is explained.
        image: Image, shape (H, W) or (H, W, 3).
        masks: Number of windows over all scales, at most.
        settings: What is put in the place of hidden pixels.
    """
    whole = float(score_at_once(score, image[None])[0])
    maps, asked, shares = [], 1, _SHARES[: max(1, min(len(_SHARES), masks // 4))]
    for number, share in enumerate(shares):
        left = masks - (asked - 1)
        windows = _windows(image.shape[:2], share, left // (len(shares) - number))
        found, count = _losses(score, image, whole, windows, settings)
        maps.append(_spread(image.shape[:2], windows, found))
        asked += count
    return RelevanceMap(np.mean(maps, axis=0), asked)


def _windows(shape: tuple[int, ...], share: float, most: int) -> _Windows:
    """Windows on a grid that reaches every edge, as dense as their number allows."""
    side = max(1, round(share * max(shape)))
    starts = [max(0, length - side) for length in shape]
    needed = [math.ceil(start / side) + 1 for start in starts]  # to cover every pixel once
    dense = [math.ceil(_DENSEST * start / side) + 1 for start in starts]
    counts, scale = needed, 1.0
    while scale <= _DENSEST:
        wider = [min(high, max(low, round(scale * low))) for low, high in zip(needed, dense, strict=True)]
        if wider[0] * wider[1] > max(most, needed[0] * needed[1]):
            break
        counts, scale = wider, scale + 0.1
    places = [
        np.unique(np.linspace(0, start, count).round().astype(np.int64))
        for start, count in zip(starts, counts, strict=True)
    ]
    rows, columns = np.meshgrid(*places, indexing="ij")
    return _Windows(side, np.stack([rows.ravel(), columns.ravel()], axis=1))


def _losses(
    score: Score, image: NDArray[Any], whole: float, windows: _Windows, settings: RelevanceSettings
) -> tuple[Float64Array, int]:
    """What the score loses behind each window, and the number of windows that were asked for."""
    behind = filled(image, settings.fill, scale_px=windows.side)
    change = np.abs(image.astype(np.float32) - behind)
    change = change if image.ndim == 2 else change.max(axis=2)
    least = _SAME * max(float(image.max()) - float(image.min()), 1e-12)
    hides = [
        change[top : top + windows.side, left : left + windows.side].max() > least
        for top, left in windows.corners
    ]
    asked = np.flatnonzero(hides)
    losses = np.zeros(len(windows.corners))
    masks = (_mask(image.shape[:2], windows.corners[place], windows.side) for place in asked)
    found = [score_at_once(score, batch) for batch in batches_hidden(image, behind, masks)]
    if found:
        losses[asked] = whole - np.concatenate(found)
    return losses, len(asked)


def _mask(shape: tuple[int, ...], corner: NDArray[np.int64], side: int) -> Float32Array:
    mask = np.ones(shape, np.float32)
    mask[corner[0] : corner[0] + side, corner[1] : corner[1] + side] = 0.0
    return mask


def _spread(shape: tuple[int, ...], windows: _Windows, losses: Float64Array) -> Float64Array:
    """Mean loss of the windows over each pixel, shape (H, W)."""
    total, count = np.zeros(shape), np.zeros(shape)
    for (top, left), loss in zip(windows.corners, losses, strict=True):
        place = np.s_[top : top + windows.side, left : left + windows.side]
        total[place] += loss
        count[place] += 1
    return total / np.maximum(count, 1)


OCCLUSION: Final = RelevanceMethod(
    name="occlusion",
    about="what the probability loses when the pixel is hidden, as the mean over windows of several sizes",
    compute=occlusion_map,
    most_masks=900,
    source="Zeiler and Fergus (2014), Visualizing and understanding convolutional networks, arXiv 1311.2901",
    settings=("seconds", "masks", "fill"),
)
