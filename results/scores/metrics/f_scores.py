"""F scores: the harmonic mean of precision and recall, and F2, in which recall counts twice."""

from typing import Any

from numpy.typing import NDArray

from results.scores.decisions import one_against_rest, positive_or_macro, ratio
from results.scores.metric import Metric
from trainables.common.types import FloatArray


def f1(matrices: NDArray[Any]) -> FloatArray:
    """Harmonic mean of precision and recall, from matrices of shape (..., classes, classes)."""
    return _f_beta(matrices, beta=1.0)


def f2(matrices: NDArray[Any]) -> FloatArray:
    """F-beta with recall counted twice as much as precision, from matrices (..., classes, classes).

    >>> import numpy as np
    >>> hits, alarms, missed = 726, 554, 274  # precision 0.567, recall 0.726
    >>> round(float(f2(np.array([[1000, alarms], [missed, hits]]))), 3)
    0.688
    """
    return _f_beta(matrices, beta=2.0)


def _f_beta(matrices: NDArray[Any], beta: float) -> FloatArray:
    hits, alarms, missed, _ = one_against_rest(matrices)
    weighted = (1 + beta**2) * hits
    return positive_or_macro(ratio(weighted, weighted + beta**2 * missed + alarms), matrices)


F2 = Metric(
    name="f2",
    kind="decisions",
    function=f2,
    header="F2",
    has_own_threshold=True,
    is_standard=True,
    place=20,
)
F1 = Metric(
    name="f1",
    kind="decisions",
    function=f1,
    header="F1",
    has_own_threshold=True,
    is_standard=True,
    place=30,
)
