"""A search whose runs, store or data lie elsewhere now goes on there, and makes no folder where they were."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worker_run import worker_run

from cluster.connect import Connection
from orchestrator.tuning.reopen import ResumeOptions, reopen_search
from results.run.run_folder import RunFolder
from trainables.common.errors import DataError
from trainables.data.patches import PatchSet
from trainables.data.prepared.on_the_way import load_data


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path) -> RunFolder:
    """A search below `lab/runs` that has read `lab/data.npz` into the store of that folder of runs."""
    lab = tmp_path / "lab"
    made = worker_run(bright_patches, tmp_path, trials=1, runs=lab / "runs")
    run = RunFolder(lab / "runs" / "benign_malignant" / "first")
    run.path.parent.mkdir(parents=True)
    made.path.rename(run.path)
    np.savez(
        lab / "data.npz",
        images=bright_patches.images,
        labels=bright_patches.labels,
        patient=bright_patches.patients,
    )
    search = run.search()
    stored, _ = load_data(
        str(lab / "data.npz"), task=search.task_definition, label_codes="task", store=lab / "runs/.store"
    )
    split = run.split_file.read_text().replace(search.fingerprint, stored.fingerprint)
    run.split_file.write_text(split)
    asked = search.request.model_copy(
        update={"data": str(lab / "data.npz"), "store": None, "label_codes": "task"}
    )
    changes: dict[str, Any] = {"store": str(lab / "runs/.store"), "fingerprint": stored.fingerprint}
    run.write_search(search.model_copy(update={"request": asked, "label_codes": "task", **changes}))
    return run


def connect() -> Connection:
    return Connection("x:1", True, 2.0, 0.0, 1, "")


def moved(run: RunFolder, place: Path) -> RunFolder:
    (run.path.parents[2]).rename(place)
    return RunFolder(place / "runs" / "benign_malignant" / "first")


def test_a_store_that_was_moved_with_its_runs_is_found(run: RunFolder, tmp_path: Path) -> None:
    there = moved(run, tmp_path / "other")
    assert there.search().store == str(tmp_path / "other/runs/.store")
    assert len(there.patch_set().images) == 48
    reopen_search(there, connect, lambda message: None)
    assert not (tmp_path / "lab").exists()


def test_a_store_that_is_where_it_was_stays_the_store(run: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "x/y/first")
    assert RunFolder(tmp_path / "x/y/first").search().store == str(tmp_path / "lab/runs/.store")


def test_without_a_store_the_data_are_read_from_where_they_lie_now(run: RunFolder, tmp_path: Path) -> None:
    shutil.rmtree(run.path.parents[1] / ".store")
    there, said = moved(run, tmp_path / "other"), list[str]()
    with pytest.raises(DataError, match=r"data.npz is not here, .* resume .*first --data PATH"):
        reopen_search(there, connect, said.append)
    data = str(tmp_path / "other/data.npz")
    reopen_search(there, connect, said.append, ResumeOptions(data=data))
    assert f"the data of this search are {data} from now on" in said
    record = there.search()
    assert (record.request.data, record.store) == (data, str(tmp_path / "other/runs/.store"))
    assert not (tmp_path / "lab").exists()


def test_data_that_are_not_there_are_refused_also_where_nothing_needs_them(run: RunFolder) -> None:
    before = run.search_file.read_text()
    with pytest.raises(DataError, match="--data /nowhere is not there"):
        reopen_search(run, connect, lambda message: None, ResumeOptions(data="/nowhere"))
    assert run.search_file.read_text() == before


def test_a_store_that_was_moved_by_itself_is_used_where_it_is_said_to_lie(
    run: RunFolder, tmp_path: Path
) -> None:
    there, said = moved(run, tmp_path / "other"), list[str]()
    (tmp_path / "other/runs/.store").rename(tmp_path / "scratch")
    (tmp_path / "other/data.npz").unlink()
    with pytest.raises(DataError, match="or where that store is: --store PATH"):
        reopen_search(there, connect, said.append)
    reopen_search(there, connect, said.append, ResumeOptions(store=tmp_path / "scratch"))
    assert f"the store of this search is {tmp_path / 'scratch'} from now on" in said
    record = there.search()
    assert (record.request.store, record.store) == (tmp_path / "scratch", str(tmp_path / "scratch"))
    assert len(there.patch_set().images) == 48
    assert not (tmp_path / "lab").exists()


def test_data_that_are_others_are_refused(run: RunFolder, tmp_path: Path) -> None:
    with np.load(run.path.parents[2] / "data.npz") as kept:
        np.savez(tmp_path / "less.npz", **{name: kept[name][2:] for name in kept})
    shutil.rmtree(run.path.parents[1] / ".store")
    before = run.search_file.read_text()
    with pytest.raises(DataError, match="is not what this search was started on"):
        reopen_search(run, connect, lambda message: None, ResumeOptions(data=str(tmp_path / "less.npz")))
    assert run.search_file.read_text() == before
