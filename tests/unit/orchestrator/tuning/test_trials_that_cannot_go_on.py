"""The worker of a trial where its machine, its disk or a process of it fails."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from worker_run import runner, worker_run

from orchestrator.preflight import run_data
from orchestrator.study.trial_spec import TrialFailure
from orchestrator.tuning import trial_runner
from results.run.run_folder import RunFolder
from trainables.data.patches import PatchSet
from trainables.validation.fold_process import LostProcessError

pytestmark = pytest.mark.slow


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path) -> RunFolder:
    return worker_run(bright_patches, tmp_path)


def no_split(run: RunFolder) -> None:
    run.split_file.unlink()


def no_data(run: RunFolder) -> None:
    shutil.rmtree(Path(run.search().store) / "data")


def no_search(run: RunFolder) -> None:
    run.search_file.unlink()


def other_weights(run: RunFolder) -> None:
    search = run.search()
    run.write_search(search.model_copy(update={"weights": {"efficientnet_lite0": "0" * 64}}))


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (no_split, "no split at"),
        (no_data, "no stored patch set"),
        (no_search, "No such file"),
        (other_weights, "is not the file that the search was started with"),
    ],
)
def test_what_is_missing_outside_a_trial_is_no_record_of_it(
    run: RunFolder, break_it: Callable[[RunFolder], None], reason: str
) -> None:
    run_data._training_data.cache_clear()
    run_data._runtime.cache_clear()
    break_it(run)
    step = runner(run).step()
    assert step.is_end
    assert step.failure is not None
    assert (step.failure.cause, step.failure.is_disk_full) == ("environment", False)
    assert reason in step.failure.reason
    assert not run.record_file(0).exists()


def test_a_killed_fork_server_is_a_lost_worker(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, small_steps: None
) -> None:
    def lose() -> None:
        raise LostProcessError("the fork server was killed")

    trial = runner(run)
    trial.step()
    monkeypatch.setattr(trial.validation, "epoch", lose)
    step = trial.step()
    assert step.failure is not None
    assert (step.is_end, step.failure.cause) == (True, "lost_worker")
    assert not run.record_file(0).exists()


def waiting_up_to(run: RunFolder, minutes: float) -> None:
    run.write_search(run.search().with_options(wait_minutes=minutes))


@pytest.mark.parametrize("place", ["write_out_of_fold", "add_record"])
def test_results_of_a_trial_wait_in_memory_for_room_on_the_disk(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, small_steps: None, place: str
) -> None:
    write, full_for = getattr(RunFolder, place), [3]

    def full_at_first(*arguments: object) -> None:
        if full_for[0]:
            full_for[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*arguments)

    monkeypatch.setattr(RunFolder, place, full_at_first)
    monkeypatch.setattr(trial_runner, "_ROOM_SECONDS", 0.0)
    trial, steps = runner(run), []
    while not (steps and steps[-1].is_end):
        steps.append(trial.step())
    assert [step.waits_for for step in steps if step.waits_for] == ["[Errno 28] No space left on device"] * 3
    assert [report.epoch for step in steps for report in step.epochs] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]  # none is repeated
    assert steps[-1].failure is None
    record = run.record(0)
    assert record is not None
    assert (record.state, record.epochs) == ("complete", 6)


@pytest.mark.parametrize("place", ["write_out_of_fold", "add_record"])
def test_results_that_find_no_room_in_time_are_reported_and_not_recorded(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    waiting_up_to(run, 0.0)
    monkeypatch.setattr(RunFolder, place, full)
    trial = runner(run)
    step = trial.step()
    while not step.is_end:
        step = trial.step()
    assert step.failure is not None
    assert step.failure.is_disk_full
    assert not run.record_file(0).exists()


def test_a_worker_that_was_given_up_does_not_replace_what_another_wrote(
    run: RunFolder, small_steps: None
) -> None:
    late, other = runner(run), runner(run)
    late.step()
    while not other.step().is_end:
        pass
    before = {path.name: path.read_bytes() for path in run.trial(0).iterdir() if path.is_file()}
    while not late.step().is_end:
        pass
    assert {path.name: path.read_bytes() for path in run.trial(0).iterdir() if path.is_file()} == before


def test_a_gpu_that_has_failed_is_a_fault_of_the_machine_and_ends_the_process(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, small_steps: None
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore of it")

    trial = runner(run)
    trial.step()
    monkeypatch.setattr(trial.validation, "epoch", fail)
    monkeypatch.setattr(trial, "peak", SimpleNamespace(use=fail))  # nor does it answer this
    monkeypatch.setattr(trial_runner, "has_failed", lambda device: True)
    report = trial.step()
    assert (report.is_end, report.memory) == (True, None)
    assert report.failure == TrialFailure(
        "environment",
        "the GPU does nothing more for this process: CUDA error: an illegal memory access was encountered",
        ends_worker=True,
    )
    assert not run.has_record(0)  # it is run again, in another process
