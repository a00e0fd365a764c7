import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from list_study import complete
from sklearn.metrics import roc_auc_score
from worker_run import CONFIG, runner, worker_run

from orchestrator.preflight.run_validation import epoch_scores
from orchestrator.tuning import trial_runner
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError
from trainables.config.tasks import task_named
from trainables.config.trial_config import TrialConfig
from trainables.data.patches import PatchSet, select_rows
from trainables.data.split_record import write_split
from trainables.data.splits import make_split
from trainables.runtime.checkpoint import read_fold_weights

pytestmark = pytest.mark.slow


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path) -> RunFolder:
    return worker_run(bright_patches, tmp_path)


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


def test_the_start_of_a_worker_is_no_time_of_an_epoch(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, small_steps: None
) -> None:
    open_run_data, slow = trial_runner.open_run_data, 1.0

    def opened(*given: Any) -> Any:
        time.sleep(slow)
        return open_run_data(*given)

    monkeypatch.setattr(trial_runner, "open_run_data", opened)
    trial = runner(run)
    while not trial.step().is_end:
        pass
    record = run.record(0)
    assert record is not None
    assert record.epoch_seconds is not None
    assert 0.0 < record.epochs * record.epoch_seconds <= record.wall_seconds - slow


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


def test_a_trial_without_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="they are kept for the best trials of a search only"):
        read_fold_weights(tmp_path)


def test_an_epoch_reports_the_metric_of_the_search_too() -> None:
    labels, probabilities = np.array([0, 1]), np.array([[0.8, 0.2], [0.4, 0.6]])
    found = epoch_scores(labels, probabilities, metric="log_loss")
    assert found["log_loss"] == pytest.approx(-np.log([0.8, 0.6]).mean())
    assert "log_loss" not in epoch_scores(labels, probabilities)
