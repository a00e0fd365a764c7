"""The last trial of a search trains its folds on idle workers, too, with real Ray on two CPUs."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from list_study import ListStudy
from worker_run import worker_run

from cluster.connect import connect, disconnect
from orchestrator.callbacks import Callback
from orchestrator.tuning import idle_workers, ray_followed, ray_worker, shared_state
from orchestrator.tuning.ray_backend import Resources, run_trials
from orchestrator.tuning.trial_manager import TrialManager, TrialSpec
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

HELPED = "trial 0 trains its folds on 1 idle worker, too"
CONFIG = decode(
    {
        "model.backbone": "scratch4",
        "model.weights": "random",
        "model.trained_stages": "all",
        "model.head.hidden": [8],
        "training.epochs": 150,
        "training.patience": None,
        "training.average_views": False,
        "optimizer.name": "sgd",
        "optimizer.lr": 0.001,
    }
)


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    connection = connect("local", cpus=2)
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(ray_worker)  # workers then look as often as this process says
    yield
    cloudpickle.unregister_pickle_by_value(ray_worker)
    disconnect(connection)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_worker, "CLUSTER_SECONDS", 0.2)
    monkeypatch.setattr(ray_worker, "_SHORT_SECONDS", 0.0)
    monkeypatch.setattr(ray_followed, "CLUSTER_SECONDS", 0.2)
    monkeypatch.setattr(ray_followed, "LONG_SECONDS", 0.1)
    monkeypatch.setattr(idle_workers, "LONG_SECONDS", 0.1)
    monkeypatch.setattr(shared_state, "EPOCH_SECONDS", 0.0)


def searched(run: RunFolder, said: list[str], *callbacks: Callback, slots: int = 2) -> TrialRecord:
    """Run the one trial; returns its record."""
    manager = TrialManager(
        run,
        run.search(),
        ListStudy(TrialSpec(0, CONFIG, {})),
        callbacks,
        deadline=None,
        clock=time.monotonic,
        say=said.append,
    )
    run_trials(manager, run, Resources(1.0, 0.0, slots))
    (record,) = run.records()
    assert record.state == "complete", record.error
    return record


def test_a_trial_that_is_alone_gives_folds_to_the_idle_worker_and_ends_as_without_it(
    bright_patches: PatchSet, tmp_path: Path
) -> None:
    said: list[str] = []
    shared = searched(worker_run(bright_patches, tmp_path), said)
    assert said == [HELPED]
    shutil.copytree(tmp_path / "store", tmp_path / "alone" / "store")
    alone = searched(worker_run(bright_patches, tmp_path / "alone"), said, slots=1)
    assert said == [HELPED]
    assert (shared.value, shared.best_epoch) == (alone.value, alone.best_epoch)
    assert shared.losses == pytest.approx(alone.losses, abs=1e-6)


class KillsHelper(Callback):
    """Kills the worker that helps, once folds were handed to it, and notes why the trial is run again."""

    def __init__(self, said: list[str]) -> None:
        self.said, self.killed, self.reasons = said, list[int](), list[str]()

    def on_epoch_end(self, number: int, epoch: int, *rest: Any) -> None:
        if self.killed or HELPED not in self.said:
            return
        for process in psutil.process_iter(["cmdline"]):
            if any("ray::FoldWorker" in part for part in process.info["cmdline"] or ()):
                process.kill()
                self.killed.append(process.pid)

    def on_trial_requeued(self, number: int, reason: str) -> None:
        self.reasons.append(reason)


def test_where_the_idle_worker_dies_the_trial_is_run_again_and_ends(
    bright_patches: PatchSet, tmp_path: Path
) -> None:
    said: list[str] = []
    kills = KillsHelper(said)
    searched(worker_run(bright_patches, tmp_path), said, kills)
    assert len(kills.killed) == 1
    assert kills.reasons == [
        "a worker that trained folds of it failed; it goes on without such workers, from its last checkpoint"
    ]
