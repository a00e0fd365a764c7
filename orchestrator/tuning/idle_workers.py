"""Idle workers at the end of a search: to how many of them each long trial may give folds of its own.

Pure bookkeeping. Once nothing is left to be handed out, a trial that still has minutes to go shares its folds
with workers that have nothing to do; when a trial must be run again, they are wanted back.
"""

import math
from collections.abc import Mapping
from typing import Final

LONG_SECONDS: Final = 60.0  # left of a trial for which it is worth while to start other workers
EPOCH_SECONDS: Final = 1.0  # of an epoch that takes so long that others can be asked for their part of each


def offers(left: Mapping[int, float], before: Mapping[int, int], *, idle: int, folds: int) -> dict[int, int]:
    """Return to how many idle workers each trial may give folds.

    The trial that would be the last to end takes as many as make it faster, then the next one. Each place has
    whole folds, so that with five of them a second and a third place help, a fourth does not. A trial keeps
    what it was offered before.

    Args:
        left: Trial number -> seconds that it will take yet as it is, for trials whose folds can be shared.
        before: Trial number -> number of idle workers that it has been offered.
        idle: Number of idle workers that nobody has been offered.
        folds: Number of folds.

    >>> offers({3: 600.0, 7: 90.0, 8: 30.0}, {}, idle=4, folds=5)
    {3: 4}
    >>> offers({3: 600.0, 7: 400.0}, {3: 1}, idle=1, folds=4)
    {3: 1, 7: 1}
    """
    found = {number: count for number, count in before.items() if number in left}
    seconds = dict(left)
    while True:
        more = {number: _step(found.get(number, 0), folds) for number in left}
        can = [own for own in left if 0 < more[own] <= idle and seconds[own] >= LONG_SECONDS]
        if not can:
            return found
        last = max(can, key=seconds.__getitem__)
        fullest = math.ceil(folds / (1 + found.get(last, 0)))
        found[last] = found.get(last, 0) + more[last]
        seconds[last] *= math.ceil(folds / (1 + found[last])) / fullest
        idle -= more[last]


def _step(others: int, folds: int) -> int:
    """Number of further workers that make a trial faster; 0 where each fold has a place of its own."""
    fullest = math.ceil(folds / (1 + others))
    return 0 if fullest == 1 else math.ceil(folds / (fullest - 1)) - (1 + others)
