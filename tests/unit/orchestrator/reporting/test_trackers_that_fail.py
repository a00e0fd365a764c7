"""A tool that does not answer holds up neither the search nor its end; one that fails is asked no more."""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from reported_run import make_reported_run

from orchestrator import SearchResult
from orchestrator.reporting import tracking
from orchestrator.reporting.tracker import Scalars, TrackedSearch, Tracker, set_limits
from orchestrator.reporting.tracking import TrackingCallback
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.errors import MachineError


class Tool(TrackedSearch):
    """A tool that is slow, or fails."""

    def __init__(self, *, fails_with: Exception | None = None) -> None:
        self.fails_with, self.answers = fails_with, threading.Event()
        self.asked: list[str] = []

    def opened(self, run: RunFolder, record: SearchRecord) -> TrackedSearch:
        self._do("open")
        return self

    def log_trial(self, record: TrialRecord, curves: Mapping[int, Scalars], scores: Scalars) -> None:
        self._do(f"trial {record.number}")

    def end(self, scores: Scalars, files: list[Path], *, is_interrupted: bool) -> None:
        self._do("end")

    def _do(self, what: str) -> None:
        self.asked.append(what)
        self.answers.wait()
        if self.fails_with is not None:
            raise self.fails_with


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_reported_run(tmp_path, trials=2, with_ensembles=False)


@pytest.fixture
def tool() -> Iterator[Tool]:
    found = Tool()
    yield found
    found.answers.set()


def callback_of(tool: Tool) -> TrackingCallback:
    return TrackingCallback(Tracker("tool", "os", "tool", tool.opened))


def test_a_tool_that_does_not_answer_holds_up_neither_the_search_nor_its_end(
    run: RunFolder, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "_INTERRUPTED_SECONDS", 0.05)
    callback, begun = callback_of(tool), time.monotonic()
    callback.on_search_start(run, run.search())
    for record in run.records():
        callback.on_epoch_end(record.number, 1, 2, 0.5, {"auc": 0.5})
        callback.on_trial_end(record)
    with pytest.raises(MachineError, match=r"tool did not take the rest of the log within 0 s.*network"):
        callback.on_search_end(SearchResult(run, is_interrupted=True))
    assert time.monotonic() - begun < 10.0
    tool.answers.set()
    time.sleep(0.05)
    assert tool.asked == ["open"]  # what had not begun was dropped


def test_a_tool_that_fails_is_said_once_and_asked_no_more(run: RunFolder, tool: Tool) -> None:
    tool.fails_with = OSError("no route to host\nat length")
    tool.answers.set()
    callback = callback_of(tool)
    callback.on_search_start(run, run.search())
    callback._pool.finish(10.0)
    first, *others = run.records()
    with pytest.raises(
        MachineError, match=r"^nothing more is logged to tool, which failed: no route to host; look at its"
    ):
        callback.on_trial_end(first)
    for record in others:
        callback.on_epoch_end(record.number, 1, 2, 0.5, {})
        callback.on_trial_end(record)
    callback.on_search_end(SearchResult(run, is_interrupted=False))
    assert tool.asked == ["open"]


def test_a_tool_that_fails_last_is_said_at_the_end(run: RunFolder, tool: Tool) -> None:
    tool.answers.set()
    callback = callback_of(tool)
    callback.on_search_start(run, run.search())
    callback._pool.finish(10.0)
    tool.fails_with = OSError("gone")
    with pytest.raises(MachineError, match="which failed: gone"):
        callback.on_search_end(SearchResult(run, is_interrupted=False))
    assert tool.asked == ["open", "end"]


def test_a_tool_that_is_slow_gets_the_whole_log_in_order(run: RunFolder, tool: Tool) -> None:
    callback = callback_of(tool)
    callback.on_search_start(run, run.search())
    for record in run.records():
        callback.on_trial_end(record)
    threading.Timer(0.05, tool.answers.set).start()
    callback.on_search_end(SearchResult(run, is_interrupted=False))
    assert tool.asked == ["open", *(f"trial {record.number}" for record in run.records()), "end"]


def test_limits_of_a_client_are_set_unless_the_user_has_set_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    set_limits({"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4"})
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "4"
