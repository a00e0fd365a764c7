from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score
from worker_run import worker_run

from orchestrator.tuning import trial_runner
from orchestrator.tuning.trial_runner import TrialRunner
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError
from trainables.config.tasks import task_named
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet, select_rows
from trainables.data.splits import make_split, write_split
from trainables.runtime.checkpoint import read_fold_weights

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


def test_a_step_trains_until_the_next_rung(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_runner, "_STEP_SECONDS", 1e9)
    run.write_search(run.search().with_options(epochs=6))
    trial = runner(run)
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
    trial = runner(run, deadline=1.0)
    trial.step()
    assert trial.step().is_end
    record = run.record(0)
    assert record is not None
    assert (record.state, record.cause, record.epochs) == ("pruned", "time_budget", 1)


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


def test_a_trial_without_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="they are kept for the best trials of a search only"):
        read_fold_weights(tmp_path)
