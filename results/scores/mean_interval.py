"""A mean over images whose uncertainty is that of patients."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.scores.interval import QUANTILE, Interval
from trainables.common.types import FloatArray


def mean_interval(values: FloatArray, groups: NDArray[Any], *, inflation: float = 1.0) -> Interval:
    """Return a mean over images with its 95 % interval over patients.

    Args:
        values: Value of each image, shape (images,).
        groups: Patient of each image, shape (images,).
        inflation: Factor by which other training parts widen the variance.

    >>> print(mean_interval(np.array([0.0, 1.0, 0.0, 1.0]), np.array(list("abcd"))))
    0.50 [-0.07, 1.07]
    """
    mean = float(values.mean())
    sums = np.bincount(np.unique(groups, return_inverse=True)[1].reshape(-1), weights=values - mean)
    number = len(sums)
    error = np.sqrt((sums**2).sum() * number / max(number - 1, 1) * inflation) / len(values)
    return Interval(mean, mean - QUANTILE * float(error), mean + QUANTILE * float(error))
