"""A search that may use so much memory, with real Ray: Ray's figures, and how many trials run at once."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from list_study import ListStudy
from test_search import orchestrate, run_of, search, write_patches

from benchmarks.scale_worker import Epoch, Report, write_complete
from cluster.connect import connect, disconnect
from cluster.own_ray import bytes_for_trials, store_bytes
from orchestrator.study.trial_spec import TrialSpec
from orchestrator.tuning.ray_backend import Resources, run_trials
from orchestrator.tuning.trial_manager import TrialManager
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from trainables.config.trial_config import TrialConfig, decode

pytestmark = pytest.mark.timeout(480)

LONGEST_SECONDS = 100.0
BUDGET = 6_000_000_000
CONFIG = decode({"model.backbone": "efficientnet_lite0", "model.trained_stages": 0})
HEAVY = decode({"model.backbone": "efficientnet_lite0", "model.trained_stages": "all"})


@dataclass(frozen=True)
class Taken:
    """Memory of a trial as a worker reports it."""

    peak_bytes: int
    total_bytes: int
    worker_bytes: int


class Takes:
    """A trial of a second that says what memory its worker takes: a head little, a net more than half.

    The first two wait for each other, however long their workers take to start.
    """

    def __init__(self, run: RunFolder, number: int, config: TrialConfig, params: Any, **given: Any) -> None:
        self.run, self.number, self.config, self.began = run, number, config, time.time()

    def step(self) -> Report:
        (self.run.path / f"begun-{self.number}").touch()
        end = time.monotonic() + LONGEST_SECONDS
        while self.number < 2 and time.monotonic() < end:
            if len(list(self.run.path.glob("begun-[01]"))) == 2:
                break
            time.sleep(0.1)
        time.sleep(1.0)
        with (self.run.path / "times").open("a") as file:
            file.write(f"{self.number} {self.began} {time.time()}\n")
        write_complete(self.run, self.number, self.config, {}, 1.0)
        worker = 3_000_000_000 if self.config == HEAVY else 1_000_000_000
        report = Report(epochs=(Epoch(1, 0.5, {}, is_last=True),), is_end=True)
        object.__setattr__(report, "memory", Taken(1, 10**12, worker))
        return report

    def keep_progress(self) -> None:
        """Keep nothing."""


def most_at_once(run: RunFolder, first: int) -> int:
    """Largest number of trials that ran at the same time, of those from a number on."""
    spans = [
        (float(began), float(ended))
        for number, began, ended in (line.split() for line in (run.path / "times").read_text().splitlines())
        if int(number) >= first
    ]
    return max(sum(began <= at < ended for began, ended in spans) for at, _ in spans)


def run_each_second(
    folder: Path, make_search: Callable[..., SearchRecord], configs: list[TrialConfig]
) -> RunFolder:
    connection = connect("local", cpus=2, memory_bytes=BUDGET)
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this module
    try:
        (machine,) = connection.machines
        assert machine.memory_bytes == bytes_for_trials(BUDGET)
        run, study = RunFolder(folder), ListStudy(*(TrialSpec(i, own, {}) for i, own in enumerate(configs)))
        record = make_search(store=str(folder / "store"))
        run.write_search(record)
        manager = TrialManager(run, record, study, (), deadline=None, clock=time.time, say=print)
        resources = Resources(1.0, 0.0, 2, machines=connection.machines, bounds_memory=True)
        run_trials(manager, run, resources, make_runner=Takes, ends_process=False)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
        disconnect(connection)
    return run


@pytest.mark.slow
def test_ray_runs_as_many_trials_at_once_as_were_measured_to_fit(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    run = run_each_second(tmp_path, make_search, [CONFIG] * 4 + [HEAVY] * 6)
    assert sorted(record.number for record in run.records()) == list(range(10))
    assert most_at_once(run, 0) == 2  # heads fit
    assert most_at_once(run, 7) == 1  # two of 3 GB do not fit into 6 GB beside driver and Ray


@pytest.mark.long
def test_a_search_says_what_ray_gives_out_runs_no_more_at_once_and_resumes_with_it(tmp_path: Path) -> None:
    write_patches(tmp_path)
    done = orchestrate(tmp_path, *search(tmp_path, "small", "--trials", "2", "--memory-gb", "3"))
    trials = bytes_for_trials(3_000_000_000)
    assert f"no GPU and {trials / 1e9:.0f} GB of memory" in " ".join(done.stderr.split())
    assert "2 trials, 1 at once" in " ".join(done.stderr.split())
    run = run_of(tmp_path, "small")
    assert run.search().request.memory_gb == 3.0
    resumed = orchestrate(tmp_path, "resume", "small", "--trials", "3", "--address", "local")
    assert "1 at once" in " ".join(resumed.stderr.split())
    assert run.search().request.memory_gb == 3.0
    assert [record.number for record in run.records()] == [0, 1, 2]


def test_too_little_memory_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    refused = orchestrate(tmp_path, *search(tmp_path, "none", "--memory-gb", "2.9"), code=2)
    assert "--memory-gb must be at least 3" in " ".join(refused.stderr.split())
    assert not (tmp_path / "runs").exists()


def test_the_object_store_is_part_of_it() -> None:
    assert bytes_for_trials(BUDGET) + store_bytes(BUDGET) < BUDGET
