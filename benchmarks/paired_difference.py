"""The difference of two statistics with its interval, both computed on the same resampled patients."""

from typing import Any

from numpy.typing import NDArray

from benchmarks.patient_bootstrap import bootstrap_interval
from results.scores.bootstrap import Statistic
from results.scores.interval import Interval


def paired_difference(
    groups: NDArray[Any],
    first: Statistic,
    second: Statistic,
    *,
    resamples: int = 1000,
    seed: int,
) -> Interval:
    """Return the interval of `first` minus `second`, both computed on the same resamples.

    Two models that are right and wrong on the same patients have a narrow difference even where the interval
    of each is wide. Arguments are those of `bootstrap_interval`.
    """
    return bootstrap_interval(
        groups,
        lambda counts: first(counts) - second(counts),
        resamples=resamples,
        seed=seed,
    )
