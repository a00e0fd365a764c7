"""`rise`: hide random parts many times; a pixel is relevant if the score is higher where it is seen."""

from collections.abc import Iterator
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from results.relevance.hiding import batches_hidden, filled
from results.relevance.method import RelevanceMap, RelevanceMethod, RelevanceSettings, Score, score_at_once
from trainables.common.types import Float32Array

_CELLS: Final = 7  # of the coarse grid, along each side
_SHOWN: Final = 0.5  # share of the cells that are seen


def rise_map(score: Score, image: NDArray[Any], masks: int, settings: RelevanceSettings) -> RelevanceMap:
    """Compute the RISE map of an image.

    The value of a pixel is the slope of the score over how far the pixel is seen: how much higher the score
    is where it is seen than where it is hidden. The paper's sum of masks, weighed by scores, has the same
    order of pixels with many masks, but needs no mean to be taken off.

    Args:
        score: Score of the class that is explained.
        image: Image, shape (H, W) or (H, W, 3).
        masks: Number of random masks, at least 2.
        settings: Seed, and what is put in the place of hidden pixels.
    """
    masks = max(2, masks)
    shape = image.shape[:2]
    behind = filled(image, settings.fill, scale_px=max(shape) / _CELLS)
    found = np.concatenate(
        [
            score_at_once(score, batch)
            for batch in batches_hidden(image, behind, _random_masks(shape, masks, settings.seed))
        ]
    )
    centred = found - found.mean()
    covariance, mean, square = (np.zeros(shape) for _ in range(3))
    for mask, own in zip(_random_masks(shape, masks, settings.seed), centred, strict=True):
        covariance += own * mask
        mean += mask
        square += mask.astype(np.float64) ** 2
    variance = square / masks - (mean / masks) ** 2
    return RelevanceMap(covariance / masks / np.maximum(variance, 1e-6), masks)


def _random_masks(shape: tuple[int, ...], count: int, seed: int) -> Iterator[Float32Array]:
    """Coarse random grids, enlarged smoothly and shifted by part of a cell; the same for the same seed."""
    random = np.random.default_rng(seed)
    cell = [-(-length // _CELLS) for length in shape]
    for _ in range(count):
        grid = (random.random((_CELLS + 1, _CELLS + 1)) < _SHOWN).astype(np.float32)
        size = (cell[1] * (_CELLS + 1), cell[0] * (_CELLS + 1))
        large = cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
        top, left = (int(random.integers(0, length)) for length in cell)
        yield large[top : top + shape[0], left : left + shape[1]]


RISE: Final = RelevanceMethod(
    name="rise",
    about="how much higher the probability is where the pixel is seen than where it is hidden, over random "
    "masks",
    compute=rise_map,
    most_masks=4000,
    source="Petsiuk, Das and Saenko (2018), RISE: randomized input sampling, arXiv 1806.07421",
)
