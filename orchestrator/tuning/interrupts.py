"""Ctrl-C and SIGTERM during a search."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from orchestrator.tuning.trial_manager import TrialManager


@contextmanager
def interruptible(manager: TrialManager) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the search cleanly: Tune stops its trials, the caller sees `is_stopping`."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def remember(number: int, frame: FrameType | None) -> None:
        # Tune installs its own handler inside fit(); it calls this one when Ctrl-C comes a second time.
        manager.is_stopping = True
        raise KeyboardInterrupt

    def terminate(number: int, frame: FrameType | None) -> None:
        # SIGTERM takes the way of Ctrl-C, for which Tune has a handler that stops its trials.
        manager.is_stopping = True
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, remember)
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        manager.is_stopping = True
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
        if manager.running:
            manager.is_stopping = True
