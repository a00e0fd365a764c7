"""A process for each fold: another process, gone afterwards, and the same numbers as side by side."""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.cli.main import build_parser
from orchestrator.cli.search import request_of
from orchestrator.worker import TrialRunner
from results.metrics import scores
from results.records import SearchRecord
from results.store import RunFolder
from trainables import fold_process, isolation
from trainables.checkpoint import read_fold_weights, write_fold_weights
from trainables.config import TrialConfig, decode
from trainables.data.patches import PatchSet, select_rows
from trainables.data.splits import make_split, write_split
from trainables.epochs import EpochReport
from trainables.evaluation import CrossValidation
from trainables.fold_process import FoldProcess, FoldProcessError, FoldTask
from trainables.isolation import IsolatedValidation, StoredWeights
from trainables.material import Material, Place, Start, prepare
from trainables.models.weights import take_inventory
from trainables.tasks import task_named
from trainables.training.folds import NanLossError

FROZEN = {
    "model.backbone": "efficientnet_lite0",
    "input.size_px": 32,
    "model.head.hidden": [8],
    "model.head.dropout": 0.3,
    "optimizer.lr": 0.01,
    "training.epochs": 3,
    "training.batch_size": 16,
}
FROM_PIXELS = {
    "model.backbone": "scratch4",
    "model.weights": "random",
    "model.trained_stages": "all",
    "model.head.hidden": [8],
    "training.epochs": 1,
    "training.average_views": False,
}
CASES = {
    "frozen, resampled": {**FROZEN, "training.sampling": "under", "training.share": 0.8},
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
        "training.stopping": "fold",
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


def material_of(patches: PatchSet, *, folds: int = 3) -> Material:
    task = task_named("benign_malignant")
    split = make_split(
        select_rows(patches, task),
        fingerprint=patches.fingerprint,
        task=task.name,
        folds=folds,
        test_share=0.25,
        seed=0,
        holdout=0.25 if folds == 1 else None,
    )
    return prepare(patches, task, split)


@pytest.fixture
def material(bright_patches: PatchSet) -> Material:
    return material_of(bright_patches)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    inventory = take_inventory(("efficientnet_lite0", "scratch4"), weights_dir=None, may_download=False)
    return Place(
        tmp_path / "store", torch.device("cpu"), inventory.usable, features="float32", fusion="sequential"
    )


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the processes that folds are trained in, as they start."""
    found: list[int] = []

    class Watched(FoldProcess):
        def __init__(self, task: FoldTask) -> None:
            super().__init__(task)
            assert self.pid is not None
            found.append(self.pid)

    monkeypatch.setattr(isolation, "FoldProcess", Watched)
    return found


Validations = CrossValidation | IsolatedValidation


def finished(run: Validations) -> list[EpochReport]:
    reports = []
    while not run.is_over:
        reports.append(run.epoch())
    return reports


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("folds", [3, 1], ids=["folds", "hold-out"])
@pytest.mark.parametrize("case", CASES)
def test_a_process_for_each_fold_gives_what_folds_side_by_side_give(
    case: str, folds: int, bright_patches: PatchSet, place: Place
) -> None:
    config, material = decode(CASES[case]), material_of(bright_patches, folds=folds)
    if config.model.weights == "start":
        first = CrossValidation(decode(FROM_PIXELS), material, place, seed=5, score=scores)
        finished(first)
        assert first.best is not None
        place = dataclasses.replace(place, start=Start(first.config, [dict(w) for w in first.best.weights]))
    together = CrossValidation(config, material, place, seed=3, score=scores)
    apart = IsolatedValidation(config, material, place, seed=3, score=scores)
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


def test_the_cases_tell_early_stops_and_own_epochs_apart(material: Material, place: Place) -> None:
    early = CrossValidation(
        decode(CASES["mean curve that stops early"]), material, place, seed=3, score=scores
    )
    assert len(finished(early)) < 12
    alone = CrossValidation(
        decode(CASES["folds that stop by themselves"]), material, place, seed=3, score=scores
    )
    finished(alone)
    assert len({kept.epoch for kept in alone.record.kept if kept is not None}) > 1


def test_every_fold_has_a_process_of_its_own_that_is_gone_before_the_next(
    material: Material, place: Place, pids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive_at_start: list[list[int]] = []
    start = isolation.FoldProcess

    def watched(task: FoldTask) -> FoldProcess:
        alive_at_start.append([pid for pid in pids if is_alive(pid)])
        return start(task)

    monkeypatch.setattr(isolation, "FoldProcess", watched)
    run = IsolatedValidation(decode(FROZEN), material, place, seed=0, score=scores)
    run.epoch()
    assert len(set(pids)) == 3
    assert os.getpid() not in pids
    assert alive_at_start == [[], [], []]
    assert not any(is_alive(pid) for pid in pids)
    assert run.process_memory is not None
    assert run.process_memory.peak_bytes > 0


def test_one_epoch_trains_all_and_the_rest_is_there_already(
    material: Material, place: Place, pids: list[int]
) -> None:
    run = IsolatedValidation(decode(FROZEN), material, place, seed=0, score=scores)
    ahead = [run.is_ahead]
    while not run.is_over:
        run.epoch()
        ahead.append(run.is_ahead)
    assert ahead == [False, True, True, False]
    assert len(pids) == 3


def weights_on_disk(place: Place) -> list[Path]:
    return sorted((place.store / "scratch").rglob("*.safetensors"))


def test_the_scratch_folder_keeps_the_chosen_epoch_alone_and_goes_with_the_trial(
    material: Material, place: Place
) -> None:
    run = IsolatedValidation(decode(FROZEN), material, place, seed=0, score=scores)
    run.epoch()
    assert len(weights_on_disk(place)) == 3 * 3
    finished(run)
    assert len(weights_on_disk(place)) == 3
    del run
    assert list((place.store / "scratch").iterdir()) == []


def test_a_fold_that_stops_by_itself_keeps_one_epoch_on_disk(material: Material, place: Place) -> None:
    config = decode({**FROZEN, "training.stopping": "fold"})
    run = IsolatedValidation(config, material, place, seed=0, score=scores)
    run.epoch()
    assert len(weights_on_disk(place)) == 3


def test_what_a_killed_owner_left_behind_is_removed(place: Place) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    first = isolation._scratch_in(place.store)
    first.rename(first.with_name(first.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-")))
    own = isolation._scratch_in(place.store)
    assert list((place.store / "scratch").iterdir()) == [own]


@pytest.fixture
def task(material: Material, place: Place, tmp_path: Path) -> FoldTask:
    return FoldTask(decode(FROZEN), material, place, 0, 1, (), keeps_state=False, scratch=tmp_path / "fold")


def test_a_fold_whose_process_was_killed_says_that_memory_may_be_the_reason(task: FoldTask) -> None:
    with FoldProcess(task) as process:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(FoldProcessError, match=r"fold 2 was killed \(signal 9\).* out of memory"):
            process.epoch()


def test_a_fold_whose_process_ends_otherwise_says_how(task: FoldTask) -> None:
    with FoldProcess(task) as process:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        with pytest.raises(FoldProcessError, match=r"fold 2 ended by itself \(signal 15\)"):
            process.epoch()


def test_an_error_in_a_process_comes_back_with_its_words(task: FoldTask) -> None:
    lost = dataclasses.replace(task, config=decode({**FROZEN, "model.weights": "start"}))
    with pytest.raises(FoldProcessError, match=r"fold 2: (.|\n)*needs a finished trial to start from"):
        FoldProcess(lost)


def test_a_learning_rate_out_of_all_bounds_is_the_same_error(material: Material, place: Place) -> None:
    wild = {
        **FROM_PIXELS,
        "optimizer.name": "sgd",
        "optimizer.lr": 10.0,
        "training.epochs": 20,
        "training.patience": None,
    }
    together = CrossValidation(decode(wild), material, place, seed=0, score=scores)
    apart = IsolatedValidation(decode(wild), material, place, seed=0, score=scores)
    for run in (together, apart):
        with pytest.raises(NanLossError, match=r"not finite|the training loss became"):
            finished(run)
    assert apart.epochs_done == together.epochs_done


def test_a_process_that_is_wanted_no_more_ends_with_its_block(task: FoldTask) -> None:
    with FoldProcess(task) as process:
        pid = process.pid
        assert pid is not None
        assert is_alive(pid)
    assert not is_alive(pid)


_PARENT = """
import pickle, sys
from trainables.fold_process import FoldProcess
process = FoldProcess(pickle.load(open(sys.argv[1], "rb")))
print(process.pid, flush=True)
process._send(pickle.dumps(True))
sys.stdin.read()
"""


@pytest.fixture
def parent(task: FoldTask, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has a fold trained for ever."""
    endless = decode(
        {
            **FROM_PIXELS,
            "training.first_phase": "benign_malignant",
            "training.first_phase_epochs": 1000,
            "training.batch_size": 1,
        }
    )
    file = tmp_path / "task.pickle"
    file.write_bytes(pickle.dumps(dataclasses.replace(task, config=endless)))
    process = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_no_process_outlives_the_one_that_wanted_it(
    number: signal.Signals, parent: "subprocess.Popen[str]"
) -> None:
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_alive(pid)
    os.killpg(parent.pid, number)
    assert wait_until(lambda: not is_alive(pid))


def test_images_stay_in_their_file_on_the_way_to_a_process(task: FoldTask) -> None:
    assert type(task.material.patch_set.images) is np.memmap
    assert len(fold_process._dumped(task)) < task.material.patch_set.images.nbytes / 2
    images = pickle.loads(fold_process._dumped(task)).material.patch_set.images
    np.testing.assert_array_equal(images, task.material.patch_set.images)
    part = task.material.patch_set.images[3:5]
    np.testing.assert_array_equal(pickle.loads(fold_process._dumped(part)), part)


def test_weights_on_disk_are_a_mapping_that_is_read_when_asked(tmp_path: Path) -> None:
    write_fold_weights(tmp_path, [{"head.weight": torch.arange(6.0).view(2, 3), "bias": torch.zeros(2)}])
    stored = StoredWeights(tmp_path / "0.safetensors")
    assert (len(stored), set(stored), "other" in stored) == (2, {"head.weight", "bias"}, False)
    torch.testing.assert_close(stored["head.weight"], torch.arange(6.0).view(2, 3))


# -- the worker and the command line


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path, make_search: Callable[..., SearchRecord]) -> RunFolder:
    folder, task = RunFolder(tmp_path / "runs" / "first"), task_named("benign_malignant")
    rows = select_rows(bright_patches, task)
    split = make_split(
        rows, fingerprint=bright_patches.fingerprint, task=task.name, folds=3, test_share=0.25, seed=0
    )
    write_split(folder.split_file, split)
    context = {
        "backbones": ["efficientnet_lite0"],
        "from_scratch": [],
        "fine_tunes": {"efficientnet_lite0": []},
        "flattens": {},
        "levels": {},
        "adapts_channels": [],
        "augmentations": [],
        "sizes_px": {"efficientnet_lite0": 32},
        "epochs": 6,
        "images": 36,
    }
    folder.write_search(
        make_search(
            fingerprint=bright_patches.fingerprint,
            store=str(tmp_path / "store"),
            space_context=context,
            process_per_fold=True,
        )
    )
    return folder


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
