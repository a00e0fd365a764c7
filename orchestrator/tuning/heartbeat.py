"""Heartbeats: what a worker has worked so far reaches the driver beside its reports, every few seconds.

A report comes when a step ends, and a step may compute features for an hour or train one long epoch. So a
thread of the worker looks at the count of its work (`trainables.common.progress`) and puts it on a board that
the driver reads, when it has grown: a worker that is stopped, in a dead-lock, or waits for a disk does not.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

BEAT_SECONDS: Final = 5.0


class Board(Protocol):
    """Where workers put their counts and the driver reads them; each call may fail or take seconds."""

    def put(self, number: int, count: int) -> None:
        """Put the count of the worker of a trial."""
        ...

    def get(self, numbers: Sequence[int]) -> Mapping[int, int]:
        """Return trial number -> count, of the trials that have one."""
        ...


class Heart:
    """The thread of a worker that puts its count on the board.

    Args:
        board: The board.
        work_done: Returns the count, which grows with the work.
        seconds: Time between two looks.
    """

    def __init__(self, board: Board, work_done: Callable[[], int], seconds: float = BEAT_SECONDS) -> None:
        self._board, self._work_done, self._seconds = board, work_done, seconds
        self._number: int | None = None
        self._last: tuple[int, int] | None = None
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def beats_for(self, number: int) -> None:
        """Beat for this trial from now on; the thread starts with the first one."""
        self._number = number
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="heart", daemon=True)
            self._thread.start()

    def look(self) -> None:
        """Put the count on the board if it has grown since the last time, or is that of another trial."""
        if self._number is None:
            return
        now = self._number, self._work_done()
        if now != self._last:
            with contextlib.suppress(Exception):  # the board is away; the next look tries again
                self._board.put(*now)
                self._last = now

    def stop(self) -> None:
        """Beat no more."""
        self._is_over.set()

    def _beat(self) -> None:
        while not self._is_over.wait(self._seconds):
            self.look()


class Ear:
    """What the driver hears: trials whose count has changed since they were asked about last.

    Reading the board may take seconds where Ray's control process is slow, so a thread does it, and the
    driver takes what has come in.

    Args:
        board: The board.
        running: Returns the numbers of the trials that run.
        seconds: Time between two looks.
    """

    def __init__(
        self, board: Board, running: Callable[[], Sequence[int]], seconds: float = BEAT_SECONDS
    ) -> None:
        self._board, self._running, self._seconds = board, running, seconds
        self._counts: dict[int, int] = {}
        self._heard: set[int] = set()
        self._lock = threading.Lock()
        self.is_deaf = False

    def look(self) -> None:
        """Read the board once."""
        numbers = self._running()
        try:
            counts = self._board.get(numbers) if numbers else {}
        except Exception:  # Ray's control process is away: nobody can tell who works
            self.is_deaf = True
            return
        self.is_deaf = False
        with self._lock:
            self._heard |= {number for number, own in counts.items() if self._counts.get(number) != own}
            self._counts = {number: own for number, own in counts.items() if number in numbers}

    def heard(self) -> set[int]:
        """Return the trials whose count has changed since the last call."""
        with self._lock:
            found, self._heard = self._heard, set()
        return found

    @contextlib.contextmanager
    def listening(self) -> Iterator["Ear"]:
        """Read the board every few seconds, in a thread of its own, as long as the context lasts."""
        is_over = threading.Event()

        def listen() -> None:
            while not is_over.wait(self._seconds):
                self.look()

        threading.Thread(target=listen, name="ear", daemon=True).start()
        try:
            yield self
        finally:
            is_over.set()
