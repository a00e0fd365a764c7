"""The watchdog of workers: one without progress for too long is taken for hung. Pure arithmetic of times.

A worker is heard by its reports and by its heartbeats, which count what it works: batches, views and folds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator.tuning.heartbeat import BEAT_SECONDS

_TRAINING_SECONDS: Final = 600.0
_OPENING_SECONDS: Final = 1200.0  # reads data, builds nets, exports stages; features are heard batch by batch
_START_SECONDS: Final = 120.0  # at least, for a process to start and to import what it needs
_TIMES_LONGEST: Final = 3.0
_GRACE_SECONDS: Final = 60.0
_DOUBT_SECONDS: Final = 4.0 * BEAT_SECONDS  # a worker beats, and the driver looks, once in BEAT_SECONDS each
_ASLEEP_SECONDS: Final = 60.0  # between two looks: the machine slept, and its workers with it


@dataclass(slots=True)
class _Worker:
    """What is known of a worker that runs a trial.

    Attributes:
        heard_at: Clock reading of its last report, or of its start.
        is_opened: The trial trains; before that it opens its data and computes features.
        is_doubted: The user has been told that it is silent.
        is_given_up: It was named as hung.
    """

    heard_at: float
    is_opened: bool = False
    is_doubted: bool = False
    is_given_up: bool = False


class Watchdog:
    """Notes the reports of workers, and names those that hang.

    A worker watches the time of its trial itself, between epochs. One that is stopped, or waits for a disk or
    a GPU that does not answer, cannot.

    Args:
        trial_minutes: Longest time of a single trial, in minutes.
        clock: Function that returns seconds, which nobody can set back.
        say: Function called with messages for the user.
        stall_minutes: Longest time without progress, in minutes; None for ten, or more where trials are long.
    """

    def __init__(
        self,
        trial_minutes: float,
        clock: Callable[[], float],
        say: Callable[[str], None],
        stall_minutes: float | None = None,
    ) -> None:
        self.trial_minutes, self.clock, self.say = trial_minutes, clock, say
        self.stall_minutes = stall_minutes
        self._workers: dict[int, _Worker] = {}
        self._longest = {False: 0.0, True: 0.0}  # of the silences while opening, and while training
        self._looked_at = clock()

    def started(self, number: int) -> None:
        """Watch the worker of a trial from now on."""
        self._workers[number] = _Worker(self.clock())

    def handed_over(self, number: int) -> None:
        """Watch the worker that a trial is being handed to, unless it is watched already."""
        self._workers.setdefault(number, _Worker(self.clock()))

    def heard(self, number: int, *, is_opened: bool = True) -> None:
        """Note a report of a worker, or a heartbeat, which does not tell whether its trial is opened."""
        worker, now = self._workers.get(number), self.clock()
        if worker is not None:
            own = worker.is_opened
            self._longest[own] = max(self._longest[own], now - worker.heard_at)
            worker.heard_at, worker.is_opened, worker.is_doubted = now, own or is_opened, False

    def ended(self, number: int) -> None:
        """Watch the worker of a trial no longer."""
        self._workers.pop(number, None)

    def limit(self, *, is_opened: bool) -> float:
        """Return the seconds after which a silent worker is taken for hung."""
        if self.stall_minutes is not None:
            asked = 60.0 * self.stall_minutes
            return asked if is_opened else max(asked, _START_SECONDS)
        own = 60.0 * self.trial_minutes + _GRACE_SECONDS
        least = max(_TRAINING_SECONDS if is_opened else _OPENING_SECONDS, own)
        return max(least, _TIMES_LONGEST * self._longest[is_opened])

    def hung(self, *, is_late: bool) -> list[int]:
        """Return the trials whose workers have been silent for too long, each once, and tell the user.

        Args:
            is_late: The time of the search is up, so that its workers should end by themselves.
        """
        self._forgive_sleep()
        return [number for number, worker in self._workers.items() if self._is_hung(number, worker, is_late)]

    def _is_hung(self, number: int, worker: _Worker, is_late: bool) -> bool:
        seconds = self.clock() - worker.heard_at
        limit = self.limit(is_opened=worker.is_opened)
        doubtful = max(limit / 2, _DOUBT_SECONDS)
        if worker.is_given_up:
            return False
        if seconds >= limit:
            worker.is_given_up = True
            self.say(f"trial {number} has said nothing for {minutes_text(seconds)}: its worker is ended")
        elif not worker.is_doubted and (seconds >= doubtful or (is_late and seconds >= _GRACE_SECONDS)):
            worker.is_doubted = True
            self.say(f"trial {number} has said nothing for {minutes_text(seconds)}; its worker may hang")
        return worker.is_given_up

    def _forgive_sleep(self) -> None:
        now = self.clock()
        asleep = now - self._looked_at
        if asleep > _ASLEEP_SECONDS:
            for worker in self._workers.values():
                worker.heard_at += asleep
        self._looked_at = now


def minutes_text(seconds: float) -> str:
    """Return a time in minutes.

    >>> minutes_text(612.0), minutes_text(90.0)
    ('10 min', '1.5 min')
    """
    minutes = seconds / 60.0
    return f"{minutes:.0f} min" if minutes >= 9.5 else f"{minutes:.2g} min"
