"""The time of a search's workers, and the shares of it that go into features, training and waiting.

Pure arithmetic of times: whoever follows the trials says what happens, a clock says when.
"""

import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainables.common.text import clock_text


@dataclass(frozen=True, slots=True)
class TimeShares:
    """Seconds of all workers of a session together, by what they went into.

    Attributes:
        features: Reading, computing and copying the stored features that trials train on.
        training: All else that a worker does for a trial: building, training and scoring its models.
        waiting: Seconds of workers without a trial, of trials whose worker starts, and of trials that wait
            for features that another worker is computing.
    """

    features: float = 0.0
    training: float = 0.0
    waiting: float = 0.0

    @property
    def total(self) -> float:
        """Seconds of all workers."""
        return self.features + self.training + self.waiting

    @property
    def busy(self) -> float | None:
        """Share of the time in [0, 1] in which workers had a trial to work on; None if no time has passed.

        >>> TimeShares(285.0, 383.0, 83.0).busy, TimeShares().busy
        (0.889..., None)
        """
        return None if self.total <= 0.0 else (self.features + self.training) / self.total

    def __add__(self, other: "TimeShares") -> "TimeShares":
        """Return the time of two sessions together."""
        return TimeShares(
            self.features + other.features, self.training + other.training, self.waiting + other.waiting
        )

    @property
    def percent(self) -> tuple[int, int, int]:
        """Shares of features, training and waiting in whole per cent, which add up to 100; 0 without time.

        >>> TimeShares(1.0, 1.0, 1.0).percent, TimeShares(0.0, 99.6, 0.4).percent
        ((34, 33, 33), (0, 100, 0))
        """
        first, second, third = whole_percent((self.features, self.training, self.waiting))
        return first, second, third


def whole_percent(parts: Sequence[float]) -> tuple[int, ...]:
    """Return the shares of non-negative parts in whole per cent that add up to 100; all 0 without a whole.

    The largest remainders are rounded up, so that no share is off by a whole per cent.

    >>> whole_percent([2.0, 1.0]), whole_percent([0.0, 0.0])
    ((67, 33), (0, 0))
    """
    whole = sum(parts)
    if whole <= 0.0:
        return (0,) * len(parts)
    exact = [100.0 * part / whole for part in parts]
    found = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(parts)), key=lambda place: found[place] - exact[place])
    for place in by_remainder[: 100 - sum(found)]:
        found[place] += 1
    return tuple(found)


def shares_text(shares: TimeShares) -> str:
    """Describe the shares on one line; empty if no time has passed.

    >>> shares_text(TimeShares(285.0, 383.0, 83.0))
    'busy 89 % of 12:31 worker time (features 38 %, training 51 %)'
    """
    if shares.total <= 0.0:
        return ""
    features, training, waiting = shares.percent
    said = f"(features {features} %, training {training} %)"
    return f"busy {100 - waiting} % of {clock_text(shares.total)} worker time {said}"


@dataclass(slots=True)
class _Trial:
    is_open: bool = False
    opening: float = 0.0  # seconds that count as features until the worker reports
    helpers: int = 0  # other workers that train folds of it


class WorkerTime:
    """Adds up the time of the workers of one session, from the events of its trials.

    As long as a trial opens its features, its time counts as features; how much of it was waiting for
    another worker is known when it reports. A thread that draws may ask for the shares at any time.

    Args:
        clock: Function that returns seconds; injected for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._workers, self._most = clock, 0, sys.maxsize
        self._trials: dict[int, _Trial] = {}
        self._features = self._training = self._waiting = 0.0
        self._until: float | None = None  # None before the session begins and after it has ended
        self._lock = threading.Lock()

    @property
    def workers(self) -> int:
        """Number of workers that are counted now."""
        return min(self._workers, self._most)

    def begin(self, workers: int, *, most: int = sys.maxsize) -> None:
        """Begin to count.

        Args:
            workers: Number of trials at once; where more run for a time, as on a shared GPU, all count.
            most: Number of trials that are left: no more workers than that are missed.
        """
        with self._lock:
            self._workers, self._most, self._until = workers, most, self._clock()

    def resize(self, workers: int) -> None:
        """Count another number of workers from now on, since machines have joined or left.

        Args:
            workers: Number of trials at once.
        """
        with self._lock:
            self._count()
            self._workers = workers

    def end(self) -> None:
        """Stop counting; the shares stay as they are."""
        with self._lock:
            self._count()
            self._until = None

    def started(self, number: int) -> None:
        """Note that a worker runs a trial from now on."""
        with self._lock:
            self._count()
            self._trials[number] = _Trial()

    def opened(self, number: int, *, opening_seconds: float, waited_seconds: float) -> None:
        """Note that a trial has opened its features.

        Args:
            number: Trial number.
            opening_seconds: Time of opening, in the worker.
            waited_seconds: Time in it that went by until other workers had computed.
        """
        with self._lock:
            self._count()
            trial = self._trials.get(number)
            if trial is None or trial.is_open:
                return
            # The worker's clock may differ from ours, and its start and report take time, which is training.
            waited = min(waited_seconds, trial.opening)
            features = min(max(0.0, opening_seconds - waited_seconds), trial.opening - waited)
            self._features += features - trial.opening
            self._waiting += waited
            self._training += trial.opening - waited - features
            trial.is_open = True

    def helped(self, number: int, helpers: int) -> None:
        """Note that so many other workers train folds of a trial from now on.

        Args:
            number: Trial number.
            helpers: Their number.
        """
        with self._lock:
            self._count()
            if number in self._trials:
                self._trials[number].helpers = helpers

    def ended(self, number: int) -> None:
        """Note that no worker runs a trial any more, however it ended."""
        with self._lock:
            self._count()
            self._trials.pop(number, None)

    def shares(self) -> TimeShares:
        """Return where the time went until now."""
        with self._lock:
            self._count()
            return TimeShares(max(0.0, self._features), self._training, self._waiting)

    def _count(self) -> None:
        """Add the time since the last event, in which nothing has changed."""
        if self._until is None:
            return
        now = self._clock()
        seconds, self._until = max(0.0, now - self._until), now
        busy = sum(1 + trial.helpers for trial in self._trials.values())
        self._waiting += seconds * max(0, self.workers - busy)
        for trial in self._trials.values():
            if trial.is_open:
                self._training += seconds * (1 + trial.helpers)
            else:
                self._features += seconds
                trial.opening += seconds
