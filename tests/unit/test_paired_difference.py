"""The paired difference of the benchmarks."""

import numpy as np

from benchmarks.paired_difference import paired_difference
from results.scores.interval import Interval


def test_a_difference_is_first_minus_second() -> None:
    groups = np.array(["a", "b", "c"])
    found = paired_difference(
        groups, lambda counts: np.full(len(counts), 3.0), lambda counts: np.full(len(counts), 1.0), seed=0
    )
    assert found == Interval(2.0, 2.0, 2.0)
