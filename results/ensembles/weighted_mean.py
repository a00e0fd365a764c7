"""The weighted mean of probabilities: the result of the methods `average`, `greedy` and `grid`."""

from typing import Literal

import numpy as np
from pydantic import field_validator

from results.ensembles.fitted import Parameters, Vector
from trainables.common.types import FloatArray


class WeightedMean(Parameters):
    """Probabilities averaged with fixed weights; any number of classes.

    Attributes:
        weights: Weight of each member in [0, 1], summing to 1, shape (members,).

    >>> rule = WeightedMean(weights=(0.25, 0.75))
    >>> rule.combine(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]))
    array([[0.25, 0.75]])
    """

    kind: Literal["weighted_mean"] = "weighted_mean"
    weights: Vector

    @field_validator("weights")
    @classmethod
    def _are_shares(cls, weights: Vector) -> Vector:
        if min(weights, default=-1.0) < 0 or abs(sum(weights) - 1) > 1e-9:
            raise ValueError(f"weights are shares that sum to 1, found {weights}")
        return weights

    def combine(self, probabilities: FloatArray) -> FloatArray:
        """Combine predictions of shape (members, images, classes) into (images, classes)."""
        return np.tensordot(np.asarray(self.weights), probabilities, axes=1)


def weighted_mean(weights: FloatArray) -> WeightedMean:
    """Scale non-negative weights of shape (members,) to sum to 1."""
    return WeightedMean(weights=tuple((weights / weights.sum()).tolist()))
