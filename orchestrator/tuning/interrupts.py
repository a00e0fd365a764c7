"""Ctrl-C, SIGTERM and SIGHUP during a search."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from orchestrator.tuning.trial_manager import TrialManager
from trainables.common.errors import INTERRUPTED

CLOSING_SECONDS: Final = 30.0  # for Tune to stop its trials


@contextmanager
def interruptible(manager: TrialManager, *, ends_process: bool = True) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end the search cleanly: Tune stops its trials, `is_stopping` is set.

    A signal may reach Ray's control process too, as from `timeout` or a batch system, and then Ray stops
    nothing any more. So if the search does not end in time, its process does: what has ended is recorded.

    Args:
        manager: Manager of the trials.
        ends_process: End the process in that case; else the user is told to interrupt once more.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    # SIGHUP comes when a terminal or its connection is closed; under nohup it is ignored, and stays so.
    taken = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        taken.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in taken}

    is_closed = threading.Event()

    def close_in_time() -> None:
        if manager.is_stopping:
            return
        manager.is_stopping = True
        threading.Thread(target=_end_unless, args=(is_closed, manager, ends_process), daemon=True).start()

    def remember(number: int, frame: FrameType | None) -> None:
        # Tune installs its own handler inside fit(); it calls this one when Ctrl-C comes a second time.
        close_in_time()
        raise KeyboardInterrupt

    def terminate(number: int, frame: FrameType | None) -> None:
        # These take the way of Ctrl-C, for which Tune has a handler that stops its trials.
        close_in_time()
        outer = before[signal.Signals(number)]
        if number == signal.SIGHUP and callable(outer):
            with suppress(KeyboardInterrupt):  # it leaves the terminal alone, and interrupts
                outer(number, frame)
        signal.raise_signal(signal.SIGINT)

    for number in taken:
        signal.signal(number, remember if number == signal.SIGINT else terminate)
    try:
        yield
    except KeyboardInterrupt:
        manager.is_stopping = True
    finally:
        is_closed.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        # Tune's own handler says nothing, and a signal may come while no trial runs but more would.
        if manager.running or not manager.is_over:
            manager.is_stopping = True


def _end_unless(is_closed: threading.Event, manager: TrialManager, ends_process: bool) -> None:
    """End this process if the search is not closed in time, or say how to leave the search."""
    if is_closed.wait(CLOSING_SECONDS):
        return
    if not ends_process:
        manager.say("interrupted, but Ray does not answer any more; interrupt once more to leave the search")
        return
    manager.say(
        "interrupted, but Ray does not answer any more; what has ended is kept. Go on with: "
        f"{manager.run.resume_command}"
    )
    os._exit(INTERRUPTED)
