"""The time limit of a search on its way to a worker, whose clocks are not those of the driver.

The wall clocks of two machines differ, and a wall clock may be set back while a search runs. So a worker is
told how much time is left, and counts it on its own monotonic clock.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_LONGEST_WAIT: Final = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """Time that a search has left when it hands out a trial.

    Attributes:
        seconds: Seconds that are left; negative if the time is up.
        said_at: Reading of the wall clock then, for the time that the trial waits for its worker.
    """

    seconds: float
    said_at: float


def time_left(
    deadline: float | None, now: float, *, wall_clock: Callable[[], float] = time.time
) -> TimeLeft | None:
    """Return the time that is left; None for a search without a limit.

    Args:
        deadline: Reading of the driver's clock at which the time is up; None for no limit.
        now: Reading of the same clock now.
        wall_clock: Function that returns the seconds of the wall clock.
    """
    return None if deadline is None else TimeLeft(deadline - now, wall_clock())


def deadline_here(
    left: TimeLeft | None,
    *,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
) -> float | None:
    """Return the reading of this machine's monotonic clock at which the time is up; None for never.

    Args:
        left: What was left when the trial was handed out.
        clock: Function that returns the seconds of the monotonic clock.
        wall_clock: Function that returns the seconds of the wall clock. It counts only for the time that the
            trial waited for its worker; more than five minutes are taken for clocks that differ.
    """
    if left is None:
        return None
    waited = wall_clock() - left.said_at
    return clock() + left.seconds - (waited if 0.0 <= waited <= _LONGEST_WAIT else 0.0)
