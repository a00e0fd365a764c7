"""Relevance maps of images for any model that can be asked: within a time, or with a number of changes."""

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.relevance.method import RelevanceMap, RelevanceSettings, Score
from results.relevance.methods import relevance_method_named
from results.relevance.methods.windows import WINDOWS, window_of
from trainables.common.types import Float64Array, FloatArray

# Images (n, H, W) or (n, H, W, 3) -> probabilities (n, classes).
Predict = Callable[[NDArray[Any]], FloatArray]

_TIMED: Final = 4  # images in the batch whose time is measured
_FEWEST: Final = 16  # changed images, however slow the model
_SPARE: Final = 0.8  # share of the time that is planned for


def score_of(predict: Predict, label: int) -> Score:
    """Return the probability of a class as a score, in float64."""

    def score(images: NDArray[Any]) -> Float64Array:
        return np.asarray(predict(images), dtype=np.float64)[:, label]

    return score


def relevance_map(
    method: str, score: Score, image: NDArray[Any], settings: RelevanceSettings
) -> RelevanceMap:
    """Compute the relevance map of an image.

    Args:
        method: Name in `RELEVANCE_METHODS`.
        score: Score of the class that is explained.
        image: Image, shape (H, W) or (H, W, 3).
        settings: Time or number of changed images, fill and seed.

    Raises:
        UnknownNameError: If there is no such method.
    """
    chosen = relevance_method_named(method)
    if settings.masks is None:
        example = image if chosen.name != WINDOWS.name else window_of(image, settings)
        masks = masks_within(score, example, settings.seconds, most=chosen.most_masks)
    else:
        masks = settings.masks
    return chosen.compute(score, image, masks, settings)


def masks_within(score: Score, image: NDArray[Any], seconds: float, *, most: int) -> int:
    """Return how many changed images the model can be asked about in a time.

    Args:
        score: Score of the class that is explained.
        image: Image, shape (H, W) or (H, W, 3).
        seconds: Time of the map.
        most: Number beyond which a map gets no better.
    """
    few = np.repeat(image[None], _TIMED, axis=0)
    score(few)  # the first run of a session allocates its memory
    began = time.perf_counter()
    score(few)
    each = (time.perf_counter() - began) / _TIMED
    return int(np.clip(_SPARE * seconds / max(each, 1e-6), _FEWEST, most))
