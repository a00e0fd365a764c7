"""A search whose job is started again: what it goes on with."""

import argparse
from pathlib import Path

import pytest

from orchestrator.cli import requeued
from orchestrator.cli.main import build_parser
from orchestrator.cli.requeued import words_to_go_on
from trainables.common.errors import OrchestrateError

TYPED = ("search", "idc", "--name", "first")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """The command line, in a folder with the run `idc/first`."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs/idc/first"
    folder.mkdir(parents=True)
    (folder / "search.yaml").touch()
    return build_parser()


def test_a_search_without_a_run_folder_begins(root: argparse.ArgumentParser) -> None:
    assert words_to_go_on(("search", "idc"), root) == []
    assert words_to_go_on(("search", "idc", "--name", "second"), root) == []


def test_what_the_run_folder_keeps_is_not_said_again(root: argparse.ArgumentParser) -> None:
    options = ("--trials", "3", "--minutes", "4", "--sampler", "random", "--track", "mlflow")
    assert words_to_go_on((*TYPED, *options), root) == ["resume", "runs/idc/first"]


def test_how_it_prints_and_what_follows_the_trials_stays(root: argparse.ArgumentParser) -> None:
    found = words_to_go_on((*TYPED, "--finish", "-q", "--address", "a b:1", "--format", "csv"), root)
    assert found[:2] == ["resume", "runs/idc/first"]
    again, first = root.parse_args(found), root.parse_args(TYPED)
    assert (again.finish, again.quiet, again.address, again.format) == (True, True, "a b:1", "csv")
    assert (first.finish, first.quiet, first.address, first.format) == (False, False, None, "table")


def test_what_is_not_understood_is_left_to_the_search(
    root: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        words_to_go_on((*TYPED, "--trails", "3"), root)
    with pytest.raises(OrchestrateError):
        words_to_go_on((*TYPED, "--trials", "0"), root)
    capsys.readouterr()
    assert requeued.main([*TYPED, "-q"]) == 0
    assert capsys.readouterr().out == "resume\0runs/idc/first\0--quiet\0"
