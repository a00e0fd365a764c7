import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from records import search_record
from shared_studies import space
from split_data import three_folds
from worker_run import CONTEXT, worker_run

from cluster.background import KnownConnection
from cluster.connect import Connection
from cluster.resources import Machine
from orchestrator.preflight.search_data import make_store
from orchestrator.study.study import OptunaStudy
from orchestrator.tuning import setup
from orchestrator.tuning.reopen import reopen_search
from orchestrator.tuning.setup import in_time
from results.errors import RunError
from results.run.run_folder import RunFolder
from results.run.search_request import SearchRequest
from results.run.versions import package_versions
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import Space
from trainables.common.errors import ConfigError
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
    prepared = reopen_search(
        run, KnownConnection(Connection("x:1", True, 2.0, 0.0, 1, "")), lambda said: None
    )
    first = prepared.study.ask()
    assert first is not None
    assert (first.number, first.recipe) == (0, "ours")


@pytest.mark.parametrize(("asked", "gpus", "is_said"), [(None, 0.25, True), (0.0, 0.0, False)])
def test_a_search_that_began_without_gpus_uses_those_of_the_cluster_it_is_resumed_on(
    bright_patches: PatchSet, tmp_path: Path, asked: float | None, gpus: float, is_said: bool
) -> None:
    made = worker_run(bright_patches, tmp_path, versions=package_versions(), gpus_per_trial=0.0)
    record, run = made.search().with_options(gpus_per_trial=asked), RunFolder(tmp_path / "runs" / "second")
    point = InitialPoint("ours", {"model.backbone": "efficientnet_lite0", "training.epochs": 3})
    setup._write_files(run, record, three_folds(bright_patches), [point])
    said = list[str]()
    machine = Machine(8.0, 2.0, 16 << 30, "b")
    cluster = Connection("x:1", False, 8.0, 2.0, 1, "", machines=(machine,))
    prepared = reopen_search(run, KnownConnection(cluster), said.append)
    assert prepared.slots == 8
    assert run.search().gpus_per_trial == gpus
    assert run.search().shares_gpus_as_measured is is_said
    assert any("trials use from now on" in text for text in said) is is_said


@pytest.mark.parametrize(("trials", "minutes", "asked"), [(None, None, 24), (None, 9.0, None), (7, None, 7)])
def test_another_time_limit_leaves_the_number_of_trials_as_it_is(
    trials: int | None, minutes: float | None, asked: int | None
) -> None:
    record = in_time(search_record(trials=trials, minutes=minutes), 2.0)
    assert (record.request.minutes, record.request.asked_trials) == (2.0, asked)


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


def written(
    folder: Path, patches: PatchSet, name: str, storage: str | None = None, **fields: object
) -> tuple[RunFolder, OptunaStudy]:
    """Write the run folder of a search on patches; with a storage it is one of several on a study."""
    run = RunFolder(folder / "runs" / "benign_malignant" / name)
    shared = {"study_storage": storage, "study": "both", "driver": name} if storage else {}
    record = search_record(
        fingerprint=patches.fingerprint, space_context=CONTEXT, name=name, **(shared | fields)
    )
    own = Space("space", space, ())
    return run, setup.write_run(run, record, three_folds(patches), (), own)


def test_run_folder_and_store_are_closed_to_others(tmp_path: Path, bright_patches: PatchSet) -> None:
    before = os.umask(0o022)
    try:
        run, _ = written(tmp_path, bright_patches, "own")
        store = make_store(SearchRequest(task="idc", runs=tmp_path / "runs"))
        store.chmod(0o750)  # as its owner chose
        assert make_store(SearchRequest(task="idc", runs=tmp_path / "runs")) == store
    finally:
        os.umask(before)
    assert run.path.stat().st_mode & 0o777 == 0o700
    assert store.stat().st_mode & 0o777 == 0o750
    assert store == (tmp_path / "runs" / ".store").resolve()


def test_two_searches_join_one_study_and_a_search_that_differs_is_refused(
    tmp_path: Path, bright_patches: PatchSet
) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    first, one = written(tmp_path, bright_patches, "first", url)
    _, two = written(tmp_path, bright_patches, "second", url, minutes=5.0)
    numbers = [spec.number for spec in (one.ask(), two.ask(), one.ask(), two.ask()) if spec]
    assert numbers == [0, 1, 2, 3]
    assert one.ask() is None
    assert (first.search().study_name, one.left, two.left) == ("benign_malignant/both", 0, 0)
    with pytest.raises(ConfigError, match=r"study benign_malignant/both is of other searches.*seed is 0 th"):
        written(tmp_path, bright_patches, "third", url, seed=7)
    assert not (tmp_path / "runs/benign_malignant/third").exists()
