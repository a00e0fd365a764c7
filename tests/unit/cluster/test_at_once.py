"""Machines are asked at once, and their answers come in order."""

import threading

import pytest

from cluster.at_once import MACHINES_AT_ONCE, on_all_machines
from cluster.errors import RemoteError


def test_as_many_machines_as_may_be_are_asked_at_once_and_answer_in_order() -> None:
    all_asked = threading.Barrier(MACHINES_AT_ONCE, timeout=30.0)

    def ask(number: int) -> str:
        all_asked.wait()  # none answers before all are asked
        return f"answer {number}"

    numbers = range(MACHINES_AT_ONCE)
    assert on_all_machines(ask, numbers) == [f"answer {number}" for number in numbers]


def test_no_machine_has_no_answer_and_a_failure_is_raised() -> None:
    def fail(host: str) -> None:
        raise RemoteError(f"{host} is off")

    assert on_all_machines(fail, ()) == []
    with pytest.raises(RemoteError, match="one is off"):
        on_all_machines(fail, ["one", "two"])
