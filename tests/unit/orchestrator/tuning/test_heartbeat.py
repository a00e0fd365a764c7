"""Heartbeats, with a dictionary as the board, and the time limit as a worker is told it."""

from collections.abc import Mapping, Sequence

import pytest

from orchestrator.tuning.heartbeat import Ear, Heart
from orchestrator.tuning.time_limit import TimeLeft, deadline_here, time_left


class Board:
    """A board that may be away."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.is_away = False

    def put(self, number: int, count: int) -> None:
        if self.is_away:
            raise ConnectionError("the control process does not answer")
        self.counts[number] = count

    def get(self, numbers: Sequence[int]) -> Mapping[int, int]:
        if self.is_away:
            raise ConnectionError("the control process does not answer")
        return {number: own for number, own in self.counts.items() if number in numbers}


class Worker:
    """A worker that works when the test says so."""

    def __init__(self, board: Board, number: int) -> None:
        self.count = 0
        self.heart = Heart(board, lambda: self.count, seconds=3600.0)
        self.heart.beats_for(number)

    def works(self) -> None:
        self.count += 1
        self.heart.look()

    def hangs(self) -> None:
        self.heart.look()


def test_a_worker_that_works_is_heard_and_one_that_hangs_is_not() -> None:
    board = Board()
    ear, one, other = Ear(board, lambda: [1, 2]), Worker(board, 1), Worker(board, 2)
    one.works()
    other.works()
    ear.look()
    assert ear.heard() == {1, 2}
    one.works()
    other.hangs()
    ear.look()
    assert ear.heard() == {1}
    assert ear.heard() == set()
    one.heart.stop()
    other.heart.stop()


def test_a_trial_that_is_run_again_is_heard_though_its_new_worker_has_done_less() -> None:
    board = Board()
    ear, first = Ear(board, lambda: [1]), Worker(board, 1)
    for _ in range(5):
        first.works()
    ear.look()
    assert ear.heard() == {1}
    second = Worker(board, 1)
    second.works()
    ear.look()
    assert ear.heard() == {1}


def test_where_the_board_is_away_nobody_can_tell_and_a_beat_is_made_up_for_later() -> None:
    board = Board()
    ear, worker = Ear(board, lambda: [1]), Worker(board, 1)
    board.is_away = True
    worker.works()
    ear.look()
    assert (ear.is_deaf, ear.heard()) == (True, set())
    board.is_away = False
    worker.hangs()
    ear.look()
    assert (ear.is_deaf, ear.heard()) == (False, {1})


def test_only_trials_that_run_are_asked_for() -> None:
    asked = list[Sequence[int]]()

    class Asked(Board):
        def get(self, numbers: Sequence[int]) -> Mapping[int, int]:
            asked.append(numbers)
            return super().get(numbers)

    running = list[int]()
    ear = Ear(Asked(), lambda: running)
    ear.look()
    running.append(3)
    ear.look()
    assert asked == [[3]]


@pytest.mark.parametrize(
    ("wall", "expected"),
    [(1000.0, 160.0), (1020.0, 140.0), (1000.0 - 3600.0, 160.0), (1000.0 + 3600.0, 160.0)],
    ids=["at once", "after 20 s", "clock an hour behind", "clock an hour ahead"],
)
def test_a_worker_counts_the_time_that_is_left_on_its_own_clock(wall: float, expected: float) -> None:
    left = time_left(70.0, 10.0, wall_clock=lambda: 1000.0)
    assert left == TimeLeft(60.0, 1000.0)
    assert deadline_here(left, clock=lambda: 100.0, wall_clock=lambda: wall) == expected


def test_without_a_limit_there_is_no_deadline() -> None:
    assert deadline_here(time_left(None, 10.0)) is None
