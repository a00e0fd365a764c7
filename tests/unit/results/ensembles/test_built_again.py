"""Ensembles that have to be built again: with what was asked for, and never of two builds at once."""

import errno
import io
from pathlib import Path

import pytest
from rich.console import Console
from simulated_run import make_run
from simulated_trials import simulate

from orchestrator.api.result import SearchResult
from orchestrator.cli import finish
from orchestrator.cli.common import operation_of
from orchestrator.cli.main import build_parser
from orchestrator.reporting.console import Sections
from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import build_again, read_ensemble
from results.errors import OutdatedEnsembleError
from results.run.run_folder import RunFolder
from results.scores.operating_point import NOTHING_ASKED, Operation


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of four simulated trials."""
    return make_run(tmp_path, simulate())


@pytest.mark.parametrize("methods", [["average"], ["greedy"]])
def test_a_build_that_was_interrupted_is_no_model(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, methods: list[str]
) -> None:
    asked = Operation.of(at="specificity=0.9")
    build_ensembles(run, methods=["average"], seed=0, operation=asked)
    assert read_ensemble(run).operation == asked
    write = RunFolder.write_json

    def full(self: RunFolder, path: Path, value: object) -> None:
        if path.stem == "best":
            raise OSError(errno.ENOSPC, "no space left on device")
        write(self, path, value)

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_json", full)
        with pytest.raises(OSError, match="no space left"):
            build_ensembles(run, methods=methods, seed=0)
    again = r"as after a build that was interrupted; build it again with: .* --at specificity=0\.9$"
    with pytest.raises(OutdatedEnsembleError, match=again):
        read_ensemble(run)
    build_ensembles(run, methods=methods, seed=0)
    assert read_ensemble(run).operation == NOTHING_ASKED


def test_the_options_that_build_the_same_again_can_be_pasted(run: RunFolder) -> None:
    asked = Operation.of(at="sensitivity=0.95", prevalence=0.006, triage="missed=0.02,alarms=0.1")
    built = build_ensembles(run, methods=["average"], seed=0, max_members=2, operation=asked)[0]
    options = built.model_copy(update={"max_ms": 40.0}).build_options
    given = build_parser().parse_args(["ensemble", "latest", *options])
    assert (given.members, given.max_ms, operation_of(given)) == (2, 40.0, asked)
    plain = build_ensembles(run, methods=["average"], seed=0)[0]
    assert plain.build_options == ()
    assert build_again(run) == run.command("ensemble")
    build_ensembles(run, methods=["average"], seed=0, operation=asked)
    wanted = "--at sensitivity=0.95 --prevalence 0.006 --triage missed=0.02,alarms=0.1"
    assert build_again(run) == f"{run.command('ensemble')} {wanted}"


def test_the_end_of_a_search_asks_again_for_what_was_asked_before(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Operation.of(at="sensitivity=0.95", prevalence=0.006)
    build_ensembles(run, methods=["average"], seed=0, max_members=2, operation=asked)
    monkeypatch.setattr(finish, "reason_against_export", lambda run, trials: "this test exports nothing")
    monkeypatch.setattr(RunFolder, "has_sealed_part", False)
    said = io.StringIO()
    finish.finish_run(SearchResult(run), Console(file=said, width=200), Sections("table"))
    assert "as before, with --members 2 --at sensitivity=0.95 --prevalence 0.006" in said.getvalue()
    best = read_ensemble(run)
    assert (best.operation, best.max_members) == (asked, 2)
    assert capsys.readouterr().out
