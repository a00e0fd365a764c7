"""What `make chaos` looks for: a run that lost something, did it twice, or disagrees with its study."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from list_study import complete
from worker_run import worker_run

from benchmarks.chaos.checks import (
    HANDED_OUT,
    _order,
    differences,
    lost_and_repeated,
    snapshot,
    standing_faults,
)
from orchestrator.study.study import open_study
from results.run.records import OutOfFold, TrialRecord
from results.run.run_folder import RunFolder
from trainables.data.patches import PatchSet

PREDICTIONS = OutOfFold(
    rows=np.arange(4),
    labels=np.arange(4) % 2,
    folds=np.arange(4) // 2,
    groups=np.array(["p0", "p1", "p2", "p3"]),
    probabilities=np.full((4, 2), 0.5, dtype=np.float32),
)


def record_of(run: RunFolder, number: int, value: float) -> TrialRecord:
    changes = {"fingerprint": run.search().fingerprint, "values": {"auc": value}, "has_weights": False}
    return complete(number, value).model_copy(update=changes)


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path) -> RunFolder:
    """A search of three trials that have all ended, with their study."""
    found = worker_run(bright_patches, tmp_path)
    study = open_study(storage=None, journal=found.study_file, name="benign_malignant/first", is_new=True)
    for number in range(3):
        record = record_of(found, number, 0.5 + 0.1 * number)
        found.write_out_of_fold(number, PREDICTIONS)
        found.add_record(record)
        study.tell(study.ask(), record.value)
    (found.path / HANDED_OUT).write_text("0\n1\n2\n")
    return found


def test_a_run_in_which_nothing_is_wrong_has_no_faults(run: RunFolder) -> None:
    before = snapshot(run)
    assert sorted(before.records) == [0, 1, 2]
    assert lost_and_repeated(before, snapshot(run)) == ([], [])
    assert standing_faults(run, trials=3) == []
    assert differences(run, run) == []


def test_a_trial_that_is_gone_changed_or_handed_out_again_is_found(run: RunFolder) -> None:
    before = snapshot(run)
    run.record_file(0).unlink()
    run.write_record(record_of(run, 1, 0.9))
    with (run.path / HANDED_OUT).open("a") as log:
        log.write("2\n")
    lost, repeated = lost_and_repeated(before, snapshot(run))
    assert lost == ["trial 0 is gone", "trial 1 has changed"]
    assert repeated == ["trial 2 was finished and was handed out again"]


def test_predictions_that_were_written_again_count_as_lost(run: RunFolder) -> None:
    before = snapshot(run)
    run.write_out_of_fold(
        0,
        OutOfFold(*(getattr(PREDICTIONS, name) for name in OutOfFold.ARRAYS[:-1]), np.eye(2)[[0, 1, 0, 1]]),
    )
    assert lost_and_repeated(before, snapshot(run)) == (["trial 0 has changed"], [])


def test_the_weights_of_a_loser_may_go(run: RunFolder) -> None:
    before = snapshot(run)
    run.write_record(record_of(run, 0, 0.5).model_copy(update={"has_weights": True}))
    assert lost_and_repeated(before, snapshot(run)) == ([], [])


def test_a_record_that_is_missing_or_differs_from_the_study_is_named(run: RunFolder) -> None:
    run.write_record(record_of(run, 1, 0.95))
    run.record_file(2).unlink()
    found = standing_faults(run, trials=3)
    assert found[0] == "3 trials were asked for, the folder has [0, 1]"
    assert "the study has trials [0, 1, 2], the folder [0, 1]" in found
    assert "trial 1 has the value 0.6 in the study, 0.95 here" in found
    run.record_file(0).write_text(json.dumps({"number": 0}))
    assert any("record of trial 0 cannot be parsed" in fault for fault in standing_faults(run, trials=3))


def test_a_study_with_a_trial_that_has_not_ended_is_named(run: RunFolder) -> None:
    open_study(storage=None, journal=run.study_file, name="benign_malignant/first", is_new=False).ask()
    assert "the study holds trial 3 as not ended" in standing_faults(run, trials=3)


def test_another_leaderboard_is_found(run: RunFolder, tmp_path: Path) -> None:
    other = RunFolder(tmp_path / "other")
    other.path.mkdir()
    for path in run.path.rglob("*"):
        if path.is_file():
            target = other.path / path.relative_to(run.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    assert differences(other, run) == []
    other.write_record(record_of(other, 1, 0.99))
    assert any(text.startswith("trial 1: ") for text in differences(other, run))


def test_a_shorter_search_is_compared_with_the_beginning_of_the_undisturbed_one(run: RunFolder) -> None:
    assert snapshot(run).handed_out == Counter({0: 1, 1: 1, 2: 1})
    numbers = {0, 1}
    assert [number for number in (2, 1, 0) if number in numbers] == _order(run, numbers)
