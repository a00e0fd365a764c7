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

from results.run.records import TrialRecord
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
# What differs from run to run of the same trial, whichever machine it is on.
CHANGING = {"wall_seconds", "finished_at", "peak_bytes", "prefix"}
WAIT_SECONDS = 600.0


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
    return record.model_dump(exclude=CHANGING)


def test_the_same_search_on_one_machine_and_on_three_gives_the_same_records(
    machines: Network, work: Path
) -> None:
    head = machines.machines["head"]
    options = ("--workers", "1", "--trials", "3", "--epochs", "3")
    begun(head, work, "alone", "--address", "local", *options).ended()
    said = begun(head, work, "spread", "--address", f"{head.address}:6379", *options).ended()
    assert "3 machines with 2 CPUs" in said
    alone, spread = run_of(work, "alone"), run_of(work, "spread")
    assert len(alone.records()) == 3
    for one, other in zip(alone.records(), spread.records(), strict=True):
        assert facts(one) == facts(other)
        if one.state == "complete":
            here, there = alone.out_of_fold(one.number), spread.out_of_fold(one.number)
            assert np.array_equal(here.probabilities, there.probabilities)
            for fold in range(3):
                weights = [run.weights_folder(one.number) / f"{fold}.safetensors" for run in (alone, spread)]
                assert weights[0].read_bytes() == weights[1].read_bytes()
    assert any(record.state == "complete" for record in alone.records())
    left = sorted(path.name for path in spread.path.iterdir() if path.name.startswith("."))
    assert left == [".lock"]
    others = [machines.machines[name] for name in ("one", "two")]
    copies = [machine.run("ls", f"{machines.folder}/own/store/data", may_fail=True) for machine in others]
    assert any(spread.search().fingerprint in copy for copy in copies)
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
    search.wait_for(lambda: "its worker died; it is run again" in search.said)
    search.wait_for(lambda: _has_own(late, machines, "store/prefix"))
    ended = len(run.records())
    search.wait_for(lambda: len(run.records()) >= ended + 2)
    search.interrupt()
    records = run.records()
    assert {record.state for record in records} == {"complete"}, search.said
    lacking = set(range(max(record.number for record in records))) - {record.number for record in records}
    assert len(lacking) <= 2  # those that were running
    assert all(len(run.out_of_fold(record.number).rows) for record in records)
    assert run.damage() == {}
    if fault == "stopped":
        one.go_on()


def _has_own(machine: Machine, machines: Network, name: str) -> bool:
    return "cannot access" not in machine.run("ls", f"{machines.folder}/own/{name}", may_fail=True)
