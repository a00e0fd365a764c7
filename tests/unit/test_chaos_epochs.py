"""Finished folds in the chaos: what was lost, what was trained again, and the log that says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from list_study import complete
from worker_run import worker_run

from benchmarks.chaos.arena import AT_START, ROOT
from benchmarks.chaos.epochs import epochs_of, lost_and_repeated_folds, note_taken
from benchmarks.chaos.witness import kept_epochs, log_of
from results.run.records import TrialRecord
from trainables.data.patches import PatchSet
from trainables.runtime.checkpoint import packed_checkpoint

FOLDS = 2


def record_of(number: int, epochs: int) -> TrialRecord:
    return complete(number, 0.5).model_copy(
        update={"epochs": epochs, "fold_metrics": ({"auc": 0.5},) * FOLDS, "state": "complete"}
    )


def found(tmp_path: Path, *lines: str, epochs: int = 2) -> tuple[list[str], list[str]]:
    log = log_of(tmp_path, "search")
    log.write_text("".join(f"{line}\n" for line in lines))
    return lost_and_repeated_folds(log, [record_of(4, epochs)], FOLDS)


def trained(worker: int, *pairs: tuple[int, int]) -> list[str]:
    return [f"trained 4 {worker} {fold} {epoch}" for fold, epoch in pairs]


ALL = ((0, 0), (1, 0), (0, 1), (1, 1))


def test_a_trial_that_nobody_disturbed_has_lost_and_repeated_nothing(tmp_path: Path) -> None:
    assert found(tmp_path, "begun 4 7", *trained(7, *ALL), "ended 4 7") == ([], [])


def test_epochs_that_a_killed_worker_had_not_kept_are_trained_anew(tmp_path: Path) -> None:
    lines = ["begun 4 7", *trained(7, (0, 0), (1, 0)), "begun 4 8", *trained(8, *ALL), "ended 4 8"]
    assert found(tmp_path, *lines) == ([], [])


def test_epochs_that_a_checkpoint_holds_are_not_to_be_trained_again(tmp_path: Path) -> None:
    first = ["begun 4 7", *trained(7, (0, 0), (1, 0)), "kept 4 7 * 1"]
    assert found(tmp_path, *first, "begun 4 8", *trained(8, (0, 1), (1, 1)), "ended 4 8") == ([], [])
    lost, repeated = found(tmp_path, *first, "begun 4 8", *trained(8, *ALL), "ended 4 8")
    assert lost == []
    assert repeated == [
        f"fold {fold} of trial 4 trained 1 epochs again that were finished" for fold in (1, 2)
    ]


def test_a_fold_that_a_process_has_finished_is_not_to_be_trained_again(tmp_path: Path) -> None:
    first = ["begun 4 7", *trained(7, (0, 0), (0, 1)), "kept 4 7 0 2", *trained(7, (1, 0))]
    assert found(tmp_path, *first, "begun 4 8", *trained(8, (1, 0), (1, 1)), "ended 4 8") == ([], [])
    again = found(tmp_path, *first, "begun 4 8", *trained(8, *ALL), "ended 4 8")
    assert again == ([], ["fold 1 of trial 4 trained 2 epochs again that were finished"])


@pytest.mark.parametrize(
    "tail", [["ended 4 7", "begun 4 8", "trained 4 8 1 0"], ["trained 4 7 1 0", "ended 4 7"]]
)
def test_nothing_is_trained_after_the_record_nor_twice_by_one_worker(tmp_path: Path, tail: list[str]) -> None:
    _, repeated = found(tmp_path, "begun 4 7", *trained(7, *ALL), *tail)
    assert repeated == ["fold 2 of trial 4 trained 1 epochs again that were finished"]


def test_a_trial_that_was_taken_away_on_purpose_is_trained_anew(tmp_path: Path) -> None:
    log = log_of(tmp_path, "search")
    found(tmp_path, "begun 4 7", *trained(7, *ALL), "kept 4 7 * 2", "ended 4 7")
    note_taken(log, 4)
    with log.open("a") as file:
        file.write("".join(f"{line}\n" for line in ["begun 4 7", *trained(7, *ALL), "ended 4 7"]))
    assert lost_and_repeated_folds(log, [record_of(4, 2)], FOLDS) == ([], [])


def test_epochs_that_nobody_trained_and_folds_that_are_missing_are_lost(tmp_path: Path) -> None:
    lost, _ = found(tmp_path, "begun 4 7", *trained(7, (0, 0), (1, 0), (0, 1)), "ended 4 7")
    assert lost == ["fold 2 of trial 4 has epochs that nobody trained"]
    short = record_of(4, 0).model_copy(update={"fold_metrics": ({"auc": 0.5},)})
    assert lost_and_repeated_folds(log_of(tmp_path, "search"), [short], FOLDS)[0] == [
        "trial 4 has 1 of 2 folds"
    ]


def test_without_a_log_every_complete_trial_has_lost_its_folds(tmp_path: Path) -> None:
    lost, repeated = lost_and_repeated_folds(tmp_path / "none", [record_of(4, 2)], FOLDS)
    assert len(lost) == FOLDS
    assert repeated == []


def test_a_line_that_is_just_being_written_is_left_for_later(tmp_path: Path) -> None:
    log = log_of(tmp_path, "search")
    log.write_text("begun 4 7\ntrained 4 7 0 0\ntrained 4 7 1")
    own = epochs_of(log, FOLDS)[4]
    assert own.trained == {(0, 0): 1}
    assert own.unkept_of("7") == 1


def test_what_a_checkpoint_holds_is_read_from_the_file_itself() -> None:
    lockstep = packed_checkpoint({"epochs_done": 3, "losses": [0.1]}, key="k")
    finished = packed_checkpoint({"epochs": [{"loss": 0.1}, {"loss": 0.2}]}, key="k")
    assert kept_epochs(Path("trials/0/checkpoint.safetensors"), lockstep) == ("*", 3)
    assert kept_epochs(Path("scratch/abc/2/finished.checkpoint"), finished) == ("2", 2)
    assert kept_epochs(Path("trials/0/checkpoint.safetensors"), packed_checkpoint({}, key="k")) is None
    assert kept_epochs(Path("trials/0/record.json"), b"{}") is None


# A worker as a search has it: it trains, keeps its progress, and is killed; another one goes on.
WORKER = """
import os, signal, sys
from pathlib import Path
from isolated_folds import FROZEN
from orchestrator.tuning.trial_runner import TrialRunner
from results.run.run_folder import RunFolder
from trainables.config.trial_config import decode

trial = TrialRunner(RunFolder(Path(sys.argv[1])), 0, decode(FROZEN), {}, gpus=0.0, cpus=1.0)
trial.report_seconds = 0.0
if sys.argv[2] == "keep":
    trial._open()
    trial._advance([])
    trial.keep_progress()
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "finish one":
    trial._open()
    keep = type(trial.validation._folds[0]).keep
    def kept(self, key):
        keep(self, key)
        os.kill(os.getpid(), signal.SIGKILL)
    type(trial.validation._folds[0]).keep = kept
while not trial.step().is_end:
    pass
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("isolated", "how", "kept"), [(False, "keep", {0: 1, 1: 1, 2: 1}), (True, "finish one", {0: 3})]
)
def test_a_trial_goes_on_after_what_its_killed_worker_had_kept(
    bright_patches: PatchSet, tmp_path: Path, isolated: bool, how: str, kept: dict[int, int]
) -> None:
    run = worker_run(bright_patches, tmp_path, process_per_fold=isolated)
    log = log_of(tmp_path, run.path.name)
    paths = [AT_START, ROOT, ROOT / "tests" / "helpers"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "CHAOS_LOG": str(tmp_path)}

    def work(how: str) -> int:
        call = [sys.executable, "-c", WORKER, str(run.path), how]
        return subprocess.run(call, env=environment, check=False, timeout=300).returncode

    assert work(how) == -9
    assert epochs_of(log, 3)[0].kept == kept
    assert work("to the end") == 0
    record = run.record(0)
    assert record is not None
    assert (record.state, record.epochs) == ("complete", 3)
    assert lost_and_repeated_folds(log, [record], 3) == ([], [])
    own = epochs_of(log, 3)[0]
    assert own.is_ended
    assert {pair: own.trained[pair] for pair in own.trained if pair[1] < kept.get(pair[0], 0)} == {
        (fold, epoch): 1 for fold, epochs in kept.items() for epoch in range(epochs)
    }
