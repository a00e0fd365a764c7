"""A search over machines that share no folder: same records as on one, and none is lost with a machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from machines import Machine, Network, network

from results.run.damage import damaged_trials
from results.run.records import CIRCUMSTANCES, TrialRecord
from results.run.run_folder import RunFolder

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1800)]

ORCHESTRATE = (sys.executable, "-m", "orchestrator.cli.main")
OPTIONS = (
    *("--data", "patches.npz", "--offline", "--folds", "3", "--seed", "3", "--cpus-per-trial", "1"),
    *("--pruner", "none", "--set", "model.backbone=efficientnet_lite0", "--set", "model.trained_stages=0"),
    *("--set", "input.size_px=64", "--set", "model.cut=top"),
)
# Learns these patches, so that no fold collapses, and trains to the last epoch.
STEADY = tuple(
    part
    for setting in (
        *("optimizer.name=adam", "optimizer.lr=0.01", "optimizer.schedule=constant", "training.patience=20"),
        *("training.sampling=none", "training.class_weight=none", "training.batch_size=16"),
        *(
            "model.head.batch_norm=true",
            "model.head.dropout=0",
            "classical.name=none",
            "model.head.hidden=16",
        ),
    )
    for part in ("--set", setting)
)
# Trains every layer of a small net, long enough for the notice of a machine to come within a trial.
FROM_PIXELS = tuple(
    part
    for setting in (
        *("model.backbone=scratch4", "model.trained_stages=all", "training.patience=20"),
        *("training.average_views=false", "classical.name=none", "training.batch_size=16"),
        *("optimizer.name=adam", "optimizer.lr=0.003", "optimizer.schedule=constant"),
    )
    for part in ("--set", setting)
)
TRIALS = 6
WAIT_SECONDS = 600.0
# Of a killed machine a worker may be missed first; one that does not answer is missed as a whole.
LOSSES = ("its worker died; it is run again", "its worker was taken away; it goes on elsewhere")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder of the first machine: 48 patches of 24 patients; malignant ones hold a bright spot."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.tile([0, 1], 12), 2)
    images = random.integers(0, 20_000, (48, 48, 48)).astype(np.uint16)
    images[labels == 1, 16:32, 16:32] += 12_000
    patients = np.array([f"p{index // 2:02d}" for index in range(48)])
    np.savez(tmp_path / "patches.npz", images=images, labels=labels, patient=patients)
    return tmp_path


@pytest.fixture
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that machines see unless it is hidden from them."""
    return tmp_path_factory.mktemp("common")


@pytest.fixture
def machines(work: Path) -> Iterator[Network]:
    """A head without CPUs for trials, and two machines with one CPU each that do not see its folder."""
    with network([work]) as found:
        head, *others = (found.add(name) for name in ("head", "one", "two"))
        found.start_ray(head, cpus=0)
        found.start_ray(*others, cpus=1)
        yield found


@dataclass
class Search:
    """A search that runs on a machine, and the file that holds what it says."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def said(self) -> str:
        return self.output.read_text()

    def ended(self) -> str:
        """Wait until it has ended well; returns what it said."""
        try:
            code = self.process.wait(WAIT_SECONDS)
        finally:
            self.process.kill()
        assert code == 0, self.said
        return self.said

    def interrupt(self) -> None:
        """End it as Ctrl-C does, and wait until it has ended."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGINT)  # nsenter hands no signal on
        assert self.process.wait(WAIT_SECONDS) == 130, self.said

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait for something while it runs."""
        end = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.3)


def begun(machine: Machine, work: Path, name: str, *options: str) -> Search:
    """Start a search on a machine."""
    words = ("search", "benign_malignant", "--name", name, *OPTIONS, *options)
    output = work / f"{name}.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            machine.command(*ORCHESTRATE, *words, folder=work),
            env=machine.environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    return Search(process, output)


def run_of(work: Path, name: str) -> RunFolder:
    return RunFolder(work / "runs" / "benign_malignant" / name)


def facts(record: TrialRecord) -> dict[str, object]:
    return record.model_dump(exclude=set(CIRCUMSTANCES))


@pytest.mark.parametrize("settings", [STEADY, FROM_PIXELS], ids=["heads of a frozen net", "all from pixels"])
def test_the_same_search_on_one_machine_and_on_three_gives_the_same_records_though_its_worker_has_to_move(
    machines: Network, work: Path, settings: tuple[str, ...]
) -> None:
    head, *others = machines.machines.values()
    options = ("--workers", "1", "--trials", str(TRIALS), "--epochs", "20", *settings)
    begun(head, work, "alone", "--address", "local", *options).ended()
    search = begun(head, work, "spread", "--address", f"{head.address}:6379", *options)
    alone, spread = run_of(work, "alone"), run_of(work, "spread")
    search.wait_for(lambda: len(spread.records()) >= 1)
    (left,) = [machine for machine in others if _has_own(machine, machines, "store/data")]
    left.run(sys.executable, "-m", "cluster.leave")
    assert len(spread.records()) < TRIALS
    said = search.ended()
    assert "3 machines with 2 CPUs" in said
    assert len(alone.records()) == TRIALS
    for one, other in zip(alone.records(), spread.records(), strict=True):
        assert one.state == "complete", one.error
        assert facts(one) == facts(other)
        here, there = alone.out_of_fold(one.number), spread.out_of_fold(one.number)
        assert np.array_equal(here.probabilities, there.probabilities)
        for fold in range(3):
            weights = [run.weights_folder(one.number) / f"{fold}.safetensors" for run in (alone, spread)]
            assert weights[0].read_bytes() == weights[1].read_bytes()
    hidden = sorted(path.name for path in spread.path.iterdir() if path.name.startswith("."))
    assert hidden == [".lock"]
    copies = [machine.run("ls", f"{machines.folder}/own/store/data", may_fail=True) for machine in others]
    assert all(spread.search().fingerprint in copy for copy in copies), said
    assert all(
        f"ls: cannot access '{work}/runs'" in machine.run("ls", str(work / "runs"), may_fail=True)
        for machine in others
    )


@pytest.mark.parametrize("fault", ["unplugged", "killed", "stopped"])
def test_the_trial_of_a_machine_that_is_lost_is_run_again_and_one_that_joins_late_gets_work(
    machines: Network, work: Path, fault: str
) -> None:
    head, one = machines.machines["head"], machines.machines["one"]
    options = ("--address", f"{head.address}:6379", "--workers", "2", "--trials", "1000", "--epochs", "20")
    search, run = begun(head, work, "lossy", *options, *STEADY), run_of(work, "lossy")
    search.wait_for(lambda: _has_own(one, machines, "store/prefix") and len(run.records()) >= 1)
    lose = {"unplugged": lambda: machines.unplug("one"), "killed": one.kill, "stopped": one.stop}
    lose[fault]()
    late = machines.add("late")
    machines.start_ray(late, cpus=1)
    search.wait_for(lambda: any(loss in search.said for loss in LOSSES))
    search.wait_for(lambda: _has_own(late, machines, "store/prefix"))
    ended = len(run.records())
    search.wait_for(lambda: len(run.records()) >= ended + 2)
    search.interrupt()
    records = run.records()
    assert {record.state for record in records} == {"complete"}, search.said
    lacking = set(range(max(record.number for record in records))) - {record.number for record in records}
    assert len(lacking) <= 2  # those that were running
    assert all(len(run.out_of_fold(record.number).rows) for record in records)
    assert damaged_trials(run) == {}
    if fault == "stopped":
        one.go_on()


def test_a_shared_store_that_is_on_one_machine_only_is_refused_before_the_search_begins(
    machines: Network, work: Path
) -> None:
    head, two = machines.machines["head"], machines.machines["two"]
    shared = work / "shared"
    shared.mkdir()
    two.run("mkdir", str(shared))  # at the same path, and not the same
    options = ("--address", f"{head.address}:6379", "--trials", "1", "--shared-store", str(shared))
    search = begun(head, work, "refused", *options)
    assert search.process.wait(WAIT_SECONDS) == 2, search.said
    said = " ".join(search.said.split())
    assert "but on one (10.77.0.2) it is not there, and on two (10.77.0.3) it is another folder: " in said
    assert not run_of(work, "refused").path.exists()
    assert list(shared.iterdir()) == []


def test_a_machine_that_joins_without_the_shared_store_computes_its_own_features_and_is_named_once(
    machines: Network, work: Path, common: Path
) -> None:
    head = machines.machines["head"]
    options = ("--address", f"{head.address}:6379", "--shared-store", str(common), "--workers", "3")
    options += ("--trials", "1000", "--epochs", "20", *STEADY)
    search, run = begun(head, work, "mixed", *options), run_of(work, "mixed")
    search.wait_for(lambda: len(run.records()) >= 2)
    assert "does not see" not in search.said
    machines.private = [*machines.private, common]
    late = machines.add("late")
    machines.start_ray(late, cpus=1)
    search.wait_for(lambda: "late (10.77.0.4) has joined and does not see" in " ".join(search.said.split()))
    search.wait_for(lambda: _has_own(late, machines, "store/prefix"))
    ended = len(run.records())
    search.wait_for(lambda: len(run.records()) >= ended + 4)
    search.interrupt()
    assert {record.state for record in run.records()} == {"complete"}, search.said
    assert search.said.count("has joined and does not see") == 1
    assert [path.name for path in common.iterdir()] == ["prefix"]  # no mark is left
    computed = [record.prefix.computed for record in run.records() if record.prefix is not None]
    assert sum(count > 0 for count in computed) >= 2  # on the late machine, too


def test_a_machine_that_has_had_no_trial_trains_folds_of_the_last_one(machines: Network, work: Path) -> None:
    head = machines.machines["head"]
    settings = ("model.backbone=scratch4", "model.trained_stages=all", "input.size_px=128")
    settings += ("training.epochs=50", "training.patience=null", "training.average_views=false")
    settings += ("classical.name=none", "training.augmentation=none", "optimizer.name=sgd")
    held = tuple(part for setting in settings for part in ("--set", setting))
    options = ("--address", f"{head.address}:6379", "--workers", "2", "--trials", "1", *held)
    said = begun(head, work, "last", *options).ended()
    assert "trial 0 trains its folds on 1 idle worker, too" in said
    (record,) = run_of(work, "last").records()
    assert (record.state, record.epochs) == ("complete", 50), record.error
    assert len(run_of(work, "last").out_of_fold(0).rows) > 0
    folders = [machines.machines[name] for name in ("one", "two")]
    assert all(_has_own(machine, machines, "runs") for machine in folders)


def _has_own(machine: Machine, machines: Network, name: str) -> bool:
    return "cannot access" not in machine.run("ls", f"{machines.folder}/own/{name}", may_fail=True)
