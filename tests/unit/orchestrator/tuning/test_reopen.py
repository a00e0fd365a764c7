"""Reopening of a search: all that it needs is looked at before a Ray is started or a trial handed out."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from worker_run import worker_run

from cluster.connect import Connection
from cluster.resources import Machine
from orchestrator.study.method import method_of
from orchestrator.study.study import OptunaStudy
from orchestrator.tuning.reopen import ResumeOptions, reopen_search, resume_options
from orchestrator.tuning.setup import deadline_of, study_place, write_initial_points
from results.run.records import OutOfFold, TrialRecord
from results.run.refit_records import refit_folder
from results.run.run_folder import RunFolder
from results.run.versions import package_versions
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.learned import tried_digest, tried_elsewhere
from search_spaces.registry import file_in_working_folder, space_named
from trainables.common.errors import ConfigError, SplitError, UnknownNameError, WeightsError
from trainables.config.trial_config import flatten
from trainables.data.patches import PatchSet
from trainables.runtime.checkpoint import write_fold_weights

POINT = InitialPoint("ours", {"model.backbone": "efficientnet_lite0", "training.epochs": 3})
SPACE = """
def space(trial, context):
    rate = trial.suggest_float("optimizer.lr", 0.1, 0.2)
    return {"model.backbone": "efficientnet_lite0", "optimizer.lr": rate}
"""


PREDICTIONS = OutOfFold(
    rows=np.arange(4),
    labels=np.arange(4) % 2,
    folds=np.arange(4) // 2,
    groups=np.array(["p0", "p1", "p2", "p3"]),
    probabilities=np.full((4, 2), 0.5, dtype=np.float32),
)


def never() -> Connection:
    raise AssertionError("no Ray is needed")


def connect() -> Connection:
    return Connection("x:1", True, 2.0, 0.0, 1, "")


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A search of four trials: 0 complete, 1 and 2 failed, 3 runs. It has a space of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_space.py").write_text(SPACE)
    made = worker_run(
        bright_patches,
        tmp_path,
        space="own_space:space",
        runs=tmp_path / "runs",
        versions=package_versions(),
        trials=4,
    )
    run = RunFolder(tmp_path / "runs" / "benign_malignant" / "first")
    run.path.parent.mkdir(parents=True)
    made.path.rename(run.path)
    write_initial_points(run, [POINT])
    study = study_of(run)
    study.enqueue([POINT])
    outcomes: list[tuple[Any, Any]] = [
        ("complete", None),
        ("failed", "lost_worker"),
        ("failed", "exception"),
    ]
    for state, cause in outcomes:
        spec = study.ask()
        assert spec is not None
        record = TrialRecord(
            number=spec.number,
            state=state,
            cause=cause,
            value=0.7 if state == "complete" else None,
            config=flatten(spec.config.model_dump(mode="json")),
            params=json.loads(json.dumps(spec.params)),
            recipe=spec.recipe,
            fingerprint=bright_patches.fingerprint,
            seed=0,
            finished_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        if state == "complete":
            run.write_out_of_fold(spec.number, PREDICTIONS)
        run.add_record(record)
        study.tell(record)
    study.ask()
    return run


def study_of(run: RunFolder) -> OptunaStudy:
    record = run.search()
    return OptunaStudy(
        study_place(run, record).open(is_new=True),
        space_named(record.request.space_name),
        SpaceContext.model_validate(record.space_context),
        {},
        replace(method_of(record), trials=4),
    )


def reopened(run: RunFolder, **options: Any) -> tuple[list[int], list[str]]:
    """Numbers of the trials that are handed out, and what was said."""
    said: list[str] = []
    prepared = reopen_search(run, connect, said.append, ResumeOptions(**options))
    found = []
    while (spec := prepared.study.ask()) is not None:
        found.append(spec.number)
    return sorted(found), said


def test_trials_whose_worker_died_are_tried_again_and_others_stay(run: RunFolder) -> None:
    numbers, said = reopened(run)
    assert numbers == [1, 3]
    assert said == [
        f"search space: own_space:space from {Path('own_space.py').resolve()}",
        "2 of 4 trials are finished and stay; 1 that were running are run again; so are 1 that failed "
        "(lost_worker)",
    ]
    assert [record.number for record in run.records()] == [0, 2]
    assert (run.trial(1) / "record.json.failed").exists()


@pytest.mark.parametrize(
    ("retry", "numbers"),
    [
        (["exception"], [1, 2, 3]),
        (["nan"], [1, 3]),
        (["exception,nan"], [1, 2, 3]),
        ([], [3]),
        (None, [1, 3]),
    ],
)
def test_causes_that_the_user_names_are_tried_again_besides_those_that_always_are(
    run: RunFolder, retry: list[str] | None, numbers: list[int]
) -> None:
    assert reopened(run, retry=resume_options(retry, None).retry)[0] == numbers


def test_an_unknown_cause_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown cause 'lost_workers'; did you mean 'lost_worker'"):
        resume_options(["lost_workers"], None)


def test_a_complete_trial_is_never_tried_again(run: RunFolder) -> None:
    record = run.record(0)
    assert record is not None
    run.write_record(record.model_copy(update={"cause": "time_budget"}))
    assert 0 not in reopened(run, retry={"time_budget"})[0]


def test_the_time_of_a_session_is_not_that_of_the_search(run: RunFolder) -> None:
    run.write_search(run.search().with_options(minutes=60.0).model_copy(update={"ended": "time"}))
    prepared = reopen_search(run, connect, lambda message: None, minutes=10.0)
    assert deadline_of(prepared.timed, 0.0) == 600.0
    assert (prepared.record.request.minutes, run.search().request.minutes) == (60.0, 60.0)
    assert run.search().ended is None  # it runs again
    assert reopen_search(run, connect, lambda message: None).timed.request.minutes == 60.0
    before = run.search_file.read_bytes()
    with pytest.raises(ConfigError, match="--minutes"):
        reopen_search(run, never, lambda message: None, minutes=-1.0)
    assert run.search_file.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{", '{"number": 0}'])
def test_a_trial_with_a_damaged_record_is_run_again(run: RunFolder, content: str) -> None:
    run.record_file(0).write_text(content)
    numbers, said = reopened(run)
    assert numbers == [0, 1, 3]
    assert any("0000/record.json is damaged" in message for message in said)
    assert (run.trial(0) / "record.json.damaged").read_text() == content
    assert "1 with damaged files, 1 that failed (lost_worker)" in said[-1]


def test_the_checkpoint_of_a_trial_that_has_ended_goes(run: RunFolder) -> None:
    for number in range(4):
        run.write_checkpoint(number, b"epochs")
    reopened(run)
    left = [number for number in range(4) if run.checkpoint_file(number).exists()]
    assert left == [1, 3]  # which are run again


def test_a_trial_with_damaged_predictions_is_run_again(run: RunFolder) -> None:
    (run.trial(0) / "oof.npz").write_bytes(b"hello")
    assert 0 in reopened(run)[0]


def test_a_complete_trial_without_predictions_is_run_again(run: RunFolder) -> None:
    (run.trial(0) / "oof.npz").unlink()
    numbers, said = reopened(run)
    assert 0 in numbers
    assert any("oof.npz is damaged: it is not there" in message for message in said)


def test_a_trial_whose_record_is_gone_is_run_again(run: RunFolder) -> None:
    run.record_file(0).unlink()
    numbers, said = reopened(run)
    assert 0 in numbers
    assert "1 whose record is gone" in said[-1]


def test_a_lost_study_costs_no_finished_trial(run: RunFolder) -> None:
    run.study_file.unlink()
    numbers, said = reopened(run, retry=())
    assert numbers == [3]
    assert any("the study is made anew from 3 records" in message for message in said)


def test_a_finished_search_starts_no_ray(run: RunFolder) -> None:
    finished = run.search().with_options(trials=3)
    run.study_file.unlink()
    prepared = reopen_search(run, never, lambda message: None, ResumeOptions(retry=()), record=finished)
    assert (prepared.has_more, prepared.slots) == (False, 0)


def test_a_search_goes_on_only_where_all_machines_see_its_shared_store(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = run.search().request.model_copy(update={"shared_store": tmp_path / "shared"})
    record = run.search().model_copy(update={"request": request})
    faults = {"one (10.0.0.1)": "it is not there"}
    monkeypatch.setattr("orchestrator.tuning.ray_shared_store.faults_on", lambda *_: faults)

    def joined() -> Connection:
        return replace(connect(), machines=(Machine(2, 0, 2**34, "a"),))

    with pytest.raises(ConfigError, match=r"shared must be a folder .* on one \(10.0.0.1\) it is not there"):
        reopen_search(run, joined, lambda said: None, record=record)
    faults.clear()
    assert reopen_search(run, joined, lambda said: None, record=record).has_more


def test_a_search_that_goes_on_names_machines_with_other_versions(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"one (10.0.0.1)": {"torch": "0.1"}}
    monkeypatch.setattr("orchestrator.tuning.ray_versions.versions_on", lambda *_: there)
    said = list[str]()

    def joined() -> Connection:
        return replace(connect(), machines=(Machine(2, 0, 2**34, "a"), Machine(2, 0, 2**34, "b")))

    reopen_search(run, joined, said.append)
    assert any("one (10.0.0.1) has" in text and "torch 0.1 (here" in text for text in said)


def without_split(run: RunFolder) -> None:
    run.split_file.unlink()


def without_weights(run: RunFolder) -> None:
    run.write_search(run.search().model_copy(update={"weights": {"efficientnet_lite0": "0" * 64}}))


@pytest.mark.parametrize(
    ("break_it", "error", "message"),
    [
        (without_split, SplitError, "no split at"),
        (without_weights, WeightsError, "is not the file that the search was started with"),
    ],
)
def test_what_every_trial_needs_is_looked_at_before_ray_starts(
    run: RunFolder, break_it: Callable[[RunFolder], None], error: type[Exception], message: str
) -> None:
    break_it(run)
    before = run.search_file.read_bytes()
    with pytest.raises(error, match=message):
        reopen_search(run, never, lambda said: None, record=run.search().with_options(trials=9))
    assert run.search_file.read_bytes() == before


def test_other_versions_of_packages_are_named(run: RunFolder) -> None:
    changed = run.search().versions | {"torch": "1.0", "keras": "3.0"}
    run.write_search(run.search().model_copy(update={"versions": changed}))
    said = reopened(run)[1]
    assert f"(torch 1.0 -> {package_versions()['torch']}, keras 3.0 -> not installed)" in said[0]


def test_a_search_that_began_with_other_experience_goes_on_without(run: RunFolder) -> None:
    run.write_search(run.search().model_copy(update={"tried_elsewhere": "0123456789abcdef"}))
    assert method_of(run.search()).tried == ()
    assert "what configurations did on other sets has changed" in reopened(run)[1][0]
    run.write_search(run.search().model_copy(update={"tried_elsewhere": tried_digest()}))
    assert method_of(run.search()).tried == tried_elsewhere()
    assert not any("other sets" in said for said in reopened(run)[1])


def test_a_run_from_elsewhere_does_not_run_code_of_the_working_folder_unless_the_user_means_it(
    run: RunFolder, tmp_path: Path
) -> None:
    moved = RunFolder(tmp_path / "handed_over")
    shutil.copytree(run.path, moved.path)
    with pytest.raises(ConfigError, match=r"was made elsewhere.*own_space\.py.*add --space own_space:space"):
        reopened(moved)
    assert reopened(moved, space="own_space:space")[0] == [1, 3]
    with pytest.raises(ConfigError, match="this search has the space own_space:space, and keeps it"):
        reopened(moved, space="other:space")


def test_a_space_that_is_installed_is_not_a_file_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SPACE)
    assert file_in_working_folder("mine:space") == tmp_path / "mine.py"
    for name in (
        "benign_malignant",
        "search_spaces.classical_models:frozen_features",
        "os:system",
        "sys:exit",
    ):
        assert file_in_working_folder(name) is None


def with_weights(run: RunFolder, config: dict[str, Any] | None = None) -> Path:
    """Give trial 0 weights of two folds, and an ensemble that holds it; returns the file of the second."""
    record = run.record(0)
    assert record is not None
    write_fold_weights(run.weights_folder(0), [{"bias": torch.zeros(3)}] * 2)
    changes = {"has_weights": True, "config": record.config | (config or {})}
    run.write_record(record.model_copy(update=changes))
    run.write_json(run.ensemble_file("mean"), {"trials": [0]})
    return run.weights_folder(0) / "1.safetensors"


def test_a_trial_with_damaged_weights_keeps_its_score_and_is_not_run_again(run: RunFolder) -> None:
    path = with_weights(run)
    path.write_bytes(path.read_bytes()[:-1])
    numbers, said = reopened(run)
    assert numbers == [1, 3]
    assert any(line.endswith("ends too early; trial 0 goes on without weights") for line in said)
    assert any("an ensemble holds 1 trial whose weights are gone" in line for line in said)
    record = run.record(0)
    assert record is not None
    assert (record.value, record.has_weights) == (0.7, False)
    assert not run.weights_folder(0).exists()
    assert not any("goes on without" in line for line in reopened(run)[1])


def test_a_closed_form_head_with_damaged_weights_is_fitted_again_and_no_ensemble_lost(run: RunFolder) -> None:
    with_weights(run, config={"classical.name": "logistic_regression"}).write_bytes(b"")
    said = reopened(run)[1]
    assert any("goes on without weights" in line for line in said)
    assert not any("an ensemble holds" in line for line in said)


def test_what_was_made_of_a_trial_that_is_run_again_is_set_aside_or_named(run: RunFolder) -> None:
    run.write_json(run.ensemble_file("average"), {"trials": [1, 0]})
    run.write_json(run.ensemble_file("best"), {"trials": [1]})
    refit = refit_folder(run, 0)
    refit.mkdir()
    (refit / "0.safetensors").write_bytes(b"of the trial as it was")
    run.record_file(0).unlink()
    numbers, said = reopened(run)
    assert 0 in numbers
    assert "trial 0 has no result any more: its refit is kept as refit.outdated" in said
    assert [path.name for path in run.trial(0).iterdir() if path.is_dir()] == ["refit.outdated"]
    assert [line for line in said if line.startswith("ensemble ")] == [
        f"ensemble average holds trials 0, 1 without a result; once the search has ended, build it again: "
        f"orchestrate ensemble {run.path}",
        f"ensemble best holds trial 1 without a result; once the search has ended, build it again: "
        f"orchestrate ensemble {run.path}",
    ]


def test_whole_weights_stay(run: RunFolder) -> None:
    path = with_weights(run)
    assert not any("damaged" in line for line in reopened(run)[1])
    assert path.exists()
