"""What a search was asked for besides its trials: repeats, a nested search, and their copy elsewhere."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from simulated_run import make_run
from simulated_trials import simulate

from orchestrator import SearchResult, StopSearch
from orchestrator.api import search
from orchestrator.api.displays import Display
from orchestrator.callbacks import Callback, EndedSearch
from orchestrator.cli.closing import close_search
from orchestrator.tuning.session import SearchOutcome
from results.run.run_folder import RunFolder
from trainables.common.errors import INTERRUPTED


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished search that asked for two repeats and three outer folds."""
    made = make_run(tmp_path, simulate(trials=2))
    made.write_search(made.search().with_options(repeats=2, outer=3, trials=2))
    return made


class Called:
    """Takes the place of what repeats or nests; remembers how it was called."""

    def __init__(self, result: object) -> None:
        self.result = result
        self.options: list[dict[str, Any]] = []

    def __call__(self, run: RunFolder, **options: Any) -> object:
        self.options.append(options)
        return self.result


class Ended(Callback):
    """Counts how often it is told that a search has ended."""

    def __init__(self) -> None:
        self.count = 0

    def on_search_end(self, result: EndedSearch) -> None:
        self.count += 1
        raise StopSearch


def replaced(monkeypatch: pytest.MonkeyPatch, repeats: object, nested: object) -> tuple[Called, Called]:
    repeat, nest = Called(repeats), Called(nested)
    monkeypatch.setattr(search, "repeat_search", repeat)
    monkeypatch.setattr(search, "nest_search", nest)
    return repeat, nest


def followed(run: RunFolder, *copies: Callback) -> SearchResult:
    return search._nested(SearchResult(run, is_interrupted=False), Display(), None, copies=copies)


def test_a_search_is_repeated_and_nested_when_it_has_ended(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeat, nest = replaced(monkeypatch, object(), object())
    assert followed(run).unfinished == ()
    assert repeat.options[0]["replaces"]  # a search that has had more trials has other finalists
    assert nest.options[0]["outer"] == 3


def test_who_interrupts_the_repeats_gets_no_nested_search(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, nest = replaced(monkeypatch, None, object())
    result = followed(run)
    assert nest.options == []
    assert result.unfinished == ("repeat", "nest")
    assert close_search(result, Console(stderr=True, width=200), finish=False) == INTERRUPTED
    said = capsys.readouterr().err
    assert [line.split()[:3] for line in said.splitlines() if "orchestrate" in line] == [
        ["next:", "orchestrate", "repeat"],
        ["next:", "orchestrate", "nest"],
    ]


def test_an_interrupted_nested_search_is_told_although_an_earlier_result_is_there(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(monkeypatch, object(), None)
    result = followed(run)
    assert result.unfinished == ("nest",)
    monkeypatch.setattr("orchestrator.cli.closing.readable_outer", lambda run: None)
    assert close_search(result, Console(quiet=True), finish=False) == INTERRUPTED


def test_what_follows_a_search_is_copied_too_and_the_user_s_callbacks_hear_of_its_end_once(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def repeated(folder: RunFolder, **_: Any) -> object:
        folder.repeats_file.write_text("{}")
        return object()

    monkeypatch.setattr(search, "repeat_search", repeated)
    monkeypatch.setattr(search, "nest_search", Called(object()))
    outcome = SearchOutcome(run, run.search(), tuple(run.records()), is_interrupted=False)
    monkeypatch.setattr(search.session, "run_search", lambda *_, **__: outcome)
    there, ended = tmp_path / "there", Ended()
    result = search.run_search(
        "benign_malignant", runs=tmp_path / "runs", repeats=2, results=there.as_uri(), callbacks=[ended]
    )
    assert result.unfinished == ()
    assert (there / "benign_malignant" / "first" / "repeats.json").read_text() == "{}"
    assert ended.count == 1


def test_a_resumed_search_says_the_user_s_code_again_to_what_follows(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeat, nest = replaced(monkeypatch, object(), object())
    outcome = SearchOutcome(run, run.search(), tuple(run.records()), is_interrupted=False)
    monkeypatch.setattr(search.session, "resume_search", lambda *_, **__: outcome)
    search.resume_search(run, space="mine:space", sampler="mine:sampler", retry=["nan"], minutes=1.0)
    for options in (repeat.options[0]["options"], nest.options[0]["options"]):
        assert (options.space, options.sampler, options.pruner) == ("mine:space", "mine:sampler", None)
        assert "nan" not in options.retry
