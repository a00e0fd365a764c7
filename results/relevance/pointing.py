"""The pointing game: does the highest point of a map lie on the lesion, and more often than chance?

Hits are shares of few images, so their intervals are those of a share on the effective number of images, and
a difference of two is as uncertain as these are: neither collapses where all images are hit.

Source:
    Zhang et al. (2018), Top-down neural attention by excitation backprop, IJCV 126: the pointing game;
    Newcombe (1998), Statistics in Medicine 17:2635, method 10, on differences of paired shares.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.errors import ScoreError
from results.relevance.frame import Frame, peak_of
from results.scores.decision_intervals import effective_number, wilson_interval
from results.scores.interval import Interval
from results.scores.mean_interval import mean_interval
from trainables.common.types import Float64Array


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
) -> Pointing:
    """Play the pointing game.

    Args:
        maps: Relevance of each image, shape (H, W).
        boxes: Lesion of each image, as a box or as a mask of the shape of its map.
        patients: Patient of each image.

    Raises:
        ScoreError: If there is no image.
    """
    if not maps:
        raise ScoreError("the pointing game needs images with boxes, found none")
    groups = np.asarray(patients)
    rows = [_row(values, box) for values, box in zip(maps, boxes, strict=True)]
    hit, in_centre, size = np.array(rows, dtype=np.float64).T
    hits, centre = (_share(own > 0, groups) for own in (hit, in_centre))
    random = mean_interval(size, groups)
    return Pointing(
        images=len(maps),
        patients=len(np.unique(groups)),
        hits=hits,
        centre=centre,
        random=random,
        over_centre=_difference(hits, centre, _correlation(hit, in_centre, groups)),
        over_random=_difference(hits, random, 0.0),
    )


def _share(is_hit: NDArray[np.bool_], groups: NDArray[Any]) -> Interval:
    return wilson_interval(float(is_hit.mean()), effective_number(is_hit, groups))


def _difference(first: Interval, second: Interval, correlation: float) -> Interval:
    """Difference of two values whose ends are as far away as those of both, squared and added, say."""

    def margin(own: float, other: float) -> float:
        return float(np.sqrt(max(own**2 + other**2 - 2 * correlation * own * other, 0.0)))

    value = first.estimate - second.estimate
    low = margin(first.estimate - first.low, second.high - second.estimate)
    high = margin(first.high - first.estimate, second.estimate - second.low)
    return Interval(value, value - low, value + high)


def _correlation(first: Float64Array, second: Float64Array, groups: NDArray[Any]) -> float:
    """Correlation of two shares over images; a positive one is drawn towards 0 by half an image."""
    spread = float(first.std() * second.std())
    if spread == 0:
        return 0.0
    together = float(((first - first.mean()) * (second - second.mean())).mean())
    number = min(effective_number(own > 0, groups) for own in (first, second))
    return (max(together - 0.5 / number, 0.0) if together > 0 else together) / spread


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
