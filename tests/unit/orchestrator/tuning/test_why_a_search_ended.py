"""A search with fewer trials than were asked for says why: the space, a shared study, or the time."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_run import make_run
from simulated_trials import simulate

from orchestrator import SearchResult, open_run
from orchestrator.cli import closing
from orchestrator.cli.stop import _what_is_left
from orchestrator.reporting.search_status import SearchStatus, state_text, status_of
from orchestrator.tuning.session_trials import note_end
from orchestrator.tuning.setup import Prepared
from results.run.records import Ending, Termination
from results.run.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Two of four trials have ended; the search was to take a minute."""
    made = make_run(tmp_path, simulate(trials=2))
    made.write_search(made.search().with_options(trials=4, minutes=1.0))
    return made


def ended(run: RunFolder, **study: Any) -> Ending | None:
    """Why a search has ended, by what its study says."""
    known = {"left": 2, "is_exhausted": False, "shared": None} | study
    stand_in: Any = SimpleNamespace(**known)
    prepared = Prepared(run, run.search(), stand_in, 1)
    note_end(prepared, print)
    return run.search().ended


@pytest.mark.parametrize(
    ("study", "expected"),
    [
        ({"is_exhausted": True}, "exhausted"),
        ({"left": 0, "shared": object()}, "study"),
        ({}, "time"),
        ({"left": 0}, None),
    ],
)
def test_it_is_kept_why_a_search_ended(run: RunFolder, study: dict[str, Any], expected: str | None) -> None:
    assert ended(run, **study) == expected


def test_a_search_that_has_all_its_trials_or_was_terminated_needs_no_reason(run: RunFolder) -> None:
    run.write_search(run.search().with_options(trials=2).model_copy(update={"ended": "time"}))
    assert ended(run, left=0) is None
    verdict = Termination(trials=2, gain=0.0, noise=0.1)
    run.write_search(run.search().with_options(trials=4).model_copy(update={"terminated": verdict}))
    assert ended(run) is None


def test_a_reason_that_cannot_be_written_ends_no_search(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_search", full)
    assert ended(run) is None
    assert "why the search ended could not be written: " in capsys.readouterr().out


def test_a_space_that_holds_no_more_is_not_resumed_and_its_trials_are_not_left(run: RunFolder) -> None:
    assert open_run(run).is_interrupted
    assert state_text(status(run)) == "ended early"
    assert "go on: orchestrate resume" in _what_is_left("first", run.path)
    assert "2 trials of 4 not run in the time" in closing._left(result_of(run))  # as in earlier versions
    assert ended(run, is_exhausted=True) == "exhausted"
    assert not open_run(run).is_interrupted
    assert "interrupted" not in repr(open_run(run))
    assert state_text(status(run)) == "ended"
    assert _what_is_left("first", run.path) == "first has ended; 2 of 4 trials are kept; no other is left"
    assert closing._left(result_of(run)) == ""


def test_trials_of_a_study_that_others_have_run_are_not_left(run: RunFolder) -> None:
    assert ended(run, left=0, shared=object()) == "study"
    assert not open_run(run).is_interrupted
    assert closing._left(result_of(run)) == ""
    assert state_text(status(run)) == "ended"


def test_trials_that_the_time_has_left_out_are_left_whatever_the_search_s_own_time(run: RunFolder) -> None:
    run.write_search(run.search().with_options(minutes=None))  # `resume --minutes 1`
    assert ended(run) == "time"
    assert "2 trials of 4 not run in the time; orchestrate resume" in closing._left(result_of(run))
    assert not open_run(run).is_interrupted
    assert state_text(status(run)) == "ended early"
    run.write_search(run.search().model_copy(update={"driver": "abc"}))
    assert "before all 4 trials of the study had begun" in closing._left(result_of(run))


def test_a_machine_with_an_earlier_version_does_not_say_whether_there_is_more(run: RunFolder) -> None:
    ended(run, is_exhausted=True)
    said = status(run).as_json()
    assert SearchStatus.of_json(said).has_no_more
    del said["has_no_more"]
    assert not SearchStatus.of_json(said).has_no_more


def result_of(run: RunFolder) -> SearchResult:
    return SearchResult(run, is_interrupted=False)


def status(run: RunFolder) -> SearchStatus:
    return status_of(run, holders={})
