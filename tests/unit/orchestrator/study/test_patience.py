"""Patience: what failed for a reason that passes is tried again, everything else is not."""

import errno
import os
import signal

import pytest
from list_study import Clock

from orchestrator.study.patience import OutOfPatienceError, Patience, disk_reason


class Flaky:
    """Fails a number of times, then answers."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


def patience(minutes: float = 30.0) -> tuple[Patience, Clock, list[str]]:
    clock, said = Clock(), list[str]()

    def sleep(seconds: float) -> None:
        clock.now += seconds

    found = Patience(minutes, clock=clock, sleep=sleep)
    found.say = said.append
    return found, clock, said


FULL = OSError(errno.ENOSPC, "No space left on device", "study.log")


def test_what_passes_is_tried_again_and_said_once() -> None:
    waits, _, said = patience()
    act = Flaky(4, FULL)
    assert waits.done(act, disk_reason) == "done"
    assert act.calls == 5
    assert said == [
        "No space left on device: study.log; the search waits up to 30 min, and looks again meanwhile",
        "the search goes on after 3 s",
    ]


def test_what_does_not_pass_is_raised_at_once() -> None:
    waits, clock, said = patience()
    with pytest.raises(PermissionError, match="not yours"):
        waits.done(Flaky(1, PermissionError(errno.EACCES, "not yours")), disk_reason)
    with pytest.raises(ValueError, match="other"):
        waits.done(Flaky(1, ValueError("other")), disk_reason)
    assert (clock.now, said) == (0.0, [])


def test_another_error_ends_the_wait() -> None:
    waits, _, _ = patience()
    errors = iter([FULL, FULL, PermissionError(errno.EACCES, "not yours")])

    def act() -> None:
        raise next(errors)

    with pytest.raises(PermissionError):
        waits.done(act, disk_reason)


def test_patience_has_an_end() -> None:
    waits, clock, _ = patience(minutes=2.0)
    with pytest.raises(OutOfPatienceError, match=r"study\.log, and did not come back within 12[0-9] s"):
        waits.done(Flaky(10_000, FULL), disk_reason)
    assert 120 <= clock.now < 131


def test_nothing_is_waited_for_after_the_time_of_the_search() -> None:
    waits, clock, _ = patience()
    waits.until = clock.now - 1.0
    with pytest.raises(OutOfPatienceError):
        waits.done(Flaky(10, FULL), disk_reason)
    assert clock.now == 0.0


def test_an_interrupt_ends_the_wait_and_the_handler_is_put_back() -> None:
    """Tune's own handler notes Ctrl-C and looks at the note later, which would be after the wait."""
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        waits = Patience(sleep=lambda seconds: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            waits.done(Flaky(10_000, FULL), disk_reason)
        os.kill(os.getpid(), signal.SIGINT)
        assert noted == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)
