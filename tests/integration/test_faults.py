"""Faults of the machine while real Ray runs trials that do not train: hung workers, full disks and so on."""

import errno
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ray.tune.experiment import Trial

from cluster.connect import connect, disconnect
from orchestrator.callbacks import Callback
from orchestrator.study.trial_spec import TrialFailure, TrialSpec
from orchestrator.tuning import ray_backend, watchdog
from orchestrator.tuning.ray_backend import Resources, run_trials
from orchestrator.tuning.trial_manager import TrialManager
from orchestrator.tuning.worker_report import WorkerReport
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.errors import MachineError
from trainables.common.progress import worked
from trainables.config.trial_config import TrialConfig, decode, flatten
from trainables.features.feature_use import FeatureUse

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

CONFIG = decode({"model.backbone": "efficientnet_lite0"})


class Study:
    """Hands out a number of equal trials."""

    def __init__(self, trials: int) -> None:
        self.left, self.told = list(range(trials)), list[TrialRecord]()

    def ask(self) -> TrialSpec | None:
        return TrialSpec(self.left.pop(0), CONFIG, {}) if self.left else None

    def should_prune(self, number: int, epoch: int, value: float, fold_values: Sequence[float] = ()) -> bool:
        return False

    def tell(self, record: TrialRecord) -> None:
        self.told.append(record)


class Runner:
    """Ends its trial in two steps; what it meets before the second is up to the test."""

    def __init__(self, run: RunFolder, number: int, config: TrialConfig, params: Any, **options: Any) -> None:
        self.run, self.number, self.config, self.is_opened = run, number, config, False

    def step(self) -> WorkerReport:
        if not self.is_opened:
            self.is_opened = True
            return WorkerReport(opened=FeatureUse("stored views", None, 1, 0, 0))
        self.meet()
        self.run.add_record(
            TrialRecord(
                number=self.number,
                state="complete",
                value=0.5,
                config=flatten(self.config.model_dump(mode="json")),
                fingerprint="f" * 64,
                seed=0,
                finished_at="2026-01-01T00:00:00Z",
            )
        )
        return WorkerReport(is_end=True)

    def meet(self) -> None:
        """Meet nothing."""


class HangsOnce(Runner):
    """Stops its own process the first time, so that it says nothing more."""

    def meet(self) -> None:
        mark = self.run.path / f"hung-{self.number}"
        if self.number == 1 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGSTOP)


class WorksForLong(Runner):
    """Works for three quarters of a minute in one step, as an epoch or the filling of the store does."""

    def meet(self) -> None:
        for _ in range(112):
            worked()
            time.sleep(0.4)


class LocksUpOnce(Runner):
    """Waits for what never comes the first time, with its process alive."""

    def meet(self) -> None:
        mark = self.run.path / "locked"
        if not mark.exists():
            mark.touch()
            time.sleep(600)


class StartsLate(Runner):
    """Its trials are short, and the second process that runs any takes four seconds to start."""

    is_started = False

    def __init__(self, run: RunFolder, *given: Any, **options: Any) -> None:
        super().__init__(run, *given, **options)
        if not StartsLate.is_started:  # once in each process
            StartsLate.is_started = True
            try:
                (run.path / "first").touch(exist_ok=False)
            except FileExistsError:
                time.sleep(4.0)

    def meet(self) -> None:
        time.sleep(0.1)
        (self.run.path / f"process-{os.getpid()}").touch()


class FindsNoSplit(Runner):
    """Fails before its first epoch, as every trial would."""

    def step(self) -> WorkerReport:
        return WorkerReport(is_end=True, failure=TrialFailure("environment", "no split at split.json"))


class FindsNoRoom(Runner):
    """Cannot write its results."""

    def step(self) -> WorkerReport:
        failure = TrialFailure("environment", "No space left on device", is_disk_full=True)
        return WorkerReport(is_end=True, failure=failure)


class DiesOnce(Runner):
    """Ends its own process the first time that it has one of the trials."""

    def meet(self) -> None:
        mark = self.run.path / f"died-{self.number}"
        if self.number == 13 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class CountsTrials(Callback):
    """Counts the trials that Tune keeps, at the end of some."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    def on_trial_end(self, record: TrialRecord) -> None:
        if record.number % 8 == 7:
            gc.collect()
            self.kept.append(sum(type(one) is Trial for one in gc.get_objects()))


class Broken:
    """A callback whose disk is full."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        def fail(*arguments: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        return fail


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    connection = connect("local", cpus=2)
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this module
    yield
    disconnect(connection)
    assert connection.session_folder
    assert not Path(connection.session_folder).exists()


Begin = Callable[..., TrialManager]


@pytest.fixture
def begin(tmp_path: Path, make_search: Callable[..., SearchRecord]) -> Begin:
    def make(trials: int, callbacks: tuple[Any, ...] = (), said: list[str] | None = None) -> TrialManager:
        run = RunFolder(tmp_path / "run")
        run.write_search(make_search())
        say = (lambda message: None) if said is None else said.append
        study = Study(trials)
        return TrialManager(run, run.search(), study, callbacks, deadline=None, clock=time.monotonic, say=say)

    return make


def test_a_worker_that_hangs_is_named_and_ended_and_its_trial_is_run_again(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_TRAINING_SECONDS", 3.0)
    monkeypatch.setattr(watchdog, "_GRACE_SECONDS", 0.0)
    said: list[str] = []
    manager = begin(3, said=said)
    manager.watchdog.trial_minutes = 0.0
    run_trials(manager, manager.run, Resources(1.0, 0.0, 2), make_runner=HangsOnce)
    records = manager.run.records()
    assert [record.state for record in records] == ["complete"] * 3, records[0].error
    assert any("trial 1 has said nothing for" in message and "is ended" in message for message in said)


def test_a_worker_that_works_without_a_report_is_heard_and_left_alone(begin: Begin) -> None:
    said: list[str] = []
    manager = begin(1, said=said)
    manager.watchdog.stall_minutes = 0.5
    run_trials(manager, manager.run, Resources(1.0, 0.0, 1), make_runner=WorksForLong)
    assert [record.state for record in manager.run.records()] == ["complete"]
    assert said == []


def test_a_worker_that_lives_and_does_not_work_is_ended_and_its_trial_is_run_again(begin: Begin) -> None:
    said: list[str] = []
    manager = begin(1, said=said)
    manager.watchdog.stall_minutes = 0.5
    run_trials(manager, manager.run, Resources(1.0, 0.0, 1), make_runner=LocksUpOnce)
    assert [record.state for record in manager.run.records()] == ["complete"]
    assert any("its worker is ended" in message for message in said)


def test_a_worker_that_starts_late_gets_trials_though_the_others_are_quick(begin: Begin) -> None:
    manager = begin(100)
    run_trials(manager, manager.run, Resources(1.0, 0.0, 2), make_runner=StartsLate)
    assert len(manager.run.records()) == 100
    assert len([*manager.run.path.glob("process-*")]) == 2


def test_tune_keeps_no_trial_that_has_ended_and_the_search_ends_all_the_same(begin: Begin) -> None:
    seen = CountsTrials()
    manager = begin(32, (seen,))
    run_trials(manager, manager.run, Resources(1.0, 0.0, 2), make_runner=DiesOnce)
    assert [record.state for record in manager.run.records()] == ["complete"] * 32
    assert [*manager.run.path.glob("died-*")] == [manager.run.path / "died-13"]
    assert len(seen.kept) == 4
    assert max(seen.kept) <= 6  # two run, the next wait, and those that ended in this step


class HangsForEver(Runner):
    """Stops its own process."""

    def meet(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


def test_the_time_limit_of_a_search_holds_though_no_worker_answers(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_backend, "GRACE_SECONDS", 5.0)
    manager = begin(1)
    manager.deadline = manager.clock() + 15.0
    begun = time.monotonic()
    run_trials(manager, manager.run, Resources(1.0, 0.0, 1), make_runner=HangsForEver)
    assert time.monotonic() - begun < 120.0
    (record,) = manager.run.records()
    assert (record.state, record.cause) == ("pruned", "time_budget")


def test_a_fault_that_all_trials_would_meet_stops_the_search(begin: Begin) -> None:
    manager = begin(20)
    with pytest.raises(MachineError, match=r"3 trials in a row could not run.*no split.*orchestrate resume"):
        run_trials(manager, manager.run, Resources(1.0, 0.0, 1), make_runner=FindsNoSplit)
    causes = [record.cause for record in manager.run.records()]
    assert causes == ["environment"] * 3


def test_a_full_disk_stops_the_search_and_is_no_outcome_of_a_trial(begin: Begin) -> None:
    manager = begin(20)
    with pytest.raises(MachineError, match=r"no trial can keep its results: 6 times in a row: No space left"):
        run_trials(manager, manager.run, Resources(1.0, 0.0, 1), make_runner=FindsNoRoom)
    assert manager.run.records() == []


def test_a_record_that_cannot_be_written_stops_the_search_with_one_sentence(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = begin(20)
    manager.patience.minutes = 0.0

    def full(record: TrialRecord) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(manager.study, "tell", full)
    with pytest.raises(MachineError, match=r"had to stop: .*No space left on device.*orchestrate resume"):
        run_trials(manager, manager.run, Resources(1.0, 0.0, 1), make_runner=Runner)
    assert [record.state for record in manager.run.records()] == ["complete"]


def test_a_callback_that_fails_never_ends_the_search(begin: Begin) -> None:
    said: list[str] = []
    manager = begin(2, callbacks=(Broken(),), said=said)
    run_trials(manager, manager.run, Resources(1.0, 0.0, 2), make_runner=Runner)
    assert [record.state for record in manager.run.records()] == ["complete"] * 2
    assert said == ["Broken failed, and the search goes on: [Errno 28] No space left on device"]
