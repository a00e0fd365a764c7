"""A search watched from beside, by a thread that nothing in Ray can hold up.

When Ray's control process dies, Ray ends this program a minute later; when it is frozen, every call to it
waits for ever, the one that would end the search at its time limit too. So a thread asks it whether it is
alive, tells the user how to go on, and ends the program where Ray does not: what has ended is recorded.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from cluster.control_service import probe

LOST: Final = 1  # exit code of a search that its Ray has left
_LOOK_SECONDS: Final = 5.0
_MISSED: Final = 3  # looks in a row without an answer, before the user is told
_GONE_SECONDS: Final = 180.0  # without an answer, after which a program that Ray has not ended is ended
_OVERDUE_SECONDS: Final = 60.0  # after the last moment at which Tune itself must have ended the search


@dataclass(slots=True)
class Lifeline:
    """What is known of a Ray that may be gone; looked at again and again.

    Attributes:
        address: Address `host:port` of the control process.
        say: Function called with messages.
        resume_command: Command that goes on with the search.
        end: Function that ends the program with an exit code; it is called once.
        overdue_at: Reading of the clock at which the search must have ended; None without a limit.
        answers: Tells whether the control process at an address answers.
        clock: Function that returns seconds.
    """

    address: str
    say: Callable[[str], None]
    resume_command: str
    end: Callable[[int], object]
    overdue_at: float | None = None
    answers: Callable[[str], bool] = field(default_factory=lambda: answers)
    clock: Callable[[], float] = time.monotonic
    _missed: int = 0
    _silent_since: float | None = None
    _has_ended: bool = False

    def look(self) -> None:
        """Ask once, and act on what is found."""
        if self._has_ended:
            return
        begun = self.clock()
        if self.overdue_at is not None and begun >= self.overdue_at + _OVERDUE_SECONDS:
            self._end("the time of the search is up, but Ray does not end it")
        elif self.answers(self.address):
            self._missed, self._silent_since = 0, None
        else:
            self._miss(begun)

    def _miss(self, begun: float) -> None:
        self._missed += 1
        self._silent_since = begun if self._silent_since is None else self._silent_since
        if self._missed == _MISSED:
            self.say(
                f"Ray's control process at {self.address} does not answer. If it stays away, this program "
                f"ends within minutes. What has ended is kept; go on with: {self.resume_command}"
            )
        if self.clock() - self._silent_since >= _GONE_SECONDS:
            self._end(f"Ray's control process at {self.address} has not answered for minutes")

    def _end(self, reason: str) -> None:
        self._has_ended = True
        self.say(f"{reason}. What has ended is kept; go on with: {self.resume_command}")
        self.end(LOST)


@contextlib.contextmanager
def watched(lifeline: Lifeline) -> Iterator[None]:
    """Watch a search from a thread of its own as long as the context lasts."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_SECONDS):
            lifeline.look()

    thread = threading.Thread(target=watch, name="lifeline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def answers(address: str) -> bool:
    """Tell whether a control process is alive: a frozen one takes connections, and answers nothing."""
    host, _, port = address.rpartition(":")
    return probe(host.strip("[]"), int(port)) is None


def end_program(code: int) -> None:
    """End this process at once, whatever its main thread waits for."""
    os._exit(code)
