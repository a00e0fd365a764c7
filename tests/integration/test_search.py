"""A search with real Ray on two CPUs, from the command line to one file that predicts, and its faults."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from results.run.sessions import read_sessions
from trainables.data.split_record import TEST, read_split

pytestmark = pytest.mark.timeout(240)

ORCHESTRATE = (sys.executable, "-m", "orchestrator.cli.main")
FROZEN = ("--set", "model.backbone=efficientnet_lite0", "--set", "model.trained_stages=0")
SMALL = ("--offline", "--address", "local", "--epochs", "3", "--folds", "3", "--workers", "2", *FROZEN)
# Learns these patches in three epochs, so that no fold collapses: ensembles need several sound trials.
STEADY = tuple(
    part
    for setting in (
        "optimizer.name=adam",
        "optimizer.lr=0.01",
        "optimizer.schedule=constant",
        "training.sampling=none",
        "training.class_weight=none",
        "training.batch_size=16",
        "model.head.batch_norm=true",
        "model.head.dropout=0",
    )
    for part in ("--set", setting)
)

# The first two trials end at once. The next two last as long as the file `hold` is there when they are
# proposed, so that a test can interfere with them on the slowest and on the fastest machine.
HELD = """
from pathlib import Path
from search_spaces.image_classifier import image_classifier as base

def space(trial, context):
    is_held = trial.number >= 2 and Path("hold").exists()
    steady = {  # learns these patches, so that no fold collapses, which would end its trial
        "model.cut": "top", "model.head.pooling": "gap", "training.mixup": 0.0,
        "optimizer.name": "adam", "optimizer.lr": 1e-2, "optimizer.momentum": None,
        "optimizer.weight_decay": 0.0, "optimizer.schedule": "constant", "model.head.hidden": (64,),
        "model.head.dropout": 0.0, "model.head.batch_norm": True, "input.contrast": 1.0,
        "input.contrast_test": None, "training.class_weight": "none", "training.batch_size": 16,
        "classical.name": "none", "model.also": "none",  # a closed-form head has one epoch
    }
    length = {"training.epochs": 2000 if is_held else 1, "training.patience": None}
    return base(trial, context) | steady | length
"""


def orchestrate(folder: Path, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a verb in a folder; fail with what it printed unless it ends with `code`."""
    command = [*ORCHESTRATE, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def write_patches(folder: Path) -> None:
    """48 patches of 24 patients; the malignant ones hold a bright spot."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.tile([0, 1], 12), 2)
    images = random.integers(0, 20_000, (48, 48, 48)).astype(np.uint16)
    images[labels == 1, 16:32, 16:32] += 12_000
    patients = np.array([f"p{index // 2:02d}" for index in range(48)])
    np.savez(folder / "patches.npz", images=images, labels=labels, patient=patients)
    cv2.imwrite(str(folder / "one.png"), images[2])


def search(folder: Path, name: str, *arguments: str) -> tuple[str, ...]:
    return ("search", "benign_malignant", "--data", "patches.npz", "--name", name, *SMALL, *arguments)


def held_search(folder: Path, name: str, *arguments: str) -> tuple[str, ...]:
    """The arguments of a search of four trials, of which the last two go on until they are stopped."""
    write_patches(folder)
    (folder / "held.py").write_text(HELD)
    (folder / "hold").touch()
    return (*search(folder, name, "--trials", "4", "--space", "held:space"), *arguments)


def is_training(run: RunFolder, *numbers: int) -> bool:
    """Whether trials have reported an epoch: only then TensorBoard has a file of theirs."""
    return all((run.tensorboard / f"trial-{number:04d}").exists() for number in numbers)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    write_patches(folder)
    done = orchestrate(folder, *search(folder, "first", "--trials", "4", *STEADY))
    assert done.stdout == ""
    assert "4 trials ended" in done.stderr
    assert "orchestrate leaderboard runs/benign_malignant/first" in done.stderr
    (folder / "closing.txt").write_text(done.stderr)
    return folder


def run_of(folder: Path, name: str = "first") -> RunFolder:
    return RunFolder(folder / "runs" / "benign_malignant" / name)


def test_every_trial_has_a_record_and_complete_ones_have_predictions_and_weights(finished: Path) -> None:
    run = run_of(finished)
    records = run.records()
    assert [record.number for record in records] == [0, 1, 2, 3]
    complete = [record for record in records if record.state == "complete"]
    assert complete
    for record in complete:
        found = run.out_of_fold(record.number)
        assert found.probabilities.shape == (len(found.rows), 2)
        assert len(list((run.trial(record.number) / "folds").iterdir())) == 3
        assert record.prefix is not None
        assert record.prefix.kind == "stored views"
    assert not (run.path / ".ray").exists()


def test_the_test_part_is_sealed_from_every_trial(finished: Path) -> None:
    run = run_of(finished)
    split = read_split(run.split_file)
    sealed = {group for group, fold in split.fold_of_group.items() if fold == TEST}
    assert sealed
    for record in run.records():
        if record.state == "complete":
            assert sealed.isdisjoint(run.out_of_fold(record.number).groups)


def test_how_busy_the_workers_were_is_said_kept_and_in_the_report(finished: Path) -> None:
    pattern = r"busy (\d+) % of (?:\d+:)?\d+:\d\d worker time \(features (\d+) %, training (\d+) %\)"
    said = re.search(pattern, " ".join((finished / "closing.txt").read_text().split()))
    assert said is not None
    busy, features, training = map(int, said.groups())
    assert 0 < busy == features + training <= 100
    run = run_of(finished)
    (session,) = read_sessions(run)
    assert session.workers == 2
    worked = session.features + session.training
    whole = 2 * (session.ended_at - session.started_at).total_seconds()
    assert 0.0 < worked <= worked + session.waiting <= whole + 1.0
    assert busy == pytest.approx(100 * worked / (worked + session.waiting), abs=1.0)
    orchestrate(finished, "report", "first", "--out", "first.html", "--no-pictures")
    assert said.group() in (finished / "first.html").read_text()


@pytest.mark.slow
def test_the_whole_line_from_leaderboard_to_prediction(finished: Path) -> None:
    rows = json.loads(orchestrate(finished, "leaderboard", "latest", "--format", "json").stdout)
    assert any(row["rank"] == 1 for row in rows)
    table = orchestrate(finished, "leaderboard", "first").stdout
    assert "always the majority class" in table
    ensembles = json.loads(orchestrate(finished, "ensemble", "first", "--format", "json").stdout)
    assert {"average", "greedy", "grid", "stack_logistic"} <= {ensemble["method"] for ensemble in ensembles}
    tested = json.loads(orchestrate(finished, "evaluate", "first", "--format", "json").stdout)
    assert tested
    assert len(run_of(finished).openings_file.read_text().splitlines()) >= 1
    assert "opened 1 time before, over all runs" in orchestrate(finished, "evaluate", "first").stderr
    orchestrate(finished, "export", "first", "--out", "bundle")
    assert {path.name for path in (finished / "bundle").iterdir()} == {
        "model.onnx",
        "manifest.json",
        "model_card.json",
        "model_card.md",
        "training_reference.json",
    }
    predicted = orchestrate(finished, "predict", "bundle", "one.png", "--format", "csv").stdout
    row = next(csv.DictReader(io.StringIO(predicted)))
    assert row["file"] == "one.png"
    assert 0.0 <= float(row["probability"]) <= 1.0
    message = orchestrate(finished, "export", "first", "--out", "bundle", code=2).stderr
    assert "holds files already" in " ".join(message.split())


def test_tensorboard_has_one_event_file_a_trial_and_pictures_of_the_best(finished: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run_of(finished).tensorboard
    trials = sorted(folder.glob("trial-*"))
    assert len(trials) == 4
    best = max((r for r in run_of(finished).records() if r.state == "complete"), key=lambda r: r.value or 0)
    events = EventAccumulator(str(folder / f"trial-{best.number:04d}")).Reload()
    tags = events.Tags()
    assert {"loss/train", "loss/validation", "auc/validation", "fold_1/auc"} <= set(tags["scalars"])
    assert {"roc", "precision_recall", "confusion", "worst_mistakes"} <= set(tags["images"])


@pytest.mark.long
def test_a_time_that_nothing_can_keep_still_gives_the_baseline(tmp_path: Path) -> None:
    write_patches(tmp_path)
    asked = search(tmp_path, "short", "--trials", "3", "--minutes", "0.05")
    orchestrate(tmp_path, *(part for part in asked if part not in FROZEN))  # of any backbone
    complete = [record for record in run_of(tmp_path, "short").records() if record.state == "complete"]
    assert "intensity" in [record.config["model.backbone"] for record in complete]


@pytest.mark.long
def test_one_worker_and_one_seed_repeat_a_search(tmp_path: Path) -> None:
    write_patches(tmp_path)
    for name in ("a", "b"):
        orchestrate(tmp_path, *search(tmp_path, name, "--trials", "2", "--workers", "1"))
    first, second = (
        [(r.params, r.state, r.value) for r in run_of(tmp_path, name).records()] for name in ("a", "b")
    )
    assert first == second


def test_a_search_that_is_killed_resumes_without_losing_or_repeating_a_trial(tmp_path: Path) -> None:
    arguments = held_search(tmp_path, "killed")
    run = run_of(tmp_path, "killed")
    with subprocess.Popen([*ORCHESTRATE, *arguments], cwd=tmp_path, stderr=subprocess.DEVNULL) as driver:
        wait_for(lambda: is_training(run, 2, 3))
        driver.send_signal(signal.SIGKILL)
        driver.wait(timeout=20)
    before = {r.number: (r.finished_at, r.value) for r in run.records()}
    assert sorted(before) == [0, 1]
    (tmp_path / "hold").unlink()
    done = orchestrate(tmp_path, "resume", "killed")
    assert "2 of 4 trials are finished and stay; 2 that were running are run again" in done.stderr
    after = {r.number: (r.finished_at, r.value) for r in run.records()}
    assert sorted(after) == [0, 1, 2, 3]
    assert {number: after[number] for number in before} == before


@pytest.mark.long
def test_ctrl_c_stops_cleanly_and_says_how_to_resume(tmp_path: Path) -> None:
    arguments = held_search(tmp_path, "stopped")
    run = run_of(tmp_path, "stopped")
    with subprocess.Popen(
        [*ORCHESTRATE, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as driver:
        wait_for(lambda: is_training(run, 2, 3))
        driver.send_signal(signal.SIGINT)
        printed = driver.communicate(timeout=120)[1]
    assert driver.returncode == 130, printed
    assert "orchestrate resume runs/benign_malignant/stopped" in printed
    assert "Traceback" not in printed
    assert [record.number for record in run.records()] == [0, 1]


FAULTS = """
import os, signal
from search_spaces.image_classifier import image_classifier as base

def space(trial, context):
    fault = trial.suggest_categorical("fault", ("none", "nan"))
    settings = base(trial, context)
    if fault == "nan":
        settings |= {"optimizer.name": "sgd", "optimizer.lr": 10.0, "optimizer.momentum": 0.95}
        settings |= {"model.head.hidden": (512,) * 6, "training.epochs": 40, "training.patience": None}
        settings |= {"training.class_weight": 100.0, "classical.name": "none", "model.also": "none"}
    return settings
"""


@pytest.mark.long
def test_a_trial_that_leaves_the_numbers_is_an_outcome_and_the_search_goes_on(tmp_path: Path) -> None:
    write_patches(tmp_path)
    (tmp_path / "faults.py").write_text(FAULTS)
    arguments = search(tmp_path, "faults", "--trials", "6")
    orchestrate(tmp_path, *arguments, "--space", "faults:space")
    records = run_of(tmp_path, "faults").records()
    assert [record.number for record in records] == list(range(6))
    broken = [record for record in records if record.state == "failed"]
    assert broken
    assert {record.cause for record in broken} == {"nan"}
    assert all(record.error for record in broken)
    assert any(record.state == "complete" for record in records)


@pytest.mark.long
def test_a_worker_that_is_killed_costs_at_most_its_trial(tmp_path: Path) -> None:
    # A trial that nobody stops ends itself after twelve seconds; one whose worker dies begins anew.
    arguments = held_search(tmp_path, "worker", "--trial-minutes", "0.2")
    run = run_of(tmp_path, "worker")
    with subprocess.Popen(
        [*ORCHESTRATE, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as driver:
        wait_for(lambda: is_training(run, 2, 3))
        workers: list[int] = []
        # A worker carries its name only while it is in a step, so a single look may miss it.
        wait_for(lambda: bool(workers.extend(trial_workers(driver.pid)) or workers), seconds=60)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        printed = driver.communicate(timeout=180)[1]
    assert driver.returncode == 0, printed
    records: list[TrialRecord] = run.records()
    assert [record.number for record in records] == [0, 1, 2, 3]
    assert {record.state for record in records} == {"complete"}
    assert "its worker died; it is run again" in printed


@pytest.mark.long
def test_kills_for_want_of_memory_are_outcomes_and_the_search_ends_by_itself(tmp_path: Path) -> None:
    write_patches(tmp_path)
    # Ray's memory monitor with a threshold that every machine is above kills each trial's worker.
    monitor = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "250"}
    done = subprocess.run(
        [*ORCHESTRATE, *search(tmp_path, "memory", "--trials", "2")],
        cwd=tmp_path,
        env=os.environ | monitor,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 2, done.stderr
    assert "no trial of runs/benign_malignant/memory was completed (2 ended)" in done.stderr
    records = run_of(tmp_path, "memory").records()
    assert [(record.state, record.cause) for record in records] == [("failed", "out_of_memory")] * 2
    assert all("was run again alone" in (record.error or "") for record in records)
    assert done.stderr.count("it ran out of memory; it is run again alone, after the others") == 2


def trial_workers(driver: int) -> list[int]:
    """Processes below the driver that run trials."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            if command.startswith(b"ray::ResourceTrainable") and driver in ancestors(int(entry.name)):
                found.append(int(entry.name))
        except OSError:  # it ended meanwhile
            continue
    return found


def ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        pid = int((Path("/proc") / str(pid) / "stat").read_text().rsplit(") ", 1)[1].split()[1])
        found.append(pid)
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the search did not come that far in time"
        time.sleep(0.02)
