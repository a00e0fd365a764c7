"""The checkpoints of a trial: when a worker writes one, and which it takes."""

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest
from worker_run import CONFIG, runner, worker_run

from orchestrator.tuning import preemption, trial_runner
from orchestrator.tuning.preemption import Departure
from orchestrator.tuning.trial_runner import TrialRunner
from results.run.run_folder import RunFolder
from trainables.config.trial_config import decode, flatten
from trainables.data.patches import PatchSet
from trainables.runtime.checkpoint import write_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path) -> RunFolder:
    return worker_run(bright_patches, tmp_path)


def test_a_checkpoint_is_read_and_removed_when_the_trial_ends(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, small_steps: None
) -> None:
    monkeypatch.setattr(trial_runner, "_CHECKPOINT_SECONDS", 0.0)
    first = runner(run)
    for _ in range(4):
        first.step()
    assert (run.trial(0) / "checkpoint.safetensors").exists()
    again = runner(run)
    again.step()
    step = again.step()
    assert [report.epoch for report in step.epochs] == [4]
    while not again.step().is_end:
        pass
    assert not (run.trial(0) / "checkpoint.safetensors").exists()


def test_a_worker_that_is_asked_to_end_keeps_its_epochs_whatever_the_time(
    run: RunFolder, small_steps: None
) -> None:
    trial = runner(run)
    trial.keep_progress()  # it has not even opened its data
    trial.step()
    trial.keep_progress()
    assert not run.checkpoint_file(0).exists()  # no epoch is over, so that there is nothing to keep
    for _ in range(2):
        trial.step()
    trial.keep_progress()
    assert run.checkpoint_file(0).exists()
    assert first_epoch(runner(run)) == 3


def test_a_worker_that_is_asked_to_end_keeps_nothing_of_a_trial_that_was_pruned(
    run: RunFolder, small_steps: None
) -> None:
    trial = runner(run)
    while not trial.step().epochs:
        pass
    run.record_file(0).parent.mkdir(parents=True, exist_ok=True)
    run.record_file(0).write_text("{}")  # by the search, which does not tell the worker
    trial.keep_progress()
    assert not run.checkpoint_file(0).exists()


def test_a_process_that_is_asked_to_end_in_an_epoch_finishes_it_first(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, small_steps: None
) -> None:
    departure = Departure(make_timer=lambda seconds, act: SimpleNamespace(start=lambda: None))
    monkeypatch.setattr(preemption, "DEPARTURE", departure)
    trial = runner(run)
    trial.step()
    departure.is_asked = True  # as by a signal while it trains
    trial.step()
    assert run.checkpoint_file(0).exists()
    assert first_epoch(runner(run)) == 2


@pytest.fixture
def checkpointed(run: RunFolder, monkeypatch: pytest.MonkeyPatch, small_steps: None) -> Path:
    """The checkpoint of a trial that was killed after its third epoch."""
    monkeypatch.setattr(trial_runner, "_CHECKPOINT_SECONDS", 0.0)
    first = runner(run)
    for _ in range(4):
        first.step()
    return run.checkpoint_file(0)


def first_epoch(trial: TrialRunner) -> int:
    trial.step()
    return trial.step().epochs[0].epoch


def test_a_checkpoint_of_another_configuration_is_not_taken(run: RunFolder, checkpointed: Path) -> None:
    other = decode({**flatten(CONFIG.model_dump()), "optimizer.lr": 0.02})
    assert first_epoch(runner(run, other)) == 1


def test_a_damaged_checkpoint_starts_the_trial_anew(run: RunFolder, checkpointed: Path) -> None:
    checkpointed.write_bytes(b"hello")
    trial = runner(run)
    assert first_epoch(trial) == 1
    assert checkpointed.with_name("checkpoint.safetensors.damaged").exists()
    while not trial.step().is_end:
        pass
    record = run.record(0)
    assert record is not None
    assert record.state == "complete"


def test_a_checkpoint_that_does_not_fit_starts_the_trial_anew(run: RunFolder, checkpointed: Path) -> None:
    key = runner(run)
    key.step()
    write_checkpoint(checkpointed, {"epochs_done": 3}, key=key._key)
    assert first_epoch(runner(run)) == 1


def test_a_checkpoint_that_finds_no_room_does_not_end_the_trial(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, small_steps: None
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trial_runner, "_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(RunFolder, "write_checkpoint", full)
    trial = runner(run)
    trial.step()
    assert [report.epoch for report in trial.step().epochs] == [1]
