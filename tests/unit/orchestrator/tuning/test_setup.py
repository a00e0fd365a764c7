from pathlib import Path
from types import SimpleNamespace

import pytest
from split_data import three_folds
from worker_run import worker_run

from cluster.connect import Connection
from orchestrator.tuning import setup
from orchestrator.tuning.reopen import reopen_search
from results.errors import RunError
from results.run.run_folder import RunFolder
from results.run.search_request import SearchRequest
from results.run.versions import package_versions
from search_spaces.enqueue import InitialPoint
from trainables.data.patches import PatchSet


def test_a_search_that_made_the_folder_first_wins_and_the_other_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "first")

    def others(*arguments: object) -> SimpleNamespace:
        run.path.mkdir()
        (run.path / "search.yaml").write_text("theirs")
        return SimpleNamespace(split=None, initial_points=(), space=None)

    monkeypatch.setattr(setup, "check_request", lambda request: run)
    monkeypatch.setattr(setup, "run_preflight", others)
    monkeypatch.setattr(setup, "_search_record", lambda *arguments: None)
    with pytest.raises(
        RunError, match=r"another search has made .*first meanwhile; give this one another --name"
    ):
        # The connector is never called, since the preflight is replaced; so it returns no connection.
        setup.prepare_search(SearchRequest(task="idc"), lambda: None, print)  # type: ignore[arg-type,return-value]
    assert (run.path / "search.yaml").read_text() == "theirs"


@pytest.mark.parametrize("step", ["write_split", "write_initial_points"])
def test_a_search_that_is_killed_while_it_writes_its_folder_leaves_none(
    bright_patches: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class Killed(BaseException):
        """As SIGKILL: nothing is tidied up that a process does by itself."""

    def kill(*arguments: object) -> None:
        raise Killed

    made = worker_run(bright_patches, tmp_path)
    record, run = made.search(), RunFolder(tmp_path / "runs" / "second")
    monkeypatch.setattr(setup, step, kill)
    with pytest.raises(Killed):
        setup._write_files(run, record, three_folds(bright_patches), [])
    assert not run.path.exists()


def test_a_search_that_is_killed_before_its_study_is_there_can_be_resumed(
    bright_patches: PatchSet, tmp_path: Path
) -> None:
    made = worker_run(bright_patches, tmp_path, versions=package_versions())
    record, run = made.search(), RunFolder(tmp_path / "runs" / "second")
    point = InitialPoint("ours", {"model.backbone": "efficientnet_lite0", "training.epochs": 3})
    setup._write_files(run, record, three_folds(bright_patches), [point])
    assert not run.study_file.exists()
    prepared = reopen_search(run, lambda: Connection("x:1", True, 2.0, 0.0, 1, ""), lambda said: None)
    first = prepared.study.ask()
    assert first is not None
    assert (first.number, first.recipe) == (0, "ours")


def test_a_folder_that_is_made_at_the_last_moment_is_left_alone(
    bright_patches: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = worker_run(bright_patches, tmp_path)
    record, run = made.search(), RunFolder(tmp_path / "runs" / "second")

    def others(*arguments: object) -> None:
        run.path.mkdir()
        (run.path / "search.yaml").write_text("theirs")

    monkeypatch.setattr(setup, "write_initial_points", others)
    with pytest.raises(RunError, match="another search has made"):
        setup._write_files(run, record, three_folds(bright_patches), [])
    assert [path.name for path in run.path.iterdir()] == ["search.yaml"]
    assert sorted(path.name for path in run.path.parent.iterdir()) == ["first", "second"]
