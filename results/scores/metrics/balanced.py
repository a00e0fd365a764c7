"""Metrics of decisions that weigh the classes alike: balanced accuracy and Matthews' correlation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.scores.decisions import ratio
from results.scores.metric import Metric
from trainables.common.types import FloatArray


def balanced_accuracy(matrices: NDArray[Any]) -> FloatArray:
    """Mean recall over the classes that have cases, from matrices of shape (..., classes, classes)."""
    support = matrices.sum(axis=-1)
    recalls = ratio(np.diagonal(matrices, axis1=-2, axis2=-1), support)
    return ratio(recalls.sum(axis=-1), (support > 0).sum(axis=-1))


def mcc(matrices: NDArray[Any]) -> FloatArray:
    """Matthews' correlation coefficient in [-1, 1], from matrices of shape (..., classes, classes).

    Source:
        Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    matrices = matrices.astype(np.float64)
    true, called = matrices.sum(axis=-1), matrices.sum(axis=-2)
    total = matrices.sum(axis=(-2, -1))
    covariance = np.trace(matrices, axis1=-2, axis2=-1) * total - (true * called).sum(axis=-1)
    spread = (total**2 - (called**2).sum(axis=-1)) * (total**2 - (true**2).sum(axis=-1))
    return ratio(covariance, np.sqrt(spread))


# Its threshold, which is also that of every model whose search has none of its own, is `balanced_threshold`.
BALANCED_ACCURACY = Metric(
    name="balanced_accuracy",
    kind="decisions",
    function=balanced_accuracy,
    header="BAcc",
    has_own_threshold=True,
    is_standard=True,
    place=50,
)
MCC = Metric(
    name="mcc",
    kind="decisions",
    function=mcc,
    header="MCC",
    low=-1.0,
    has_own_threshold=True,
    is_standard=True,
    place=90,
)
