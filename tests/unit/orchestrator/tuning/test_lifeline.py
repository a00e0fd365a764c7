"""Watching Ray's control process, with a socket in its place."""

import socket
import time

import pytest

from orchestrator.tuning import lifeline
from orchestrator.tuning.lifeline import watched


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifeline, "_LOOK_SECONDS", 0.02)


def test_a_control_process_that_answers_is_not_spoken_of() -> None:
    said: list[str] = []
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        watched(f"127.0.0.1:{server.getsockname()[1]}", said.append, "orchestrate resume x"),
    ):
        time.sleep(0.3)
    assert said == []


def test_one_that_is_gone_is_spoken_of_once_with_the_way_to_go_on() -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with watched(address, said.append, "orchestrate resume x"):
        end = time.monotonic() + 10.0
        while not said and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.2)
    (message,) = said
    assert message.startswith(f"Ray's control process at {address} does not answer.")
    assert message.endswith("go on with: orchestrate resume x")
