"""Verbs name damaged weights, and go on with what does not need them."""

from pathlib import Path

import pytest
from simulated_run import make_run
from simulated_trials import simulate

from orchestrator.cli.main import main
from results.run.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path, dict(enumerate(simulate().values())))


def warned(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["leaderboard", str(run.path), "--format", "csv"]) == 0
    return " ".join(capsys.readouterr().err.split())


def test_a_damaged_file_is_named_with_what_to_do(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    run.weights_folder(0).mkdir()
    (run.weights_folder(0) / "0.safetensors").write_bytes(b"hello")
    said = warned(run, capsys)
    assert "folds/0.safetensors is damaged: it ends too early; the score of trial 0 stays" in said
    assert "orchestrate resume" in said


def test_a_copy_of_a_run_without_any_weights_is_not_warned_of(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "damaged" not in warned(run, capsys)


def test_a_leaderboard_that_cannot_be_kept_is_printed_all_the_same(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    run.leaderboard_file.mkdir()  # nothing can be put in its place
    assert "leaderboard.csv could not be written: Is a directory" in warned(run, capsys)
    assert main(["leaderboard", str(run.path), "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 1
