"""Neighbours of images in a space of features: which images of other patients look alike to a model."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.types import Float32Array, FloatArray, IntArray

_LEAST_SCALE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class FeatureSpace:
    """Images of the training part as points.

    Attributes:
        about: What the features are, in words, such as `block5 of efficientnet_lite0`.
        rows: Rows of the images in the patch set, shape (n,).
        labels: Class index of each, shape (n,).
        groups: Patient of each, shape (n,).
        points: Directions of the features, each feature with mean 0 and deviation 1 before, shape (n, D);
            rows have length 1, or 0 for an image at the mean.
    """

    about: str
    rows: IntArray
    labels: IntArray
    groups: NDArray[Any]
    points: Float32Array

    def nearest(self, row: int, number: int) -> IntArray:
        """Return the places of the images of other patients whose features point the same way, nearest first.

        Args:
            row: Row of an image in the patch set.
            number: Number of neighbours, at least 1.

        Returns:
            Places in `rows`, shape (at most `number`,); empty for an image that is not in the space.
        """
        found = np.flatnonzero(self.rows == row)
        if not len(found):
            return np.zeros(0, dtype=np.int64)
        own = int(found[0])
        likeness = self.points @ self.points[own]
        others = np.flatnonzero(self.groups != self.groups[own])
        order: IntArray = others[np.argsort(-likeness[others], kind="stable")]
        return order[:number]


def feature_space(
    about: str, rows: IntArray, labels: IntArray, groups: NDArray[Any], features: FloatArray
) -> FeatureSpace:
    """Make a space of features (n, D); the other arguments are those of `FeatureSpace`.

    >>> features = np.array([[0.0, 0.0], [1.0, 0.1], [0.9, 0.1], [0.0, 1.0]])
    >>> space = feature_space("two", np.arange(4), np.zeros(4, int), np.array(list("abcd")), features)
    >>> space.nearest(1, 1).tolist()
    [2]
    """
    values = np.asarray(features, dtype=np.float64)
    scaled = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), _LEAST_SCALE)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    points = np.divide(scaled, length, out=np.zeros_like(scaled), where=length > 0).astype(np.float32)
    return FeatureSpace(about, rows, labels, np.asarray(groups), points)
