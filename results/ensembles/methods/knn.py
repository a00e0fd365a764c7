"""`stack_knn`: the share of positives among the nearest images in the space of the members' logits."""

from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from results.ensembles.fitted import (
    Matrix,
    Method,
    Parameters,
    Standardiser,
    as_matrix,
    fit_standardiser,
    sample_points,
)
from results.ensembles.members import Members, positive_logits, two_columns
from trainables.common.types import FloatArray

_CELLS_AT_ONCE: Final = 4_000_000  # distances in memory


class NeighbourStack(Parameters):
    """P(positive) = share of positives among the `neighbours` nearest points, by Euclidean distance.

    Attributes:
        points: Standardised logits, shape (points, members).
        labels: Labels, 0 or 1, shape (points,).
        neighbours: Number of neighbours, at most the number of points.
        added: Number of imagined neighbours of each class, which keep the share from 0 and 1, where it has
            no logit; 0 in files of earlier versions.
    """

    kind: Literal["neighbours"] = "neighbours"
    inputs: Standardiser
    points: Matrix
    labels: tuple[Literal[0, 1], ...]
    neighbours: Annotated[int, Field(ge=1)]
    added: Annotated[int, Field(ge=0)] = 0

    def combine(self, probabilities: FloatArray) -> FloatArray:
        """Combine predictions of shape (members, images, 2) into (images, 2)."""
        inputs = self.inputs.apply(positive_logits(probabilities))
        points, labels = np.asarray(self.points), np.asarray(self.labels, dtype=np.float64)
        block = max(1, _CELLS_AT_ONCE // len(points))
        found = [
            labels[_nearest(inputs[start : start + block], points, self.neighbours)].sum(axis=1)
            for start in range(0, len(inputs), block)
        ]
        shares = (np.concatenate(found) + self.added) / (self.neighbours + 2 * self.added)
        return two_columns(shares)


def fit_knn(members: Members, seed: int) -> NeighbourStack:
    """Store the images; the number of neighbours is odd, near the root of the number of images, 5 to 51."""
    logits = positive_logits(members.probabilities)
    inputs = fit_standardiser(logits)
    kept = sample_points(members.labels, seed)
    neighbours = int(np.clip(round(np.sqrt(len(kept))) // 2 * 2 + 1, 5, 51))
    return NeighbourStack(
        inputs=inputs,
        points=as_matrix(inputs.apply(logits[kept])),
        labels=tuple(members.labels[kept].tolist()),
        neighbours=min(neighbours, len(kept)),
        added=1,
    )


def _nearest(inputs: FloatArray, points: FloatArray, number: int) -> NDArray[np.intp]:
    """Positions of the nearest points, in no order, shape (images, number)."""
    distances = np.zeros((len(inputs), len(points)))
    # Summed differences, not |a|^2 - 2ab + |b|^2, whose rounding would swap neighbours at equal distance.
    for column in range(inputs.shape[1]):
        distances += (inputs[:, column, None] - points[None, :, column]) ** 2
    return np.argpartition(distances, number - 1, axis=1)[:, :number]


STACK_KNN = Method("stack_knn", fit_knn, NeighbourStack, complexity=40, is_binary=True)
