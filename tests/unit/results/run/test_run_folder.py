"""The run folder: what is written is read back, whole or not at all, and runs are found by name."""

import datetime
import os
from pathlib import Path

import numpy as np
import pytest
import records
from pydantic import ValidationError

from results.errors import RunError
from results.run.finding import find_run
from results.run.records import OutOfFold, TrialRecord
from results.run.run_folder import RunFolder, write_atomically
from trainables.features.feature_use import FeatureUse

NOW = datetime.datetime(2026, 1, 1, 12, 30, tzinfo=datetime.UTC)


def search_record(**changes):
    asked = {
        "fingerprint": "abc",
        "space": "module:function",
        "space_context": {"size_px": 64},
        "fixed_params": {"optimizer.lr": 0.001},
        "backbones": ("vgg16",),
        "left_out": {"resnet50": "weights are missing: größer als erlaubt"},
        "trial_minutes": 1.0,
        "folds": 5,
        "versions": {"torch": "2.11"},
        "started_at": NOW,
    }
    return records.search_record(**(asked | changes))


def trial_record(number, **changes):
    asked = {"state": "complete", "value": 0.5, "config": {}, "fingerprint": "abc", "seed": 1}
    asked["finished_at"] = NOW
    return TrialRecord(number=number, **{**asked, **changes})


def out_of_fold():
    return OutOfFold(
        rows=np.array([3, 4]),
        labels=np.array([0, 1]),
        folds=np.array([0, 1]),
        groups=np.array(["P_00001", "P_00002"]),
        probabilities=np.array([[0.75, 0.25], [0.1, 0.9]], dtype=np.float32),
    )


def make_run(path, **changes):
    run = RunFolder(path)
    run.write_search(search_record(**changes))
    return run


# -- round trips


def test_a_search_is_read_back_as_it_was_asked(tmp_path):
    run = make_run(tmp_path / "run")
    assert run.search() == search_record()


def test_a_folder_without_a_search_is_no_run(tmp_path):
    with pytest.raises(RunError, match=r"is not a run folder: it holds no search\.yaml"):
        RunFolder(tmp_path).search()


def test_a_search_that_cannot_be_read_for_an_error_without_text_is_named(tmp_path, monkeypatch):
    run = make_run(tmp_path / "benign_malignant" / "first")

    def without_text(content):
        raise ValueError

    monkeypatch.setattr("results.run.run_folder.load_yaml", without_text)
    with pytest.raises(RunError, match=r"search\.yaml cannot be read: ValueError; was it edited by hand"):
        run.search()


def test_a_trial_is_read_back_as_it_ended(tmp_path):
    record = trial_record(
        7,
        state="pruned",
        cause="pruner",
        value=0.1 + 0.2,
        best_epoch=3,
        fold_metrics=({"auc": 0.5}, {"auc": 1 / 3}),
        collapsed_folds=(1,),
        prefix=FeatureUse(kind="stored views", stage="block4", views=8, computed=0, read=8),
    )
    run = RunFolder(tmp_path)
    run.write_record(record)
    assert run.record(7) == record
    assert (tmp_path / "trials" / "0007" / "record.json").is_file()


def test_a_trial_that_was_never_scored_has_no_value_to_show():
    assert trial_record(3).scored_value == 0.5
    with pytest.raises(RunError, match="trial 3 has no value: it is failed, and no epoch was scored"):
        _ = trial_record(3, state="failed", value=None).scored_value


def test_a_trial_that_has_not_ended_has_no_record(tmp_path):
    (tmp_path / "trials" / "0003").mkdir(parents=True)
    run = RunFolder(tmp_path)
    assert run.record(3) is None
    assert run.records() == []


def test_records_come_in_order_of_their_numbers_beyond_four_digits(tmp_path):
    run = RunFolder(tmp_path)
    for number in (10_000, 9_999, 2):
        run.write_record(trial_record(number))
    (tmp_path / "trials" / "notes").mkdir()
    assert [record.number for record in run.records()] == [2, 9_999, 10_000]


def test_a_run_without_trials_has_no_records(tmp_path):
    assert RunFolder(tmp_path).records() == []


def test_out_of_fold_predictions_are_read_back_with_their_types(tmp_path):
    run = RunFolder(tmp_path)
    run.write_out_of_fold(0, out_of_fold())
    found = run.out_of_fold(0)
    for name in OutOfFold.ARRAYS:
        kept, wanted = getattr(found, name), getattr(out_of_fold(), name)
        assert kept.dtype == wanted.dtype
        assert (kept == wanted).all()


def test_missing_predictions_name_the_trial(tmp_path):
    with pytest.raises(RunError, match="trial 5 has no out-of-fold predictions; only complete trials have"):
        RunFolder(tmp_path).out_of_fold(5)


def test_every_file_lies_inside_the_run(tmp_path):
    run = RunFolder(tmp_path)
    files = [
        run.search_file,
        run.split_file,
        run.study_file,
        run.tensorboard,
        run.leaderboard_file,
        run.openings_file,
        run.trial(1),
        run.ensemble_file("best"),
    ]
    assert all(path.is_relative_to(tmp_path) for path in files)
    assert len(set(files)) == 8


# -- records


def test_a_record_holds_no_nan():
    with pytest.raises(ValidationError, match="finite number"):
        trial_record(0, value=float("nan"))
    with pytest.raises(ValidationError, match="finite number"):
        trial_record(0, fold_metrics=({"auc": float("inf")},))


def test_a_record_refuses_unknown_keys_states_and_numbers():
    with pytest.raises(ValidationError, match="Extra inputs"):
        trial_record(0, colour="red")
    with pytest.raises(ValidationError, match="'complete', 'pruned' or 'failed'"):
        trial_record(0, state="done")
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        trial_record(-1)


def test_a_record_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        trial_record(0).value = 1.0


def test_json_refuses_nan_and_keeps_the_former_file(tmp_path):
    run, path = RunFolder(tmp_path), tmp_path / "some.json"
    run.write_json(path, {"auc": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_json(path, {"auc": float("nan")})
    assert path.read_text() == '{\n "auc": 0.5\n}\n'


# -- whole or not at all


@pytest.mark.parametrize("content", ["text: größer\n", b"\x00\xff"])
def test_text_and_bytes_are_written_with_their_folders(tmp_path, content):
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, content)
    wanted = content.encode() if isinstance(content, str) else content
    assert path.read_bytes() == wanted
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_breaks_leaves_the_former_file_and_no_rest(tmp_path, monkeypatch, broken):
    path = tmp_path / "record.json"
    write_atomically(path, "former")

    def no_space(*_):
        raise OSError("no space left")

    monkeypatch.setattr(*((os, "fsync") if broken == "fsync" else (Path, "replace")), no_space)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, "later")
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]
    assert path.read_text() == "former"


# -- finding runs


def test_a_run_is_found_by_path_by_task_and_name_and_by_name(tmp_path):
    run = make_run(tmp_path / "runs" / "benign_malignant" / "first")
    root = tmp_path / "runs"
    for text in (str(run.path), "benign_malignant/first", "first", "latest"):
        assert find_run(text, root) == run


def test_latest_is_the_run_that_was_started_last(tmp_path):
    older = make_run(tmp_path / "benign_malignant" / "a")
    newer = make_run(tmp_path / "benign_malignant" / "b")
    os.utime(older.search_file, (2_000_000_000, 2_000_000_000))
    os.utime(newer.search_file, (1_000_000_000, 1_000_000_000))
    assert find_run("latest", tmp_path) == older


def test_latest_of_no_runs_says_how_to_start_one(tmp_path):
    with pytest.raises(RunError, match="start one with: orchestrate search benign_malignant"):
        find_run("latest", tmp_path)


def test_a_name_of_several_runs_lists_them(tmp_path):
    for task in ("benign_malignant", "normal_abnormal"):
        make_run(tmp_path / task / "first")
    with pytest.raises(RunError, match=r"'first' names several runs: .*benign_malignant/first"):
        find_run("first", tmp_path)


def test_an_unknown_run_lists_the_known_ones(tmp_path):
    make_run(tmp_path / "benign_malignant" / "first")
    with pytest.raises(RunError, match=r"no run 'second': .* Known: benign_malignant/first\. .* start it"):
        find_run("second", tmp_path)
    with pytest.raises(RunError, match="Known: none"):
        find_run("no/such/run", tmp_path / "elsewhere")


def test_one_process_at_a_time_runs_a_search(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    refused = pytest.raises(RunError, match="is being searched by another process")
    with run.exclusive(), refused, run.exclusive():
        pass
    with run.exclusive():
        pass
