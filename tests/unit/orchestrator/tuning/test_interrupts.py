"""Signals during a search: each ends it cleanly, or within seconds if Ray does not answer any more."""

import contextlib
import signal
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.tuning import interrupts
from orchestrator.tuning.interrupts import interruptible


def manager() -> Any:
    said: list[str] = []
    run = SimpleNamespace(resume_command="orchestrate resume x")
    return SimpleNamespace(is_stopping=False, is_over=True, running={}, run=run, said=said, say=said.append)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_stops_the_search_and_the_handlers_before_come_back(number: signal.Signals) -> None:
    before, lead, reached = signal.getsignal(number), manager(), []
    with interruptible(lead):
        signal.raise_signal(number)
        reached.append("the rest")
    assert lead.is_stopping
    assert reached == []
    assert signal.getsignal(number) is before


def test_under_nohup_a_closed_terminal_does_not_stop_the_search() -> None:
    before, lead = signal.signal(signal.SIGHUP, signal.SIG_IGN), manager()
    try:
        with interruptible(lead):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not lead.is_stopping


def test_a_search_of_a_program_that_ray_does_not_end_lets_the_program_live(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes: list[int] = []
    is_said = threading.Event()
    monkeypatch.setattr(interrupts, "CLOSING_SECONDS", 0.05)
    monkeypatch.setattr("os._exit", codes.append)
    lead = manager()
    lead.say = lambda message: (lead.said.append(message), is_said.set())
    with interruptible(lead, ends_process=False):
        with contextlib.suppress(KeyboardInterrupt):  # as Tune does, which then waits for Ray
            signal.raise_signal(signal.SIGINT)
        assert is_said.wait(10.0)
    assert codes == []
    assert lead.said == [
        "interrupted, but Ray does not answer any more; interrupt once more to leave the search"
    ]


def test_a_search_that_ray_does_not_end_ends_itself_and_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes: list[int] = []
    is_ended = threading.Event()

    def end(code: int) -> None:
        codes.append(code)
        is_ended.set()

    monkeypatch.setattr(interrupts, "CLOSING_SECONDS", 0.05)
    monkeypatch.setattr("os._exit", end)
    lead = manager()
    with interruptible(lead):
        with contextlib.suppress(KeyboardInterrupt):  # as Tune does, which then waits for Ray
            signal.raise_signal(signal.SIGTERM)
        assert is_ended.wait(10.0)
    assert codes == [130]
    assert lead.said == [
        "interrupted, but Ray does not answer any more; what has ended is kept. "
        "Go on with: orchestrate resume x"
    ]


def test_a_search_that_ends_in_time_is_not_ended_again(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(interrupts, "CLOSING_SECONDS", 0.2)
    monkeypatch.setattr("os._exit", codes.append)
    with interruptible(manager()):
        signal.raise_signal(signal.SIGTERM)
    threading.Event().wait(0.5)
    assert codes == []


def test_a_search_that_ends_between_two_trials_though_more_would_run_was_interrupted() -> None:
    """Tune takes Ctrl-C by itself and returns as if all were done."""
    lead = manager()
    lead.is_over = False
    with interruptible(lead):
        pass
    assert lead.is_stopping
    over = manager()
    with interruptible(over):
        pass
    assert not over.is_stopping
