"""Shares of right decisions: accuracy, recall, precision and specificity.

With two classes recall, precision and specificity are those of class 1; with more they are macro means, each
class that has cases against the rest. A ratio without cases, such as the precision of a model that never
predicts the positive class, counts 0 (sklearn's `zero_division=0`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.scores.decisions import one_against_rest, positive_or_macro, ratio
from results.scores.metric import Metric
from trainables.common.types import FloatArray


def accuracy(matrices: NDArray[Any]) -> FloatArray:
    """Share of right decisions, from confusion matrices of shape (..., classes, classes)."""
    return ratio(np.trace(matrices, axis1=-2, axis2=-1), matrices.sum(axis=(-2, -1)))


def recall(matrices: NDArray[Any]) -> FloatArray:
    """Share of the positives that were found, from confusion matrices of shape (..., classes, classes)."""
    hits, _, missed, _ = one_against_rest(matrices)
    return positive_or_macro(ratio(hits, hits + missed), matrices)


def precision(matrices: NDArray[Any]) -> FloatArray:
    """Share of the positive decisions that are right, from matrices of shape (..., classes, classes)."""
    hits, alarms, _, _ = one_against_rest(matrices)
    return positive_or_macro(ratio(hits, hits + alarms), matrices)


def specificity(matrices: NDArray[Any]) -> FloatArray:
    """Share of the negatives that were decided negative, from matrices of shape (..., classes, classes)."""
    _, alarms, _, rest = one_against_rest(matrices)
    return positive_or_macro(ratio(rest, rest + alarms), matrices)


ACCURACY = Metric(
    name="accuracy",
    kind="decisions",
    function=accuracy,
    header="Acc",
    has_own_threshold=True,
    is_standard=True,
    place=40,
)
RECALL = Metric(name="recall", kind="decisions", function=recall, header="Recall", is_standard=True, place=60)
PRECISION = Metric(
    name="precision", kind="decisions", function=precision, header="Prec", is_standard=True, place=70
)
SPECIFICITY = Metric(
    name="specificity", kind="decisions", function=specificity, header="Spec", is_standard=True, place=80
)
