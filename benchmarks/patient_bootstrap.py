"""The percentile bootstrap over patients, which the intervals of the product are compared with.

It holds the truth less often than it says where patients are few or scores are perfect, and it knows nothing
of other training parts (`python -m benchmarks.coverage`).

Source:
    Field and Welsh (2007), "Bootstrapping clustered data"; Efron and Tibshirani (1993), percentile intervals.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.scores.bootstrap import Statistic, draw_counts
from results.scores.interval import Interval
from trainables.common.errors import OneClassError

_CELLS_AT_ONCE: Final = 4_000_000  # bounds the counts in memory at 32 MB


def bootstrap_interval(
    groups: NDArray[Any],
    statistic: Statistic,
    *,
    resamples: int = 1000,
    seed: int,
) -> Interval:
    """Return the 95 % percentile interval of a statistic over resampled patients.

    Args:
        groups: Patient of each image, shape (images,).
        statistic: Function of counts; a resample for which it is NaN is drawn again.
        resamples: Number of resamples, at least 1.
        seed: Random seed of the draws.

    Raises:
        OneClassError: If the images themselves do not define the statistic.

    >>> from results.scores.bootstrap import fold_auc_statistic
    >>> patients = np.array(["a", "b", "c", "d"])
    >>> area = fold_auc_statistic(np.array([0, 0, 1, 1]), np.array([[1, 0], [0.5, 0.5], [0.2, 0.8], [0, 1]]))
    >>> print(bootstrap_interval(patients, area, resamples=100, seed=0))
    1.00 [1.00, 1.00]
    """
    estimate = float(statistic(np.ones((1, len(groups)), dtype=np.int64))[0])
    if np.isnan(estimate):
        raise OneClassError(
            "an interval of the AUC needs images of two classes within a fold, found one class"
        )
    patients = np.unique(groups, return_inverse=True)[1]
    random = np.random.default_rng(seed)
    block = max(1, min(resamples, _CELLS_AT_ONCE // len(groups)))
    values = np.empty(0)
    while len(values) < resamples:
        drawn = statistic(draw_counts(patients, block, random))
        values = np.concatenate([values, drawn[~np.isnan(drawn)]])
    low, high = np.quantile(values[:resamples], [0.025, 0.975])
    return Interval(estimate, float(low), float(high))
