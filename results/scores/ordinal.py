"""Scores of decisions between ordered classes, where a miss by two classes is worse than one by one.

Pure functions of confusion matrices, rows the true class and columns the decided one, in the order of degree.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.types import FloatArray


def quadratic_kappa(matrices: NDArray[Any]) -> FloatArray:
    """Cohen's kappa with quadratic weights: agreement beyond chance, in [-1, 1].

    A miss by k classes weighs k squared. 1 is full agreement, 0 what decisions that know nothing of the truth
    reach; 0 too where truth and decisions are all of one class, since chance agrees as well.

    Args:
        matrices: Counts or weights, shape (..., classes, classes).

    Returns:
        Kappa, shape (...).

    Source:
        Cohen (1968), "Weighted kappa", Psychological Bulletin 70:213.

    >>> float(quadratic_kappa(np.array([[4, 0, 0], [0, 4, 0], [0, 0, 4]])))
    1.0
    """
    matrices = np.asarray(matrices, dtype=np.float64)
    weights = _distances(matrices.shape[-1]) ** 2
    true, called = matrices.sum(axis=-1), matrices.sum(axis=-2)
    found = (weights * matrices).sum(axis=(-2, -1)) * matrices.sum(axis=(-2, -1))
    by_chance = (weights * true[..., :, None] * called[..., None, :]).sum(axis=(-2, -1))
    agreement = 1.0 - np.divide(found, by_chance, out=np.ones_like(by_chance), where=by_chance > 0)
    return np.asarray(agreement)


def class_distance(matrices: NDArray[Any]) -> FloatArray:
    """Mean absolute error in classes: how far decisions lie from the truth; 0 is best.

    Args:
        matrices: Counts or weights, shape (..., classes, classes).

    Returns:
        Distance in [0, classes - 1], shape (...); 0 for a matrix without a case.

    >>> float(class_distance(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]])))
    0.25
    """
    matrices = np.asarray(matrices, dtype=np.float64)
    total = matrices.sum(axis=(-2, -1))
    found = (_distances(matrices.shape[-1]) * matrices).sum(axis=(-2, -1))
    return np.asarray(np.divide(found, total, out=np.zeros_like(total), where=total > 0))


@dataclass(frozen=True, slots=True)
class OrdinalMetric:
    """A score of ordered classes.

    Attributes:
        function: Function of confusion matrices of shape (..., classes, classes).
        header: Short name for tables.
        higher_is_better: True for agreement, False for a distance.
    """

    function: Callable[[NDArray[Any]], FloatArray]
    header: str
    higher_is_better: bool


ORDINAL_METRICS: Final[Mapping[str, OrdinalMetric]] = MappingProxyType(
    {
        "quadratic_kappa": OrdinalMetric(quadratic_kappa, "QWKappa", True),
        "class_distance": OrdinalMetric(class_distance, "Distance", False),
    }
)


def _distances(classes: int) -> NDArray[np.int64]:
    places = np.arange(classes)
    return np.asarray(np.abs(places[:, None] - places[None, :]))
