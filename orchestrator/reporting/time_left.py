"""Time until a search ends, estimated from its own pace."""

from typing import Final

_TRIALS_FOR_AN_ESTIMATE: Final = 2


def seconds_left(
    *, finished: int, remaining: int, elapsed_seconds: float, budget_seconds: float | None
) -> float | None:
    """Estimate the time until the search ends, from its own pace and its time budget.

    Args:
        finished: Number of trials that ended since this session began.
        remaining: Number of trials that have not ended.
        elapsed_seconds: Seconds since this session began.
        budget_seconds: Time budget of this session; None without one.

    Returns:
        Seconds, at least 0; None while fewer than two trials have ended, too few to measure a pace.

    >>> seconds_left(finished=4, remaining=6, elapsed_seconds=60.0, budget_seconds=None)
    90.0
    >>> seconds_left(finished=4, remaining=6, elapsed_seconds=60.0, budget_seconds=100.0)
    40.0
    """
    if not remaining:
        return 0.0
    if finished < _TRIALS_FOR_AN_ESTIMATE:
        return None
    pace = elapsed_seconds / finished * remaining
    return pace if budget_seconds is None else max(0.0, min(pace, budget_seconds - elapsed_seconds))
