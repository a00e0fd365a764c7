"""The time that trials took, and the time until a search ends, estimated from its own pace."""

from collections.abc import Sequence
from typing import Final

from results.run.records import TrialRecord

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


def busy_seconds(records: Sequence[TrialRecord]) -> float:
    """Return the seconds in which at least one trial ran; pauses between sessions do not count."""
    spans = sorted(
        (record.finished_at.timestamp() - record.wall_seconds, record.finished_at.timestamp())
        for record in records
    )
    total, reached = 0.0, float("-inf")
    for begin, end in spans:
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
