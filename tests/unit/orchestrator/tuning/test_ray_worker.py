"""The worker of Tune without Ray: which run it works on, and what it reports."""

import errno
import socket
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from worker_run import worker_run

from orchestrator.study.trial_spec import TrialFailure
from orchestrator.tuning import node_copy, ray_run, ray_worker
from orchestrator.tuning.depot import Depot
from orchestrator.tuning.ray_features import RayLender
from orchestrator.tuning.ray_worker import Worker
from orchestrator.tuning.resource_request import ResourceRequest
from orchestrator.tuning.run_copy import RunCopy
from orchestrator.tuning.worker_report import WorkerReport
from results.run.run_folder import RunFolder
from trainables.common.errors import MachineError
from trainables.common.remarks import remark_once
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet
from trainables.features.feature_use import FeatureUse
from trainables.validation.epoch_selection import EpochReport

CONFIG = decode({"model.backbone": "efficientnet_lite0"})


class Runner:
    """Keeps a checkpoint in its first step and ends with the second; knows whose recipe its trial is."""

    def __init__(self, run: Any, number: int, *rest: Any, **options: Any) -> None:
        self.run, self.number, self.steps, self.recipe = run, number, 0, options["recipe"]

    def step(self) -> WorkerReport:
        self.steps += 1
        if self.steps == 1:
            self.run.write_checkpoint(self.number, b"state")
        return WorkerReport(is_end=self.steps == 2)


class Opens(Runner):
    """Has opened stored features in its first step, where they could be stored; keeps whom it may ask."""

    note = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lender = options["lender"]

    def step(self) -> WorkerReport:
        use = FeatureUse("stored views", "top", 8, 8, 8, note=self.note)
        return replace(super().step(), opened=use if self.steps == 1 else None)


class NoBoard:
    """A board of heartbeats that nobody reads."""

    def put(self, number: int, count: int) -> None:
        """Keep nothing."""


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path) -> RunFolder:
    return worker_run(bright_patches, tmp_path)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATE_NODE_FOLDER", str(tmp_path / "own"))
    monkeypatch.setattr(node_copy, "store_here", lambda search, own: own / "store")
    for module in (ray_worker, ray_run):
        monkeypatch.setattr(module, "this_node", lambda: "here")
    monkeypatch.setattr(ray_worker, "_LOOK_SECONDS", 0.0)
    # Else Ray would start all of itself for the name of a job.
    monkeypatch.setattr(ray_worker, "KeyValueBoard", NoBoard)


def worker(
    run: RunFolder, *, node: str = "there", number: int = 0, runner: type[Runner] = Runner, **also: Any
) -> Worker:
    made = object.__new__(type("Own", (Worker,), {"make_runner": staticmethod(runner)}))
    made.setup(config(run, node=node, number=number) | also)
    return made


def config(run: RunFolder, *, node: str = "there", number: int = 0) -> dict[str, Any]:
    return {
        "run": str(run.path),
        "mark": "m",
        "node": node,
        "number": number,
        "config": CONFIG.model_dump(),
        "params": {},
        "recipe": "ours",
        "compared_at": (),
        "request": ResourceRequest(1.0, 0.0),
        "time_left": None,
        "report_seconds": 0.0,
        "lends": False,
        "lenders": (),
    }


def test_on_the_machine_of_the_run_folder_a_worker_uses_it(run: RunFolder, elsewhere: None) -> None:
    own = worker(run, node="here")
    assert "parcel" not in own.step()
    assert isinstance(own.runner, Runner)
    assert own.runner.recipe == "ours"
    assert run.checkpoint_file(0).read_bytes() == b"state"


class FindsFull(Runner):
    """Fails, since a disk is full."""

    def step(self) -> WorkerReport:
        return WorkerReport(is_end=True, failure=TrialFailure("environment", "No space", is_disk_full=True))


@pytest.mark.parametrize("has_room", [True, False])
def test_a_worker_tells_the_disk_of_the_run_folder_from_another_of_its_machine(
    run: RunFolder, elsewhere: None, monkeypatch: pytest.MonkeyPatch, has_room: bool
) -> None:
    def reserve(folder: Path, size_bytes: int) -> None:
        assert folder == run.path
        if not has_room:
            raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr(ray_worker, "reserve", reserve)
    failure = worker(run, node="here", runner=FindsFull).step()["step"].failure
    assert (failure.is_disk_full, failure.is_machine_full) == (not has_room, has_room)
    assert failure.reason == ("No space" + f" (on {socket.gethostname()})" * has_room)


def test_a_full_disk_where_the_run_folder_is_not_seen_is_none_of_that(
    run: RunFolder, elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_run, "find_depot", lambda mark: Depot(run.path))
    own = worker(run, runner=FindsFull)
    own.step()
    failure = own.step()["step"].failure
    assert (failure.is_disk_full, failure.is_machine_full) == (False, True)
    assert failure.reason == f"No space (on {socket.gethostname()})"


def test_a_worker_that_sees_the_mark_of_its_search_uses_the_folder(run: RunFolder, elsewhere: None) -> None:
    run.mark_file("m").touch()
    own = worker(run)
    own.step()
    own.reset_config(config(run, number=1))
    own.step()
    assert run.checkpoint_file(1).read_bytes() == b"state"


def test_any_other_waits_for_the_depot_and_sends_what_its_trials_leave(
    run: RunFolder, elsewhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depots: list[Depot | None] = [None, Depot(run.path), Depot(run.path)]
    monkeypatch.setattr(ray_run, "find_depot", lambda mark: depots.pop(0))
    own = worker(run)
    assert own.step() == {"step": WorkerReport(needs_depot=True), "done": False}
    assert own.step() == {"step": WorkerReport(), "done": False}
    first = own.step()
    assert [(name, content.tobytes()) for name, content in first["parcel"].files] == [
        ("checkpoint.safetensors", b"state")
    ]
    assert own.step() == {"step": WorkerReport(is_end=True), "done": True, "place": "here"}
    own.reset_config(config(run, number=7))
    own.step()
    assert own.step()["parcel"].number == 7
    assert not run.trial(0).exists()
    assert (tmp_path / "own" / "runs" / "m" / "search.yaml").exists()
    own.cleanup()


class Full(Runner):
    """Has no room for its results, and then for itself."""

    def step(self) -> WorkerReport:
        self.steps += 1
        if self.steps == 1:
            return WorkerReport(waits_for="No space left on device")
        failure = TrialFailure("environment", "No space left on device", is_disk_full=True)
        return WorkerReport(is_end=True, failure=failure)


def test_a_disk_that_is_full_on_another_machine_is_none_that_others_wait_for(
    run: RunFolder, elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_run, "find_depot", lambda mark: Depot(run.path))
    monkeypatch.setattr(ray_worker, "_host", lambda: "node7")
    away = worker(run, runner=Full)
    assert away.step()["step"] == WorkerReport()
    with pytest.warns(UserWarning, match="waits for room"):
        waiting = away.step()
    assert waiting["step"] == WorkerReport(waits_for="No space left on device", waits_elsewhere=True)
    assert waiting["remarks"] == (
        "trial 0 has ended and waits for room to keep its results: No space left on device (on node7)",
    )
    found = away.step()["step"].failure
    assert found == TrialFailure("environment", "No space left on device (on node7)", is_machine_full=True)
    away.cleanup()
    beside = worker(run, node="here", runner=Full)
    assert beside.step()["step"] == WorkerReport(waits_for="No space left on device")


def test_a_worker_is_ready_before_it_looks_at_the_run_folder(
    run: RunFolder, elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = list[str]()

    def seen(folder: RunFolder, mark: str) -> bool:
        looked.append(mark)
        return True

    monkeypatch.setattr(ray_run, "sees", seen)
    own = worker(run)  # a worker whose disk does not answer is watched from its first step on
    assert looked == []
    own.step()
    assert looked == ["m"]


def test_a_worker_says_on_which_machine_its_trial_has_trained_or_ended(
    run: RunFolder, elsewhere: None
) -> None:
    class Trains(Runner):
        """Opens, trains an epoch, and ends."""

        def step(self) -> WorkerReport:
            self.steps += 1
            epochs = (EpochReport(1, 0.5, {}, (), is_last=False),) if self.steps == 2 else ()
            return WorkerReport(epochs=epochs, is_end=self.steps == 3)

    own = worker(run, node="here", runner=Trains)
    assert [own.step().get("place") for _ in range(3)] == [None, "here", "here"]


@pytest.mark.parametrize("ends_worker", [True, False])
def test_a_worker_that_can_run_nothing_more_ends_after_its_report(
    run: RunFolder, elsewhere: None, monkeypatch: pytest.MonkeyPatch, ends_worker: bool
) -> None:
    class Fails(Runner):
        """Cannot run on this machine."""

        def step(self) -> WorkerReport:
            failure = TrialFailure("environment", "no use", ends_worker=ends_worker)
            return WorkerReport(is_end=True, failure=failure)

    ended = list[bool]()
    departure = SimpleNamespace(
        listen=lambda: None, begun=lambda: None, end_after_report=lambda: ended.append(True)
    )
    monkeypatch.setattr(ray_worker, "DEPARTURE", departure)
    own = worker(run, node="here", runner=Fails)
    assert ended == []
    assert own.step()["place"] == "here"
    assert ended == [True] * ends_worker


def test_a_machine_that_cannot_be_filled_names_itself(
    run: RunFolder, elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(Depot):
        def invoice(self) -> Any:
            raise MachineError("the machine of the run folder did not answer")

    monkeypatch.setattr(ray_run, "find_depot", lambda mark: Gone(run.path))
    result = worker(run).step()
    failure = result["step"].failure
    assert result["done"]
    assert failure.cause == "environment"
    assert failure.reason == f"the machine of the run folder did not answer (on {socket.gethostname()})"


def test_runners_are_told_the_run_that_their_machine_has(
    run: RunFolder, elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_run, "find_depot", lambda mark: Depot(run.path))
    own = worker(run)
    own.step()
    assert isinstance(own.runner, Runner)
    assert isinstance(own.runner.run, RunCopy)
    assert own.runner.run.local.path != run.path
    own.cleanup()


def test_a_worker_says_on_which_machine_and_in_which_store_its_features_lie(
    run: RunFolder, elsewhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_run, "find_depot", lambda mark: Depot(run.path))
    here, away = (worker(run, node=node, runner=Opens, lends=True) for node in ("here", "there"))
    assert here.step()["holder"] == ("here", str(run.search().store))
    assert "holder" not in here.step()  # once is enough
    assert "holder" not in away.step()  # it fills its machine
    assert away.step()["holder"] == ("here", str(tmp_path / "own" / "store"))


def test_features_that_could_not_be_stored_are_held_by_nobody(run: RunFolder, elsewhere: None) -> None:
    full = type("Full", (Opens,), {"note": "the disk is full"})
    for runner, lends in ((full, True), (Opens, False)):
        assert "holder" not in worker(run, node="here", runner=runner, lends=lends).step()


def test_a_trial_may_ask_those_alone_that_lend_to_it(run: RunFolder, elsewhere: None) -> None:
    lending = worker(run, node="here", runner=Opens, lenders=("features-m-gpu",))
    alone = worker(run, node="here", runner=Opens)
    lending.step()
    alone.step()
    lent, own = lending.runner, alone.runner
    assert isinstance(lent, Opens)
    assert isinstance(own, Opens)
    assert isinstance(lent.lender, RayLender)
    assert own.lender is None


def test_what_a_worker_remarks_on_its_machine_goes_with_its_next_report(
    run: RunFolder, elsewhere: None
) -> None:
    class Remarks(Runner):
        """Remarks twice what its first step finds."""

        def step(self) -> WorkerReport:
            with warnings.catch_warnings(action="ignore"):
                remark_once("the shared store is not there")
            return super().step()

    own = worker(run, node="here", runner=Remarks)
    assert own.step()["remarks"] == (f"the shared store is not there (on {socket.gethostname()})",)
    assert "remarks" not in own.step()
