"""The end of a worker that is asked for, by SIGTERM or because its machine is taken away: a checkpoint first.

A spot machine, a batch system or an administrator ends a worker with a notice of seconds. An epoch is not
broken off for it: the trial writes its checkpoint after the epoch, and the worker ends. A trial that only
opens its data has nothing to keep, and its worker ends at once. Knows nothing of Ray, whose own handler of
SIGTERM ends the worker, and tells the search why.
"""

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

GRACE_SECONDS: Final = 25.0  # for the epoch at hand; clouds and batch systems kill after 30 s
_REPORT_SECONDS: Final = 2.0  # for the driver to take the report of a trial that has just ended
_EXIT_CODE: Final = 1

Handler = Callable[[int, FrameType | None], Any]


class Keeps(Protocol):
    """A trial that can be continued elsewhere."""

    def keep_progress(self) -> None:
        """Write a checkpoint of the epochs that are finished."""


class Departure:
    """What this process knows of its own end; there is one for each process, `DEPARTURE`.

    Args:
        kill: Ends the process at once; injected for tests.
        make_timer: Makes a timer that calls a function after some seconds; injected for tests.

    Attributes:
        is_asked: The process has been asked to end.
        say: Tells others so, when it is asked and for each trial that it turns to after that. Ray's own words
            for the end of a process depend on what it does at that moment.
    """

    def __init__(
        self,
        kill: Callable[[], None] = lambda: os._exit(_EXIT_CODE),
        make_timer: Callable[[float, Callable[[], None]], Any] = threading.Timer,
    ) -> None:
        self.is_asked = False
        self.say: Callable[[], None] = lambda: None
        self._kill, self._make_timer = kill, make_timer
        self._ends: Handler | None = None
        self._depth = 0  # of calls that must not be broken off
        self._trial: Keeps | None = None

    def listen(self) -> None:
        """Take SIGTERM over from the handler that ends this process; only its main thread can."""
        if self._ends is not None or threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGTERM)
        if not callable(before):
            return  # there is nothing that would end the process in order
        self._ends = before
        signal.signal(signal.SIGTERM, lambda number, frame: self.ask())

    def ask(self) -> None:
        """Ask the process to end: now, after a checkpoint, or after what must not be broken off."""
        self.is_asked = True
        self._end_after(GRACE_SECONDS)  # whatever does not answer: a disk, or those who are told
        self._say()
        if not self._depth:
            self._leave()

    def begun(self) -> None:
        """Note that this process has turned to another trial, which has nothing to keep yet."""
        self._trial = None
        if self.is_asked:
            self._say()

    def _say(self) -> None:
        with contextlib.suppress(Exception):  # nobody listens; the process ends all the same
            self.say()

    def finish(self, trial: Keeps, work: Callable[[], bool]) -> bool:
        """Call a function that a request to end waits for, and then end the process if it was asked to.

        Args:
            trial: The trial that it works on.
            work: Function to call; True if the trial ended with it, so that its report is worth a moment.
        """
        self._trial, self._depth = trial, self._depth + 1
        try:
            is_end = work()
        finally:
            self._depth -= 1
        if is_end:
            self._trial = None
        if self.is_asked and is_end:
            self._end_after(_REPORT_SECONDS)
        elif self.is_asked:
            self._leave()
        return is_end

    def end_after_report(self) -> None:
        """End the process once its last report has been taken, since nothing more can be run in it.

        A trial that it turns to meanwhile is one that is taken from it.
        """
        self.is_asked = True
        self._end_after(_REPORT_SECONDS)

    def _leave(self) -> None:
        trial, self._trial = self._trial, None
        try:
            if trial is not None:
                trial.keep_progress()
        finally:
            if self._ends is not None:
                self._ends(signal.SIGTERM, None)

    def _end_after(self, seconds: float) -> None:
        timer = self._make_timer(seconds, self._kill)
        timer.daemon = True
        timer.start()


DEPARTURE: Final = Departure()

_Trial = TypeVar("_Trial", bound=Keeps)
_Given = ParamSpec("_Given")


def undisturbed(
    work: Callable[Concatenate[_Trial, _Given], bool],
) -> Callable[Concatenate[_Trial, _Given], bool]:
    """Let a request to end this process wait for a method of a trial, whose progress is then kept.

    Args:
        work: Method that returns True if the trial ended with it.
    """

    @functools.wraps(work)
    def finished(trial: _Trial, *args: _Given.args, **kwargs: _Given.kwargs) -> bool:
        return _finish(trial, lambda: work(trial, *args, **kwargs))

    return finished


def _finish(trial: Keeps, work: Callable[[], bool]) -> bool:
    """Finish work by the departure of this process; a class that is sent by value would bring another."""
    return DEPARTURE.finish(trial, work)
