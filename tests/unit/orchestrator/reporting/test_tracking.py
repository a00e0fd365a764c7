"""Tracking: what is logged to MLflow and to Weights & Biases, both on the disk alone."""

import contextlib
import json
import sys
import types
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from reported_run import make_reported_run

from orchestrator import SearchResult
from orchestrator.callbacks import Callback
from orchestrator.reporting.tracker import Scalars, TrackedSearch, Tracker, plain_settings
from orchestrator.reporting.tracking import TrackingCallback, tracker_named, tracking_callbacks
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError, UnknownNameError

BLOCK, MARK = 32_768, 7  # bytes of a block of a log as LevelDB writes it, and of a mark in it


def follow(run: RunFolder, callback: Callback) -> None:
    """The events of a search whose trials have ended."""
    callback.on_search_start(run, run.search())
    for record in run.records():
        for epoch in (1, 2):
            scalars = {"auc": 0.5 + epoch / 10, "loss/train": 1.0 / epoch, "fold_1/auc": 0.4}
            callback.on_epoch_end(record.number, epoch, 2, 0.6, scalars)
        callback.on_trial_end(record)
    callback.on_search_end(SearchResult(run, is_interrupted=False))


def test_an_unknown_tracker_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="mlflow"):
        tracking_callbacks(["mlfow"])
    assert tracking_callbacks([]) == ()


def test_a_package_that_is_missing_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"needs the package wandb.*pip install '\.\[wandb\]'"):
        tracker_named("wandb")


def test_a_trial_that_is_run_again_has_the_epochs_of_its_last_run_alone(tmp_path: Path) -> None:
    logged: list[Mapping[int, Scalars]] = []

    class Log(TrackedSearch):
        def log_trial(self, record: TrialRecord, curves: Mapping[int, Scalars], scores: Scalars) -> None:
            logged.append(curves)

        def end(self, scores: Scalars, files: list[Path], *, is_interrupted: bool) -> None:
            pass

    run = make_reported_run(tmp_path, trials=2, with_ensembles=False)
    callback = TrackingCallback(Tracker("tool", "os", "tool", lambda run, record: Log()))
    callback.on_search_start(run, run.search())
    record = run.records()[0]
    for epoch in (1, 2, 3, 4, 2):  # it went on from its checkpoint, and was stopped then
        callback.on_epoch_end(record.number, epoch, 9, 0.5, {"auc": 0.5})
    callback.on_trial_end(record)
    callback.on_search_end(SearchResult(run, is_interrupted=False))
    assert [list(curves) for curves in logged] == [[1, 2]]


class Recipient(TrackedSearch):
    """A tool that keeps all that it is given, as text."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.told = ""

    def opened(self, run: RunFolder, record: SearchRecord) -> TrackedSearch:
        self.run = run
        return self

    def log_trial(self, record: TrialRecord, curves: Mapping[int, Scalars], scores: Scalars) -> None:
        self.told += f"{plain_settings(record)} {curves} {scores}"

    def end(self, scores: Scalars, files: list[Path], *, is_interrupted: bool) -> None:
        self.told += str(scores)
        self.files = {str(path.relative_to(self.run.path)): path.read_text() for path in files}


def test_what_leaves_is_the_record_the_leaderboard_and_the_ensembles_and_names_no_patient(
    tmp_path: Path,
) -> None:
    run = make_reported_run(tmp_path, trials=2)
    run.leaderboard_file.write_text("rank,trial\n1,1\n")
    run.openings_file.write_text('{"patients": ["patient-1"]}\n')
    recipient = Recipient()
    follow(run, TrackingCallback(Tracker("recipient", "os", "recipient", recipient.opened)))
    ensembles = {f"ensembles/{path.name}" for path in run.ensembles.glob("*.json")}
    assert ensembles
    assert set(recipient.files) == {"search.yaml", "leaderboard.csv"} | ensembles
    assert "patient-1" in run.split_file.read_text(), "what stays here names patients"
    assert not any("patient-" in text for text in (recipient.told, *recipient.files.values()))


@pytest.mark.long
def test_mlflow_has_a_run_for_the_search_and_one_below_it_for_each_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="MLflow is an extra")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = make_reported_run(tmp_path, trials=2)
    (callback,) = tracking_callbacks(["mlflow"])
    follow(run, callback)
    client = tracking.MlflowClient(tracking_uri=(tmp_path / "runs" / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("benign_malignant")
    found = client.search_runs([experiment.experiment_id])
    parents = [one for one in found if "mlflow.parentRunId" not in one.data.tags]
    children = [one for one in found if "mlflow.parentRunId" in one.data.tags]
    assert len(parents) == 1
    assert len(children) == 3
    parent = parents[0]
    assert {one.data.tags["mlflow.parentRunId"] for one in children} == {parent.info.run_id}
    best = max(record.value or 0.0 for record in run.records())
    assert parent.data.metrics["best/auc"] == pytest.approx(best)
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"search.yaml", "ensembles"} <= names
    whole = next(one for one in children if one.data.params["state"] == "complete")
    assert whole.data.params["model.backbone"] == "efficientnet_lite0"
    curve = client.get_metric_history(whole.info.run_id, "auc")
    assert [(one.step, round(one.value, 3)) for one in curve] == [(1, 0.6), (2, 0.7)]
    assert "fold_1/auc" not in whole.data.metrics
    stopped = next(one for one in children if one.data.params["state"] == "pruned")
    assert "final/auc" not in stopped.data.metrics


@pytest.mark.long
def test_a_search_that_goes_on_goes_on_with_its_run_of_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="MLflow is an extra")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = make_reported_run(tmp_path, trials=1, with_ensembles=False)
    for _ in range(2):
        (callback,) = tracking_callbacks(["mlflow"])
        callback.on_search_start(run, run.search())
        callback.on_search_end(SearchResult(run, is_interrupted=False))
    client = tracking.MlflowClient(tracking_uri=(tmp_path / "runs" / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("benign_malignant")
    assert len(client.search_runs([experiment.experiment_id])) == 1


@pytest.mark.long
def test_a_new_search_in_the_folder_of_another_has_a_run_of_mlflow_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="MLflow is an extra")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = make_reported_run(tmp_path, trials=1, with_ensembles=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # as it is set where a search is logged
    client = tracking.MlflowClient(tracking_uri=(tmp_path / "runs" / "mlflow").as_uri())

    def parents() -> list[str]:
        (callback,) = tracking_callbacks(["mlflow"])
        callback.on_search_start(run, run.search())
        callback.on_search_end(SearchResult(run, is_interrupted=False))
        experiment = client.get_experiment_by_name("benign_malignant")
        return [one.info.run_id for one in client.search_runs([experiment.experiment_id])]

    (first,) = parents()
    client.delete_tag(first, "orchestrate.started")  # as earlier versions have made it
    assert parents() == [first], "its search has begun before"
    later = datetime.now(UTC)
    run.write_search(run.search().model_copy(update={"started_at": later}))
    second, _ = parents()
    assert second != first
    assert client.get_run(second).data.tags["orchestrate.started"] == later.isoformat()
    assert len(parents()) == 2, "it goes on with its own"


@pytest.mark.long
def test_a_trial_that_is_run_again_is_under_its_name_once_in_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="MLflow is an extra")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = make_reported_run(tmp_path, trials=1, with_ensembles=False)
    for _ in range(2):  # the second session has run its trials again
        (callback,) = tracking_callbacks(["mlflow"])
        follow(run, callback)
    client = tracking.MlflowClient(tracking_uri=(tmp_path / "runs" / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("benign_malignant")
    children = [
        one.data.tags
        for one in client.search_runs([experiment.experiment_id])
        if "mlflow.parentRunId" in one.data.tags
    ]
    names = [tags["mlflow.runName"] for tags in children if "orchestrate.replaced_by" not in tags]
    assert len(names) == len(set(names)) == len(run.records())
    replaced = [tags["mlflow.runName"] for tags in children if "orchestrate.replaced_by" in tags]
    assert sorted(replaced) == sorted(f"{name} (run again)" for name in names)


class WandbLog(contextlib.nullcontext[Any]):
    """A run of Weights & Biases that keeps nothing."""

    def __init__(self) -> None:
        super().__init__(self)
        self.summary: dict[str, object] = {}

    def log(self, *_: object, **__: object) -> None:
        """Take scalars."""

    save = log


def test_a_trial_that_is_run_again_keeps_its_identity_in_wandb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[dict[str, Any]] = []

    def init(**options: Any) -> WandbLog:
        opened.append(options)
        return WandbLog()

    module = types.SimpleNamespace(init=init, Settings=lambda **options: None)
    monkeypatch.setitem(sys.modules, "wandb", module)
    run = make_reported_run(tmp_path, trials=1, with_ensembles=False)
    for _ in range(2):
        follow(run, TrackingCallback(tracker_named("wandb")))
    run.write_search(run.search().model_copy(update={"started_at": datetime.now(UTC)}))  # another search
    follow(run, TrackingCallback(tracker_named("wandb")))
    each = len(opened) // 3
    first, second, other = (
        {one["name"]: one["id"] for one in opened[place : place + each]} for place in (0, each, 2 * each)
    )
    assert first == second
    assert len(set(first.values())) == len(first) == len(run.records()) + 1
    assert not set(first.values()) & set(other.values())
    assert not any("resume" in one for one in opened)  # which would put new epochs behind those before


def told(path: Path) -> bytes:
    """What a file of Weights & Biases holds, without the marks of its blocks, which may part a word."""
    data, place, found = path.read_bytes(), MARK, list[bytes]()
    while place + MARK <= len(data):
        left = BLOCK - place % BLOCK
        if left < MARK:
            place += left
            continue
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        found.append(data[place + MARK : place + MARK + length])
        place += MARK + length
    return b"".join(found)


@pytest.mark.long
def test_wandb_writes_its_files_below_the_run_folder_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="Weights & Biases is an extra")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = make_reported_run(tmp_path, trials=1, with_ensembles=False)
    (callback,) = tracking_callbacks(["wandb"])
    follow(run, callback)
    folders = sorted((run.path / "wandb").glob("offline-run-*"))
    assert len(folders) == 3  # two trials and the search
    kept = [told(next(folder.glob("*.wandb"))) for folder in folders]  # of one second, in any order
    assert [b"best/auc" in one for one in kept].count(True) == 1
    assert any(
        b"final/auc" in one and b"efficientnet_lite0" in one and b"best/auc" not in one for one in kept
    )


@pytest.mark.long
def test_no_image_is_among_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow.tracking", reason="MLflow is an extra")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = make_reported_run(tmp_path, trials=2)
    (run.path / "explanations").mkdir()
    (run.path / "explanations" / "row-1.png").write_bytes(b"\x89PNG")
    (callback,) = tracking_callbacks(["mlflow"])
    follow(run, callback)
    artifacts = [path for path in (tmp_path / "runs" / "mlflow").rglob("artifacts/**/*") if path.is_file()]
    assert artifacts
    assert {path.suffix for path in artifacts} <= {".yaml", ".csv", ".json"}
    json.loads(next(path for path in artifacts if path.suffix == ".json").read_text())
