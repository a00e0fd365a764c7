"""Base class of fitted ensembles: parameters that can be written as JSON, and how to combine with them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pydantic import Field, FiniteFloat

from results.ensembles.members import Members
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray

Vector = tuple[FiniteFloat, ...]
Matrix = tuple[tuple[FiniteFloat, ...], ...]

# Neighbours and support vectors compare every image with every stored one: beyond this they are a sample.
MOST_POINTS = 4000


class Parameters(FrozenModel, ABC):
    """Parameters of a combination rule; frozen and plain, so that a file or a graph can hold them."""

    @abstractmethod
    def combine(self, probabilities: FloatArray) -> FloatArray:
        """Combine predictions of shape (members, images, classes) into (images, classes)."""


@dataclass(frozen=True, slots=True)
class Method:
    """An ensemble method.

    Attributes:
        name: Name, as the user types it after `--methods`.
        fit: Function from the members' out-of-fold predictions and a seed to a fitted combination rule.
        rule: Class of that rule; its `kind` is written to JSON.
        complexity: Rank of the method from simple to complex; a tie goes to the lower one.
        is_binary: True if it combines predictions of two classes only.
    """

    name: str
    fit: Callable[[Members, int], Parameters]
    rule: type[Parameters]
    complexity: int
    is_binary: bool = False


class Standardiser(FrozenModel):
    """Shift and scale of the inputs: (x - mean) / scale.

    Attributes:
        mean: Mean of each input, shape (members,).
        scale: Standard deviation of each input, positive, shape (members,); 1 for an input that never varies.
    """

    mean: Vector
    scale: tuple[float, ...] = Field(min_length=1)

    def apply(self, inputs: FloatArray) -> FloatArray:
        """Standardise inputs of shape (images, members)."""
        return (inputs - np.asarray(self.mean)) / np.asarray(self.scale)


def fit_standardiser(inputs: FloatArray) -> Standardiser:
    """Measure mean and standard deviation of inputs of shape (images, members)."""
    spread = inputs.std(axis=0)
    return Standardiser(
        mean=tuple(inputs.mean(axis=0).tolist()),
        scale=tuple(np.where(spread > 1e-12, spread, 1.0).tolist()),
    )


def sample_points(labels: IntArray, seed: int, limit: int = MOST_POINTS) -> IntArray:
    """Return all positions, or a stratified sample of about `limit`, ascending, shape (points,)."""
    if len(labels) <= limit:
        return np.arange(len(labels))
    random = np.random.default_rng(seed)
    parts = [np.flatnonzero(labels == index) for index in np.unique(labels)]
    wanted = [max(1, round(limit * len(part) / len(labels))) for part in parts]
    return np.sort(
        np.concatenate([random.choice(part, n, replace=False) for part, n in zip(parts, wanted, strict=True)])
    )


def as_matrix(values: FloatArray) -> Matrix:
    """Turn an array of shape (rows, columns) into nested tuples."""
    return tuple(tuple(row) for row in values.tolist())
