"""The pointing game: does the highest point of a map lie on the lesion, and more often than chance?

Source:
    Zhang et al. (2018), Top-down neural attention by excitation backprop, IJCV 126: the pointing game.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.errors import ScoreError
from results.relevance.frame import Frame, peak_of
from results.scores.interval import LEVEL, Interval
from trainables.common.types import Float64Array

_RESAMPLES: Final = 2000


@dataclass(frozen=True, slots=True)
class Pointing:
    """Result of the pointing game, with 95 % intervals over patients.

    Attributes:
        images: Number of images with a box.
        patients: Number of their patients.
        hits: Share of the images whose highest relevance lies in the box.
        centre: The same for the centre of the image.
        random: The same for a random pixel: the mean share of the image that the box takes.
        over_centre: Difference of `hits` and `centre` on the same images.
        over_random: Difference of `hits` and `random` on the same images.
    """

    images: int
    patients: int
    hits: Interval
    centre: Interval
    random: Interval
    over_centre: Interval
    over_random: Interval


def point(
    maps: Sequence[Float64Array],
    boxes: Sequence[Frame | NDArray[np.bool_]],
    patients: Sequence[str] | NDArray[Any],
    *,
    seed: int = 0,
) -> Pointing:
    """Play the pointing game.

    Args:
        maps: Relevance of each image, shape (H, W).
        boxes: Lesion of each image, as a box or as a mask of the shape of its map.
        patients: Patient of each image.
        seed: Seed of the resampling of patients.

    Raises:
        ScoreError: If there is no image.
    """
    if not maps:
        raise ScoreError("the pointing game needs images with boxes, found none")
    rows = [_row(values, box) for values, box in zip(maps, boxes, strict=True)]
    table = np.array(rows, dtype=np.float64)
    table = np.column_stack([table, table[:, 0] - table[:, 1], table[:, 0] - table[:, 2]])
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    sums = np.zeros((len(names), table.shape[1]))
    np.add.at(sums, patient, table)
    counts = np.bincount(patient)
    drawn = np.random.default_rng(seed).integers(0, len(names), (_RESAMPLES, len(names)))
    resampled = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)[:, None]
    ends = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    intervals = [Interval(*map(float, values)) for values in zip(table.mean(axis=0), *ends, strict=True)]
    return Pointing(len(maps), len(names), *intervals)


def _row(values: Float64Array, box: Frame | NDArray[np.bool_]) -> tuple[float, float, float]:
    """Hit of the map, hit of the centre, and share of the image."""
    height, width = values.shape
    mask = _mask(box, values.shape) if isinstance(box, Frame) else np.asarray(box, dtype=bool)
    if mask.shape != values.shape:
        raise ScoreError(f"a mask must have the shape of its map, {values.shape}, found {mask.shape}")
    return float(mask[peak_of(values)]), float(mask[height // 2, width // 2]), float(mask.mean())


def _mask(box: Frame, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask[max(0, box.top) : box.top + box.height, max(0, box.left) : box.left + box.width] = True
    return mask
