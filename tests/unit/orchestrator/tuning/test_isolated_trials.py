"""A trial whose folds have their own processes: asked for on the command line, recorded like any other."""

import os
import signal
from pathlib import Path

import pytest
from isolated_folds import FROZEN, watch_processes
from worker_run import worker_run

from orchestrator.cli.main import build_parser
from orchestrator.cli.search import request_of
from orchestrator.tuning.trial_runner import TrialRunner
from results.run.run_folder import RunFolder
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet
from trainables.runtime.checkpoint import read_fold_weights

pytestmark = pytest.mark.slow


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return watch_processes(monkeypatch)


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path) -> RunFolder:
    return worker_run(bright_patches, tmp_path, process_per_fold=True)


def runner(run: RunFolder, config: TrialConfig) -> TrialRunner:
    return TrialRunner(run, 0, config, {}, gpus=0.0, cpus=1.0)


def test_a_worker_writes_the_same_trial_with_a_process_for_each_fold(run: RunFolder, pids: list[int]) -> None:
    trial = runner(run, decode(FROZEN))
    while not trial.step().is_end:
        pass
    record = run.record(0)
    assert record is not None
    assert (record.state, record.cause, record.epochs) == ("complete", None, 3)
    assert len(pids) == 3
    assert len(read_fold_weights(run.trial(0) / "folds")) == len(record.fold_metrics) == 3
    assert len(record.losses) == 3
    assert record.peak_bytes is not None
    assert record.peak_bytes > 0


def test_a_trial_that_is_late_still_reports_what_it_has_trained(
    run: RunFolder,
) -> None:
    trial = runner(run, decode(FROZEN))
    trial._open()
    trial.deadline = 0.0
    while not trial.step().is_end:
        pass
    record = run.record(0)
    assert record is not None
    assert (record.state, record.epochs) == ("complete", 3)


def test_a_killed_process_is_a_trial_that_was_out_of_memory(run: RunFolder, pids: list[int]) -> None:
    trial = runner(run, decode(FROZEN))
    trial._open()
    os.kill(pids[-1], signal.SIGKILL)
    while not trial.step().is_end:
        pass
    record = run.record(0)
    assert record is not None
    assert (record.state, record.cause) == ("failed", "out_of_memory")


def test_the_command_line_asks_for_it() -> None:
    parse = build_parser().parse_args
    assert request_of(parse(["search", "benign_malignant", "--process-per-fold"])).process_per_fold
    assert not request_of(parse(["search", "benign_malignant"])).process_per_fold
