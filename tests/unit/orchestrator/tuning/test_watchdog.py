"""The watchdog of workers, with a clock that the test moves."""

import pytest
from pydantic import ValidationError

from orchestrator.tuning.heartbeat import BEAT_SECONDS
from orchestrator.tuning.watchdog import Watchdog
from results.run.search_request import SearchRequest


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A watchdog that is asked every ten seconds."""

    def __init__(self, trial_minutes: float = 1.0) -> None:
        self.clock, self.said = Clock(), list[str]()
        self.dog = Watchdog(trial_minutes, self.clock, self.said.append)

    def wait(self, seconds: float, *, is_late: bool = False) -> list[int]:
        found: list[int] = []
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 10.0)
            found += self.dog.hung(is_late=is_late)
        return found


def test_a_worker_that_reports_is_left_alone() -> None:
    watched = Watched()
    watched.dog.started(1)
    for _ in range(20):
        assert watched.wait(500.0) == []
        watched.dog.heard(1)
    assert all("its worker is ended" not in message for message in watched.said)


def test_a_silent_worker_is_doubted_first_and_named_once_after_ten_minutes() -> None:
    watched = Watched()
    watched.dog.started(1)
    watched.dog.heard(1)
    assert watched.wait(590.0) == []
    assert watched.said == ["trial 1 has said nothing for 5 min; its worker may hang"]
    assert watched.wait(600.0) == [1]
    assert watched.said[1:] == ["trial 1 has said nothing for 10 min: its worker is ended"]


@pytest.mark.parametrize(("trial_minutes", "limit"), [(1.0, 600.0), (30.0, 1860.0)])
def test_a_trial_that_may_take_longer_may_be_silent_for_longer(trial_minutes: float, limit: float) -> None:
    assert Watched(trial_minutes).dog.limit(is_opened=True) == limit


def test_long_epochs_give_others_as_much_time() -> None:
    watched = Watched()
    watched.dog.started(1)
    watched.dog.heard(1)
    watched.wait(550.0)
    watched.dog.heard(1)
    assert watched.dog.limit(is_opened=True) == 3 * 550.0


def test_computing_features_takes_as_long_as_it_is_heard_batch_by_batch() -> None:
    watched = Watched()
    watched.dog.started(1)
    for _ in range(100):
        assert watched.wait(300.0) == []
        watched.dog.heard(1, is_opened=False)
    assert watched.said == []
    assert watched.wait(1190.0) == []
    assert watched.wait(20.0) == [1]


def test_the_user_may_say_how_long_no_progress_is_borne_after_the_start_of_a_process() -> None:
    watched = Watched()
    watched.dog.stall_minutes = 0.5
    watched.dog.started(1)
    assert watched.wait(110.0) == []  # it imports
    watched.dog.heard(1)
    assert watched.wait(20.0) == []
    assert watched.wait(20.0) == [1]


def test_nobody_is_doubted_within_the_time_that_a_heartbeat_takes_to_be_heard() -> None:
    watched = Watched()
    watched.dog.stall_minutes = 0.5  # the least that the command takes
    watched.dog.started(1)
    watched.dog.heard(1)
    for _ in range(10):
        assert watched.wait(3.5 * BEAT_SECONDS) == []  # a beat, a look, and a machine that is busy
        watched.dog.heard(1)
    assert watched.said == []
    with pytest.raises(ValidationError, match=r"greater than or equal to 0\.5"):
        SearchRequest(stall_minutes=0.4)


def test_a_machine_that_slept_is_forgiven() -> None:
    watched = Watched()
    watched.dog.started(1)
    watched.dog.heard(1)
    watched.wait(100.0)
    watched.clock.now += 100_000.0
    assert watched.dog.hung(is_late=False) == []
    assert watched.said == []


def test_after_the_time_of_the_search_a_silent_worker_is_named_within_minutes() -> None:
    watched = Watched()
    watched.dog.started(1)
    watched.dog.heard(1)
    assert watched.wait(90.0, is_late=True) == []
    assert watched.said == ["trial 1 has said nothing for 1 min; its worker may hang"]


def test_a_trial_that_has_ended_or_waits_for_room_is_not_watched() -> None:
    watched = Watched()
    watched.dog.heard(2)
    watched.dog.started(1)
    watched.dog.ended(1)
    assert watched.wait(10_000.0) == []
