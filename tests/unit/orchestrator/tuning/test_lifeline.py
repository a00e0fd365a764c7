"""Watching Ray's control process, with a function in its place and a clock that the test moves."""

import functools
import socket
import threading

import pytest

from cluster.control_service import probe
from orchestrator.tuning import lifeline
from orchestrator.tuning.lifeline import Lifeline, watched

ADDRESS = "127.0.0.1:6379"


class Watched:
    """A lifeline that is looked at every five seconds."""

    def __init__(self, overdue_at: float | None = None) -> None:
        self.now, self.is_alive = 0.0, True
        self.said, self.ended = list[str](), list[int]()
        self.line = Lifeline(
            ADDRESS,
            self.said.append,
            "orchestrate resume x",
            self.ended.append,
            overdue_at,
            answers=lambda address: self.is_alive and address == ADDRESS,
            clock=lambda: self.now,
        )

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds / 5)):
            self.now += 5.0
            self.line.look()


def test_a_control_process_that_answers_is_not_spoken_of() -> None:
    found = Watched()
    found.wait(3600)
    assert (found.said, found.ended) == ([], [])


def test_one_that_is_gone_is_spoken_of_with_the_way_to_go_on_and_the_program_ends_minutes_later() -> None:
    found = Watched()
    found.is_alive = False
    found.wait(100)
    (message,) = found.said
    assert message.startswith(f"Ray's control process at {ADDRESS} does not answer.")
    assert message.endswith("go on with: orchestrate resume x")
    assert found.ended == []
    found.wait(600)
    assert found.ended == [lifeline.LOST]
    assert found.said[1:] == [
        f"Ray's control process at {ADDRESS} has not answered for minutes. What has ended is kept; go on "
        "with: orchestrate resume x"
    ]


def test_one_that_comes_back_in_time_is_forgiven() -> None:
    found = Watched()
    for _ in range(10):
        found.is_alive = False
        found.wait(150)
        found.is_alive = True
        found.wait(5)
    assert found.ended == []


def test_a_search_that_outlives_its_time_is_ended_though_ray_answers() -> None:
    found = Watched(overdue_at=100.0)
    found.wait(155)
    assert found.ended == []
    found.wait(20)
    assert found.ended == [lifeline.LOST]
    assert "the time of the search is up, but Ray does not end it" in found.said[0]


def test_what_takes_connections_and_answers_nothing_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifeline, "probe", functools.partial(probe, timeout_seconds=0.2))
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not lifeline.answers(f"127.0.0.1:{server.getsockname()[1]}")


def test_the_thread_looks_as_long_as_the_search_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifeline, "_LOOK_SECONDS", 0.001)
    looked, found = threading.Event(), Watched()
    found.line.answers = lambda address: looked.set() or True
    with watched(found.line):
        assert looked.wait(10.0)
    assert not any(thread.name == "lifeline" for thread in threading.enumerate())
