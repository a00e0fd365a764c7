"""What a worker does that is asked to end: finish its epoch, write a checkpoint, and go."""

import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from orchestrator.tuning.preemption import GRACE_SECONDS, Departure


class Timer:
    """A timer that goes off when it is told to."""

    def __init__(self, seconds: float, act: Callable[[], None]) -> None:
        self.seconds, self.act, self.daemon = seconds, act, False

    def start(self) -> None:
        TIMERS.append(self)


TIMERS: list[Timer] = []


class Trial:
    """Notes in which order it worked and kept its progress."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def keep_progress(self) -> None:
        self.said.append("kept")


@pytest.fixture
def killed() -> list[str]:
    return []


@pytest.fixture
def departure(killed: list[str]) -> Iterator[Departure]:
    """A departure in a process whose own handler of SIGTERM ends it as Ray's does."""

    def end(number: int, frame: FrameType | None) -> Any:
        raise SystemExit("The process receives a SIGTERM.")

    TIMERS.clear()
    before = signal.signal(signal.SIGTERM, end)
    one = Departure(kill=lambda: killed.append("killed"), make_timer=Timer)
    one.listen()
    yield one
    signal.signal(signal.SIGTERM, before)


def test_a_worker_that_opens_its_data_ends_at_once(departure: Departure) -> None:
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)


def test_an_epoch_is_finished_and_kept_before_the_worker_ends(departure: Departure) -> None:
    trial = Trial()

    def epoch() -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        trial.said.append("trained")
        return False

    with pytest.raises(SystemExit):
        departure.finish(trial, epoch)
    assert trial.said == ["trained", "kept"]


def test_a_trial_that_waits_for_an_answer_is_kept(departure: Departure) -> None:
    trial = Trial()
    assert departure.finish(trial, lambda: False) is False
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)
    assert trial.said == ["kept"]


def test_a_worker_ends_even_if_its_progress_cannot_be_kept(departure: Departure) -> None:
    class Lost(Trial):
        def keep_progress(self) -> None:
            raise RuntimeError("a worker that trained folds is gone")

    departure.finish(Lost(), lambda: False)
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)


def test_who_is_asked_to_end_says_so_at_once_and_for_each_trial_after_that(departure: Departure) -> None:
    said = list[str]()
    departure.say = lambda: said.append("asked")
    departure.begun()
    assert said == []

    def last_epoch() -> bool:
        departure.ask()
        return True

    departure.finish(Trial(), last_epoch)
    assert said == ["asked"]
    departure.begun()  # another trial, before the process has ended
    assert said == ["asked", "asked"]


def test_a_board_that_does_not_answer_keeps_nobody(departure: Departure) -> None:
    def fail() -> None:
        raise ConnectionError("the control process is away")

    departure.say = fail
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_board_that_hangs_leaves_the_process_its_end(departure: Departure) -> None:
    found = list[float]()
    departure.say = lambda: found.extend(timer.seconds for timer in TIMERS)
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)
    assert found == [GRACE_SECONDS]


def test_an_epoch_that_lasts_too_long_is_given_up(departure: Departure, killed: list[str]) -> None:
    def epoch() -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        (timer,) = TIMERS
        assert (timer.seconds, timer.daemon) == (GRACE_SECONDS, True)
        timer.act()
        return True

    departure.finish(Trial(), epoch)
    assert killed == ["killed"]


def test_a_trial_that_has_ended_is_reported_before_its_worker_ends(departure: Departure) -> None:
    trial = Trial()

    def last_epoch() -> bool:
        departure.ask()
        return True

    assert departure.finish(trial, last_epoch) is True
    assert trial.said == []
    assert TIMERS[-1].seconds < GRACE_SECONDS


def test_a_process_that_can_run_nothing_more_ends_after_its_report(
    departure: Departure, killed: list[str]
) -> None:
    said = list[str]()
    departure.say = lambda: said.append("taken away")
    departure.end_after_report()
    assert (said, killed) == ([], [])  # the trial at hand is reported
    departure.begun()  # another trial, before the process has ended
    assert said == ["taken away"]
    (timer,) = TIMERS
    assert 0 < timer.seconds < GRACE_SECONDS
    timer.act()
    assert killed == ["killed"]


def test_the_progress_of_an_earlier_trial_is_not_kept_for_the_next(departure: Departure) -> None:
    trial = Trial()
    departure.finish(trial, lambda: False)
    departure.begun()
    with pytest.raises(SystemExit):
        departure.ask()
    assert trial.said == []


def test_a_process_that_nothing_would_end_in_order_is_left_as_it_is() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        Departure().listen()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
