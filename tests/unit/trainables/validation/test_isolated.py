"""A process for each fold: another process, gone afterwards, and the same numbers as side by side."""

import dataclasses
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from isolated_folds import FROM_PIXELS, FROZEN, is_alive, material_of, place_in, watch_processes

from results.scores.metrics import scores
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet
from trainables.data.training_data import TrainingData
from trainables.runtime.checkpoint import write_fold_weights
from trainables.runtime.trial_runtime import TrialRuntime, WarmStart
from trainables.training.folds import NanLossError
from trainables.validation import isolated
from trainables.validation.cross_validation import CrossValidation
from trainables.validation.epoch_selection import EpochReport
from trainables.validation.fold_process import FoldProcess, FoldTask
from trainables.validation.isolated import IsolatedValidation, StoredWeights

pytestmark = pytest.mark.slow

CASES = {
    "frozen, resampled": {**FROZEN, "training.sampling": "under", "training.train_fraction": 0.8},
    "from pixels": FROM_PIXELS,
    "mean curve that stops early": {
        **FROZEN,
        "training.epochs": 12,
        "training.patience": 1,
        "optimizer.lr": 1,
    },
    "folds that stop by themselves": {
        **FROZEN,
        "training.epochs": 8,
        "training.patience": 1,
        "training.early_stopping_scope": "fold",
        "optimizer.lr": 0.3,
    },
    "folds that stop while the learning rate follows the mean curve": {
        **FROZEN,
        "training.epochs": 9,
        "training.patience": 2,
        "training.early_stopping_scope": "fold",
        "training.class_weight": 3.0,
        "optimizer.schedule": "plateau",
        "optimizer.step_epochs": 2,
        "optimizer.lr": 0.3,
    },
    "learning rate that follows the mean curve": {
        **FROZEN,
        "training.epochs": 8,
        "optimizer.schedule": "plateau",
        "optimizer.step_epochs": 2,
        "optimizer.lr": 0.3,
    },
    "head first, two models a fold": {
        **FROZEN,
        "model.cut": "block2",
        "model.trained_stages": 1,
        "training.first_phase": "head",
        "training.first_phase_epochs": 1,
        "training.repeats": 2,
        "training.epochs": 1,
    },
    "on from a finished trial": {**FROM_PIXELS, "model.weights": "start"},
}


@pytest.fixture
def training_data(bright_patches: PatchSet) -> TrainingData:
    return material_of(bright_patches)


@pytest.fixture
def runtime(tmp_path: Path) -> TrialRuntime:
    return place_in(tmp_path / "store")


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return watch_processes(monkeypatch)


Validations = CrossValidation | IsolatedValidation


def finished(run: Validations) -> list[EpochReport]:
    reports = []
    while not run.is_over:
        reports.append(run.epoch())
    return reports


@pytest.mark.long
@pytest.mark.parametrize("folds", [3, 1], ids=["folds", "hold-out"])
@pytest.mark.parametrize("case", CASES)
def test_a_process_for_each_fold_gives_what_folds_side_by_side_give(
    case: str, folds: int, bright_patches: PatchSet, runtime: TrialRuntime
) -> None:
    config, training_data = decode(CASES[case]), material_of(bright_patches, folds=folds)
    if config.model.weights == "start":
        first = CrossValidation(decode(FROM_PIXELS), training_data, runtime, seed=5, score=scores)
        finished(first)
        assert first.best is not None
        runtime = dataclasses.replace(
            runtime, start=WarmStart(first.config, [dict(w) for w in first.best.weights])
        )
    together = CrossValidation(config, training_data, runtime, seed=3, score=scores)
    apart = IsolatedValidation(config, training_data, runtime, seed=3, score=scores)
    reports = list(zip(finished(together), finished(apart), strict=True))
    for one, other in reports:
        assert one.scalars == pytest.approx(other.scalars, abs=1e-6)
        assert (one.epoch, one.collapsed, one.is_last) == (other.epoch, other.collapsed, other.is_last)
    assert together.best is not None
    assert apart.best is not None
    assert together.best.epoch == apart.best.epoch
    np.testing.assert_allclose(apart.best.probabilities, together.best.probabilities, atol=1e-6)
    assert len(apart.best.weights) == len(together.best.weights) == folds * config.training.repeats
    for own, theirs in zip(apart.best.weights, together.best.weights, strict=True):
        assert set(own) == set(theirs)
        for name in theirs:
            torch.testing.assert_close(own[name], theirs[name], atol=1e-6, rtol=0)
    assert apart.trained_parameters == together.trained_parameters


def test_the_cases_tell_early_stops_and_own_epochs_apart(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    early = CrossValidation(
        decode(CASES["mean curve that stops early"]), training_data, runtime, seed=3, score=scores
    )
    assert len(finished(early)) < 12
    alone = CrossValidation(
        decode(CASES["folds that stop by themselves"]), training_data, runtime, seed=3, score=scores
    )
    finished(alone)
    assert len({kept.epoch for kept in alone.record.kept if kept is not None}) > 1


def test_every_fold_has_a_process_of_its_own_that_is_gone_before_the_next(
    training_data: TrainingData, runtime: TrialRuntime, pids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive_at_start: list[list[int]] = []
    start = isolated.FoldProcess

    def watched(task: FoldTask) -> FoldProcess:
        alive_at_start.append([pid for pid in pids if is_alive(pid)])
        return start(task)

    monkeypatch.setattr(isolated, "FoldProcess", watched)
    run = IsolatedValidation(decode(FROZEN), training_data, runtime, seed=0, score=scores)
    run.epoch()
    assert len(set(pids)) == 3
    assert os.getpid() not in pids
    assert alive_at_start == [[], [], []]
    assert not any(is_alive(pid) for pid in pids)
    assert run.child_peak_memory is not None
    assert run.child_peak_memory.peak_bytes > 0


def test_one_epoch_trains_all_and_the_rest_is_there_already(
    training_data: TrainingData, runtime: TrialRuntime, pids: list[int]
) -> None:
    run = IsolatedValidation(decode(FROZEN), training_data, runtime, seed=0, score=scores)
    ahead = [run.has_buffered_epochs]
    while not run.is_over:
        run.epoch()
        ahead.append(run.has_buffered_epochs)
    assert ahead == [False, True, True, False]
    assert len(pids) == 3


def weights_on_disk(runtime: TrialRuntime) -> list[Path]:
    return sorted((runtime.store / "scratch").rglob("*.safetensors"))


def test_the_scratch_folder_keeps_the_chosen_epoch_alone_and_goes_with_the_trial(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    run = IsolatedValidation(decode(FROZEN), training_data, runtime, seed=0, score=scores)
    run.epoch()
    assert len(weights_on_disk(runtime)) == 3 * 3
    finished(run)
    assert len(weights_on_disk(runtime)) == 3
    del run
    assert list((runtime.store / "scratch").iterdir()) == []


def test_a_fold_that_stops_by_itself_keeps_one_epoch_on_disk(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    config = decode({**FROZEN, "training.early_stopping_scope": "fold"})
    run = IsolatedValidation(config, training_data, runtime, seed=0, score=scores)
    run.epoch()
    assert len(weights_on_disk(runtime)) == 3


class Killed(BaseException):
    """As SIGKILL: whatever a process tidies up by itself is left."""


@pytest.mark.parametrize("case", ["folds", "folds that stop by themselves"])
def test_a_trial_that_is_killed_goes_on_after_its_last_finished_fold(
    training_data: TrainingData, runtime: TrialRuntime, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    scope = "fold" if case != "folds" else "mean"
    config = decode({**FROZEN, "training.epochs": 2} | {"training.early_stopping_scope": scope})
    open_run = functools.partial(IsolatedValidation, config, training_data, seed=1, score=scores)
    whole = open_run(dataclasses.replace(runtime, store=runtime.store.with_name("other")))
    expected = finished(whole)
    trained: list[int] = []
    start = isolated.FoldProcess

    def counted(task: FoldTask) -> FoldProcess:
        if trained == [0, 1] and task.fold == 2:
            raise Killed
        trained.append(task.fold)
        return start(task)

    monkeypatch.setattr(isolated, "FoldProcess", counted)
    killed = open_run(runtime)
    with pytest.raises(Killed):
        killed.epoch()
    _die(killed)
    monkeypatch.setattr(isolated, "FoldProcess", watched := _Counting(start))
    again = open_run(runtime)
    reports = finished(again)
    assert watched.folds == [2]
    for one, other in zip(expected, reports, strict=True):
        assert one.scalars == pytest.approx(other.scalars, abs=1e-6)
    assert again.best is not None
    assert whole.best is not None
    for mine, theirs in zip(again.best.weights, whole.best.weights, strict=True):
        assert set(mine) == set(theirs)
        for name in mine:
            torch.testing.assert_close(mine[name], theirs[name])
    del again, mine
    assert list((runtime.store / "scratch").iterdir()) == []


class _Counting:
    """Starts the processes of folds, and notes which."""

    def __init__(self, start: Callable[[FoldTask], FoldProcess]) -> None:
        self.start, self.folds = start, list[int]()

    def __call__(self, task: FoldTask) -> FoldProcess:
        self.folds.append(task.fold)
        return self.start(task)


def _die(run: IsolatedValidation) -> None:
    """Let go of a trial's lock, and leave its folder, as the end of its process does."""
    run._finaliser.detach()
    isolated._LOCKS.pop(run._folds[0].scratch.parent).close()


def test_finished_folds_of_another_configuration_or_seed_are_not_taken(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    config = decode(FROZEN)
    other = decode({**FROZEN, "optimizer.lr": 0.02})
    turned = dataclasses.replace(training_data, labels=1 - training_data.labels)
    of_units = dataclasses.replace(training_data, units=np.arange(len(training_data.labels)))
    key_of = functools.partial(isolated._key_of, metric="auc")
    keys = {
        key_of(config, training_data, runtime, 0),
        key_of(config, training_data, runtime, 1),
        key_of(other, training_data, runtime, 0),
        key_of(config, turned, runtime, 0),
        key_of(config, of_units, runtime, 0),
        key_of(config, training_data, runtime, 0, metric="accuracy"),
    }
    assert len(keys) == 6


def test_finished_folds_that_started_from_other_weights_are_not_taken(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    first = decode(FROM_PIXELS)

    def key_from(value: float, **settings: str) -> str:
        state = {"bias": torch.tensor(value), "weight": torch.full((2,), value, dtype=torch.bfloat16)}
        started = dataclasses.replace(runtime, start=WarmStart(first, [state, state]))
        return isolated._key_of(decode(FROM_PIXELS | settings), training_data, started, 0, metric="auc")

    assert key_from(1.0, **{"model.weights": "start"}) != key_from(2.0, **{"model.weights": "start"})
    assert key_from(1.0, **{"model.weights": "start"}) == key_from(1.0, **{"model.weights": "start"})
    assert key_from(1.0) == key_from(2.0)  # nothing starts from them


OWNER = """
import sys, time
from pathlib import Path
from trainables.validation import isolated

print(isolated._scratch_in(Path(sys.argv[1])), flush=True)
time.sleep(60)
"""


def test_the_folder_of_a_live_process_stays_and_what_a_killed_one_left_is_removed(
    runtime: TrialRuntime,
) -> None:
    # The other process does not appear under its number here, as one of another container would not.
    command = [sys.executable, "-c", OWNER, str(runtime.store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        theirs = Path(owner.stdout.readline().strip())
        first = isolated._scratch_in(runtime.store)
        assert theirs.is_dir()
        owner.kill()
    second = isolated._scratch_in(runtime.store)
    assert {path for path in (runtime.store / "scratch").iterdir() if path.is_dir()} == {first, second}
    for folder in (first, second):
        isolated._remove(folder)
    assert list((runtime.store / "scratch").iterdir()) == []


def test_a_folder_that_an_earlier_version_left_is_removed_when_it_is_old(
    runtime: TrialRuntime,
) -> None:
    room = runtime.store / "scratch"
    for name, age in (("host-1-old", 8 * 86_400), ("host-1-new", 0)):
        (room / name).mkdir(parents=True)
        os.utime(room / name, (time.time() - age,) * 2)
    isolated._remove(isolated._scratch_in(runtime.store))
    assert [path.name for path in room.iterdir()] == ["host-1-new"]


def test_a_learning_rate_out_of_all_bounds_is_the_same_error(
    training_data: TrainingData, runtime: TrialRuntime
) -> None:
    wild = {
        **FROM_PIXELS,
        "optimizer.name": "sgd",
        "optimizer.lr": 10.0,
        "training.epochs": 20,
        "training.patience": None,
    }
    together = CrossValidation(decode(wild), training_data, runtime, seed=0, score=scores)
    apart = IsolatedValidation(decode(wild), training_data, runtime, seed=0, score=scores)
    for run in (together, apart):
        with pytest.raises(NanLossError, match=r"not finite|the training loss became"):
            finished(run)
    assert apart.epochs_done == together.epochs_done


def test_weights_on_disk_are_a_mapping_that_is_read_when_asked(tmp_path: Path) -> None:
    write_fold_weights(tmp_path, [{"head.weight": torch.arange(6.0).view(2, 3), "bias": torch.zeros(2)}])
    stored = StoredWeights(tmp_path / "0.safetensors")
    assert (len(stored), set(stored), "other" in stored) == (2, {"head.weight", "bias"}, False)
    torch.testing.assert_close(stored["head.weight"], torch.arange(6.0).view(2, 3))
