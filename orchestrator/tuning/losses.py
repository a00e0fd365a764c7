"""How often a trial whose worker was lost is handed out again."""

from collections import Counter
from typing import Final

DIED_AGAIN: Final = 2  # times that a trial is handed out again after its worker died
TAKEN_AGAIN: Final = 10  # times after its worker was asked to end, or its machine went
_DIED: Final = "its worker died", "it is run again"
_HELPER: Final = (
    "a worker that trained folds of it failed",
    "it goes on without such workers, from its last checkpoint",
)
_TAKEN: Final = (
    "its worker was taken away",
    "it goes on elsewhere, from its last checkpoint if it has one",
)


class Losses:
    """Counts the lost workers of each trial: those that died, and those that were taken away.

    A trial that kills its workers is given up soon; it has no part in what happens to machines.
    """

    def __init__(self) -> None:
        self._died: Counter[int] = Counter()
        self._taken: Counter[int] = Counter()

    def reason_to_go_on(
        self, number: int, *, is_taken: bool, is_helpers: bool = False
    ) -> tuple[str, str] | None:
        """Count a loss; returns what happened and how the trial goes on, or None if it is given up.

        Args:
            number: Trial number.
            is_taken: The worker was asked to end, or its machine went.
            is_helpers: It was a worker that trained folds of the trial, which gets no further ones if one
                of them has failed: it happens to a trial once.
        """
        if is_helpers and not is_taken:
            return _HELPER
        counts, most, reason = (
            (self._taken, TAKEN_AGAIN, _TAKEN) if is_taken else (self._died, DIED_AGAIN, _DIED)
        )
        counts[number] += 1
        return reason if counts[number] <= most else None
