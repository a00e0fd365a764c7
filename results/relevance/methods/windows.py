"""`windows`: a window slides over a whole film; a pixel has the mean probability of the windows over it."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.relevance.method import RelevanceMap, RelevanceMethod, RelevanceSettings, Score
from results.relevance.sliding import boxes_of, slide
from trainables.common.types import Float64Array

_FINEST: Final = 1 / 4  # distance of two windows, as a share of their side
_COARSEST: Final = 1 / 2


def window_map(score: Score, image: NDArray[Any], masks: int, settings: RelevanceSettings) -> RelevanceMap:
    """Compute the heat map of an image and the places of its peaks.

    Args:
        score: Score of the class that is explained, for patches of the size of a window.
        image: Film or slide, shape (H, W) or (H, W, 3).
        masks: Number of windows that time allows; they lie closer where it allows more.
        settings: Side of a window.
    """
    side = window_side(image.shape, settings)
    rows, columns = (length / side for length in image.shape[:2])
    step = float(np.clip(np.sqrt(rows * columns / max(1, masks)), _FINEST, _COARSEST))

    def predict(windows: NDArray[Any]) -> Float64Array:
        return score(windows)[:, None]

    heat = slide(predict, image, 0, window_px=side, step=step)
    cells = np.nan_to_num(heat.values, nan=0.0).repeat(heat.cell_px, axis=0).repeat(heat.cell_px, axis=1)
    values = cells[: image.shape[0], : image.shape[1]]
    return RelevanceMap(values, heat.windows, tuple(boxes_of(heat, image.shape)))


def window_side(shape: tuple[int, ...], settings: RelevanceSettings) -> int:
    """Return the side of a window: as set, or half of an image that is no larger than it."""
    shorter = min(shape[:2])
    wanted = settings.window_px or shorter
    return wanted if wanted < shorter else max(1, shorter // 2)


def window_of(image: NDArray[Any], settings: RelevanceSettings) -> NDArray[Any]:
    """Return the window in the middle of an image, which stands for all in a measurement of time."""
    side = window_side(image.shape, settings)
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def with_window(settings: RelevanceSettings, trained: tuple[int, ...]) -> RelevanceSettings:
    """Return settings whose window, if none is set, is as large as the training images."""
    return settings if settings.window_px else replace(settings, window_px=max(trained[:2]))


WINDOWS: Final = RelevanceMethod(
    name="windows",
    about="the probability of the windows that hold the pixel, for a model of patches on a whole film",
    compute=window_map,
    most_masks=100_000,
    source="Scuccimarra (source system 003), ConvNets for classifying DDSM: windows over whole films",
    settings=("seconds", "masks", "window_px"),
)
