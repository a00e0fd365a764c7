import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from list_study import complete
from sklearn.metrics import roc_auc_score
from worker_run import worker_run

from orchestrator.preflight import run_data
from orchestrator.preflight.run_validation import epoch_scores
from orchestrator.study.trial_spec import TrialFailure
from orchestrator.tuning import preemption, trial_runner
from orchestrator.tuning.preemption import Departure
from orchestrator.tuning.trial_runner import TrialRunner
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError
from trainables.config.tasks import task_named
from trainables.config.trial_config import TrialConfig, decode, flatten
from trainables.data.patches import PatchSet, select_rows
from trainables.data.split_record import write_split
from trainables.data.splits import make_split
from trainables.runtime.checkpoint import read_fold_weights, write_checkpoint
from trainables.validation.fold_process import LostProcessError

CONFIG = decode(
    {
        "model.backbone": "efficientnet_lite0",
        "input.size_px": 32,
        "model.head.hidden": [8],
        "training.epochs": 6,
        "training.augmentation": "flips",
    }
)


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path) -> RunFolder:
    return worker_run(bright_patches, tmp_path)


def runner(run: RunFolder, config: TrialConfig = CONFIG, **options: float) -> TrialRunner:
    return TrialRunner(run, 0, config, {"x": 1}, gpus=0.0, cpus=1.0, **options)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step trains one epoch; the first only opens."""
    monkeypatch.setattr(trial_runner, "_STEP_SECONDS", 0.0)


class Helpers:
    """Other workers of a trial: none that take folds, but asked between epochs."""

    count = 2

    def __init__(self) -> None:
        self.asked: list[tuple[TrialConfig, int]] = []

    def follow(self, config: TrialConfig, folds: int, spread: Callable[[list[None]], None]) -> None:
        self.asked.append((config, folds))
        spread([])


def test_after_its_first_epoch_a_trial_asks_for_other_workers_before_each(
    run: RunFolder, small_steps: None
) -> None:
    trial, helpers = runner(run), Helpers()
    trial.helpers = helpers
    reports = [trial.step() for _ in range(7)]
    assert reports[-1].is_end
    assert {report.helpers for report in reports} == {2}
    assert helpers.asked == [(CONFIG, 3)] * 5


def test_a_trial_opens_trains_and_leaves_its_record_last(run: RunFolder, small_steps: None) -> None:
    trial = runner(run)
    opened = trial.step()
    assert opened.opened is not None
    assert (opened.epochs, opened.is_end) == ((), False)
    for epoch in range(1, 6):
        step = trial.step()
        assert [report.epoch for report in step.epochs] == [epoch]
        assert run.record(0) is None
    assert trial.step().is_end
    record = run.record(0)
    assert record is not None
    assert (record.state, record.cause, record.epochs, record.params) == ("complete", None, 6, {"x": 1})
    assert record.peak_bytes is not None
    assert record.peak_bytes >= 0
    assert len(read_fold_weights(run.trial(0) / "folds")) == 3
    assert len(run.out_of_fold(0).rows) == 36


def test_a_hold_out_keeps_predictions_of_its_validation_part_alone(
    run: RunFolder, bright_patches: PatchSet, small_steps: None
) -> None:
    task = task_named("benign_malignant")
    rows = select_rows(bright_patches, task)
    split = make_split(
        rows,
        fingerprint=bright_patches.fingerprint,
        task=task.name,
        folds=1,
        test_share=0.25,
        seed=0,
        holdout=0.25,
    )
    write_split(run.split_file, split)
    trial = runner(run)
    while not trial.step().is_end:
        pass
    kept = run.out_of_fold(0)
    assert kept.rows.tolist() == rows.rows[split.folds_of(rows) == 0].tolist()
    assert kept.probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    record = run.record(0)
    assert record is not None
    assert record.state == "complete"
    assert len(record.fold_metrics) == len(read_fold_weights(run.trial(0) / "folds")) == 1
    assert record.value == pytest.approx(roc_auc_score(kept.labels, kept.probabilities[:, 1]))


def test_a_step_trains_until_the_next_comparison(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_runner, "_STEP_SECONDS", 1e9)
    run.write_search(run.search().with_options(epochs=6))
    trial = runner(run, compared_at=(5,))
    steps = [trial.step(), trial.step()]
    assert [[report.epoch for report in step.epochs] for step in steps] == [[1, 2, 3, 4, 5], [6]]
    assert [step.is_end for step in steps] == [False, True]


def test_a_failure_becomes_a_record_and_not_an_exception(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, small_steps: None
) -> None:
    for error, cause in (
        (RuntimeError("broken"), "exception"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory (Cannot allocate memory)"),
            "out_of_memory",
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out_of_memory"),
    ):
        trial = runner(run)
        trial.step()

        def fail(error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(trial.validation, "epoch", fail)
        assert trial.step().is_end
        record = run.record(0)
        assert record is not None
        assert (record.state, record.cause) == ("failed", cause)
        assert record.error
        run.record_file(0).unlink()


def test_a_trial_without_time_ends_with_the_best_epoch_it_has(run: RunFolder, small_steps: None) -> None:
    trial = runner(run)
    trial.step()
    for _ in range(trial_runner.FEWEST_EPOCHS - 1):
        trial.step()
    trial.deadline = 1.0
    assert trial.step().is_end
    record = run.record(0)
    assert record is not None
    assert (record.state, record.cause, record.epochs) == (
        "complete",
        "time_budget",
        trial_runner.FEWEST_EPOCHS,
    )


def test_a_trial_that_hardly_began_when_the_time_was_up_does_not_count(
    run: RunFolder, small_steps: None
) -> None:
    run.write_record(complete(1, 0.8))
    trial = runner(run)
    trial.step()
    trial.deadline = 1.0
    assert trial.step().is_end
    record = run.record(0)
    assert record is not None
    assert (record.state, record.cause, record.epochs) == ("pruned", "time_budget", 1)


def test_a_late_trial_goes_on_to_its_fewest_epochs_where_the_search_has_nothing_else(
    run: RunFolder, small_steps: None
) -> None:
    trial = runner(run, deadline=time.monotonic() - 1.0)
    while not trial.step().is_end:
        pass
    record = run.record(0)
    assert record is not None
    assert (record.state, record.epochs) == ("complete", trial_runner.FEWEST_EPOCHS)


def test_the_only_trial_of_a_search_ends_with_what_it_has_when_it_is_far_too_late(
    run: RunFolder, small_steps: None
) -> None:
    trial = runner(run)
    trial.step()
    trial.deadline = time.monotonic() - trial_runner.LAST_SECONDS
    assert trial.step().is_end
    record = run.record(0)
    assert record is not None
    assert (record.state, record.cause, record.epochs) == ("complete", "time_budget", 1)


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


def test_a_trial_without_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="they are kept for the best trials of a search only"):
        read_fold_weights(tmp_path)


def test_an_epoch_reports_the_metric_of_the_search_too() -> None:
    labels, probabilities = np.array([0, 1]), np.array([[0.8, 0.2], [0.4, 0.6]])
    found = epoch_scores(labels, probabilities, metric="log_loss")
    assert found["log_loss"] == pytest.approx(-np.log([0.8, 0.6]).mean())
    assert "log_loss" not in epoch_scores(labels, probabilities)


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
