"""Patience with what comes back: room on a full disk, or a database that is being restarted.

The search waits where it stands, says so once, and looks again. What it was about to write is written when
there is room, so that nothing is lost; after a time it ends, and can be resumed.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, TypeVar

from trainables.common.errors import MachineError
from trainables.common.files import is_disk_full

DEFAULT_MINUTES: Final = 30.0
_FIRST_SECONDS: Final = 0.2
_LONGEST_SECONDS: Final = 10.0

_Found = TypeVar("_Found")


class OutOfPatienceError(MachineError):
    """What a search waited for did not come back in time."""


class Patience:
    """Tries again what failed for a reason that passes.

    Args:
        minutes: Longest wait for one thing.
        clock: Function that returns seconds; injected for tests.
        sleep: Function that waits for seconds; injected for tests.

    Attributes:
        say: Function called with messages for the user; the session puts that of its view.
        minutes: Longest wait for one thing; the session puts what the user asked for.
        until: Reading of its clock after which nothing is waited for; None for no such time.
    """

    def __init__(
        self,
        minutes: float = DEFAULT_MINUTES,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.minutes, self._clock, self._sleep = minutes, clock, sleep
        self.say: Callable[[str], None] = lambda message: None
        self.until: float | None = None

    def done(self, act: Callable[[], _Found], passing: Callable[[Exception], str | None]) -> _Found:
        """Call a function until it succeeds.

        Args:
            act: The function; it may be called several times.
            passing: Says what is amiss where an error will pass; None for every other error.

        Raises:
            OutOfPatienceError: If the reason did not pass in time.
            KeyboardInterrupt: If the user interrupts the wait.
        """
        try:
            return act()
        except Exception as error:
            reason = passing(error)
            if reason is None:
                raise
            first = error
        return self._waited(act, passing, reason, first)

    def _waited(
        self,
        act: Callable[[], _Found],
        passing: Callable[[Exception], str | None],
        reason: str,
        first: Exception,
    ) -> _Found:
        begun, pause, error = self._clock(), _FIRST_SECONDS, first
        self.say(f"{reason}; the search waits up to {self.minutes:g} min, and looks again meanwhile")
        with _interruptible() as is_interrupted:
            while self._clock() - begun < 60.0 * self.minutes and not self._is_late():
                self._sleep(pause)
                if is_interrupted():
                    raise KeyboardInterrupt
                pause = min(2 * pause, _LONGEST_SECONDS)
                try:
                    found = act()
                except Exception as again:
                    if passing(again) is None:
                        raise
                    error = again
                    continue
                self.say(f"the search goes on after {self._clock() - begun:.0f} s")
                return found
        waited = self._clock() - begun
        raise OutOfPatienceError(f"{reason}, and did not come back within {waited:.0f} s") from error

    def _is_late(self) -> bool:
        return self.until is not None and self._clock() >= self.until


def disk_reason(error: Exception) -> str | None:
    """Say what is amiss if an error is that of a full disk; None for any other."""
    if not is_disk_full(error):
        return None
    assert isinstance(error, OSError)
    return f"{error.strerror}: {error.filename}" if error.filename else f"{error.strerror}"


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C came meanwhile.

    Tune has a handler that notes the signal and looks for the note between two steps: while a step waits,
    nobody would see it.
    """
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        noted.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, before)
