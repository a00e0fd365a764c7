"""Ctrl-C, SIGTERM and SIGHUP during a search."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from orchestrator.tuning.trial_manager import TrialManager


@contextmanager
def interruptible(manager: TrialManager) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end the search cleanly: Tune stops its trials, `is_stopping` is set."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    # SIGHUP comes when a terminal or its connection is closed; under nohup it is ignored, and stays so.
    taken = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        taken.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in taken}

    def remember(number: int, frame: FrameType | None) -> None:
        # Tune installs its own handler inside fit(); it calls this one when Ctrl-C comes a second time.
        manager.is_stopping = True
        raise KeyboardInterrupt

    def terminate(number: int, frame: FrameType | None) -> None:
        # These take the way of Ctrl-C, for which Tune has a handler that stops its trials.
        manager.is_stopping = True
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
        for number, handler in before.items():
            signal.signal(number, handler)
        if manager.running:
            manager.is_stopping = True
