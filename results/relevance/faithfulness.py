"""How far a relevance map can be believed: insertion and deletion curves, and likeness of two maps.

Source:
    Petsiuk, Das and Saenko (2018), RISE, arXiv 1806.07421: insertion and deletion.
    Adebayo et al. (2018), Sanity checks for saliency maps, arXiv 1810.03292: randomised weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.relevance.hiding import batches_hidden, filled
from results.relevance.method import Fill, Score, score_at_once
from trainables.common.types import Float32Array, Float64Array

_STEPS: Final = 16
_BLUR: Final = 1 / 4  # of the longer side: what is hidden in a curve loses its shape


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """What a model does while pixels are hidden, and shown, in the order of their relevance.

    Attributes:
        deletion: Mean score while the most relevant pixels are hidden first; low for a map that names what
            the model needs.
        insertion: Mean score while they are shown first on a blurred image; high for such a map.
        random_deletion: The same as `deletion` for a map of smooth noise.
        random_insertion: The same as `insertion` for a map of smooth noise.
    """

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float

    @property
    def gain(self) -> float:
        """Insertion less deletion, above the same of noise; above 0 if the map is better than chance."""
        return (self.insertion - self.deletion) - (self.random_insertion - self.random_deletion)


def faithfulness(
    score: Score, image: NDArray[Any], values: Float64Array, *, fill: Fill = "blur", seed: int = 0
) -> Faithfulness:
    """Measure insertion and deletion of a map, and of smooth noise on the same image.

    Args:
        score: Score of the class that is explained.
        image: Image, shape (H, W) or (H, W, 3).
        values: Relevance, shape (H, W).
        fill: What is put in the place of hidden pixels.
        seed: Seed of the noise.
    """
    noise = smooth_noise(image.shape[:2], seed)
    behind = filled(image, fill, scale_px=_BLUR * max(image.shape[:2]))
    areas = [_areas(score, image, behind, one) for one in (values, noise)]
    return Faithfulness(*areas[0], *areas[1])


def _areas(
    score: Score, image: NDArray[Any], behind: Float32Array, values: Float64Array
) -> tuple[float, float]:
    """Mean score of deletion and of insertion."""
    masks = [*_masks(values, hides=True), *_masks(values, hides=False)]
    found = np.concatenate([score_at_once(score, batch) for batch in batches_hidden(image, behind, masks)])
    deletion, insertion = found.reshape(2, _STEPS + 1)
    return _area(deletion), _area(insertion)


def _masks(values: Float64Array, *, hides: bool) -> Iterator[Float32Array]:
    """Masks that hide, or show, more and more of the most relevant pixels."""
    rank = np.empty(values.size, np.int64)
    rank[np.argsort(-values, axis=None, kind="stable")] = np.arange(values.size)
    share = (rank.reshape(values.shape) + 0.5) / values.size
    for step in range(_STEPS + 1):
        chosen = share <= step / _STEPS
        yield (~chosen if hides else chosen).astype(np.float32)


def _area(curve: Float64Array) -> float:
    return float(np.trapezoid(curve, dx=1 / _STEPS))


def smooth_noise(shape: tuple[int, ...], seed: int) -> Float64Array:
    """Return noise as smooth as a relevance map, shape (H, W): what a map that knows nothing looks like."""
    from scipy import ndimage

    random = np.random.default_rng(seed)
    return np.asarray(
        ndimage.gaussian_filter(random.standard_normal(shape), max(shape) / 12), dtype=np.float64
    )


def rank_correlation(one: Float64Array, other: Float64Array) -> float:
    """Return Spearman's rank correlation of two maps of one shape, in [-1, 1]; 0 if one of them is flat.

    >>> rank_correlation(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 4.0], [9.0, 16.0]]))
    1.0
    """
    from scipy import stats

    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return round(float(stats.spearmanr(one, other, axis=None).statistic), 12)
