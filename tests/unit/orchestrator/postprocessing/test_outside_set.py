"""Bundles on data of elsewhere: metrics that are not known there, one class alone, and extra images."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished_run import CONFIGS, make_run, pixels

from orchestrator.api.claims import evaluate_bundle, recalibrate_bundle
from orchestrator.cli.main import main
from results.errors import ExportError
from results.export.bundle import export_bundle
from results.export.descriptions import write_manifest
from results.export.exported_model import load_bundle
from results.export.model_card import model_card
from results.export.model_file import describe_model, sha256_of
from results.scores.operating_point import Operation
from trainables.common.errors import OneClassError

pytestmark = pytest.mark.slow

IMAGES = 128


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundle")
    run = make_run(place, {0: CONFIGS[0]}, backbones=("scratch4",))
    export_bundle(run, place / "bundle", trial=0, held_out_limit=4)
    return place / "bundle"


@pytest.fixture(scope="module")
def of_own_metric(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a search by a metric of a module that is not on this machine."""
    edited = Path(shutil.copytree(bundle, tmp_path_factory.mktemp("own") / "bundle"))
    manifest = json.loads((edited / "manifest.json").read_text())
    scores = manifest["out_of_fold"]
    scores |= {
        "metric": "nowhere:M",
        "value": scores["auc"],
        "metrics": scores["metrics"] | {"nowhere:M": 0.7},
    }
    manifest["thresholds"] |= {"nowhere:M": 0.123}
    (edited / "manifest.json").write_text(json.dumps(manifest))
    return edited


def elsewhere(path: Path, **changes: Any) -> str:
    """Labelled images of another hospital as an .npz file; returns its path."""
    arrays = {
        "images": pixels("uint16", images=IMAGES, seed=1),
        "labels": np.arange(IMAGES) % 2,
        "patient": np.array([f"E{row // 2}-{row % 2}" for row in range(IMAGES)]),
    }
    np.savez(path / "elsewhere.npz", **(arrays | changes))
    return str(path / "elsewhere.npz")


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    return {"store": str(tmp_path / "store"), "label_codes": "task"}


def logged(tmp_path: Path) -> list[str]:
    return [line for log in (tmp_path / "store").rglob("*.jsonl") for line in log.read_text().splitlines()]


def test_a_bundle_of_a_metric_that_is_not_known_here_is_scored_by_the_others(
    of_own_metric: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    found = evaluate_bundle(of_own_metric, elsewhere(tmp_path), **options)
    assert found.main == "auc"
    assert 0 <= found.metrics["auc"].estimate <= 1
    assert "nowhere:M" not in found.metrics
    assert any(
        "nowhere:M is not computed, since this metric is not known here" in note for note in found.notes
    )
    assert len(logged(tmp_path)) == 2  # the look, and its scores


def test_a_bundle_of_a_metric_that_is_not_known_here_is_recalibrated_for_what_is_asked(
    of_own_metric: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    at = Operation.of(at="sensitivity=0.9")
    recalibrate_bundle(of_own_metric, elsewhere(tmp_path), tmp_path / "local", operation=at, **options)
    card = (tmp_path / "local" / "model_card.md").read_text()
    assert "| nowhere:M, by which it was chosen |" in card
    assert "Out of fold, nowhere:M " in (tmp_path / "local" / "model_card.json").read_text()


def test_a_card_names_the_metric_of_a_threshold_that_is_not_known_here(of_own_metric: Path) -> None:
    manifest = load_bundle(of_own_metric).manifest
    card = model_card(manifest.model_copy(update={"best_for": "nowhere:M"}))
    assert "chosen for nowhere:M out of fold" in card
    assert "nowhere:M at " in card


def test_data_of_one_class_are_refused_before_the_look_is_logged(
    bundle: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    # The images of the other class are those of training, whose patients are left out.
    training = pixels("uint16")
    benign = np.arange(0, IMAGES, 2)
    data = elsewhere(
        tmp_path,
        images=np.concatenate([pixels("uint16", images=IMAGES, seed=1)[benign], training[1::2]]),
        labels=np.array([0] * len(benign) + [1] * 20),
        patient=np.array([f"E{row}" for row in range(len(benign) + 20)]),
    )
    with pytest.raises(OneClassError, match="an evaluation needs two classes, found only class 0"):
        evaluate_bundle(bundle, data, **options)
    assert logged(tmp_path) == []


def test_extra_images_change_neither_scores_nor_a_recalibration(
    bundle: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    images = pixels("uint16", images=IMAGES + 30, seed=1)
    labels, patients = np.arange(IMAGES) % 2, np.array([f"E{row // 2}-{row % 2}" for row in range(IMAGES)])
    flipped = 1 - np.arange(30) % 2
    of_extra = np.array([f"X{row}" for row in range(30)])
    (tmp_path / "with").mkdir()
    plain = elsewhere(tmp_path, images=images[:IMAGES])
    both = elsewhere(
        tmp_path / "with",
        images=images,
        labels=np.concatenate([labels, flipped]),
        patient=np.concatenate([patients, of_extra]),
        split=np.array(["train"] * IMAGES + ["extra"] * 30),
    )
    first, second = (evaluate_bundle(bundle, data, **options) for data in (plain, both))
    assert (second.images, second.left_out) == (IMAGES, 0)
    assert second.metrics == first.metrics
    assert any("30 extra images of" in note and "are left out" in note for note in second.notes)
    updates = [
        recalibrate_bundle(bundle, data, tmp_path / f"local {place}", **options).bundle
        for place, data in enumerate((plain, both))
    ]
    assert updates[0].update == updates[1].update
    assert updates[0].manifest.threshold == updates[1].manifest.threshold
    assert updates[1].manifest.recalibration is not None
    assert updates[1].manifest.recalibration.images == IMAGES


def test_data_whose_images_of_the_task_are_all_extra_are_refused(
    bundle: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    codes = np.arange(IMAGES) % 3  # normal images have no part in the task
    data = elsewhere(tmp_path, labels=codes, split=np.where(codes == 0, "train", "extra"))
    of_task = int((codes > 0).sum())
    said = rf"all {of_task} images of .* that have a part in the task are extra ones, and those are never"
    with pytest.raises(ExportError, match=said):
        evaluate_bundle(bundle, data, **(options | {"label_codes": "pisa"}))
    assert logged(tmp_path) == []


def test_the_next_command_reads_the_task_and_counts_looks_in_the_store_that_were_given(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(shutil.copytree(bundle, tmp_path / "own"))
    manifest = load_bundle(bundle).manifest.model_copy(update={"task": "my_question"})
    describe_model(own / "model.onnx", manifest)
    write_manifest(own, manifest.model_copy(update={"sha256": sha256_of(own / "model.onnx")}))
    (tmp_path / "my tasks.yaml").write_text("my_question:\n  classes: [benign, malignant]\n")
    data = elsewhere(tmp_path)
    monkeypatch.chdir(tmp_path)
    given = ["--task", "my tasks.yaml", "--store", "looks", "--runs", "other runs"]
    assert main(["recalibrate", "own", "--data", data, "--out", "local", *given]) == 0
    (command,) = re.findall(r"next: (.+)", capsys.readouterr().err)
    words = ["orchestrate", "evaluate", "local", "--data", "OTHER"]
    assert shlex.split(command) == [*words, *given]
    np.savez(
        tmp_path / "third.npz", **(dict(np.load(data)) | {"images": pixels("uint16", images=IMAGES, seed=2)})
    )
    pasted = ["third.npz" if word == "OTHER" else word for word in shlex.split(command)]
    assert main(pasted[1:]) == 0
    assert list((tmp_path / "looks" / "test_openings").iterdir())
    assert main(["recalibrate", "own", "--data", data, "--out", "again", "--task", "my tasks.yaml"]) == 0
    (command,) = re.findall(r"next: (.+)", capsys.readouterr().err)
    assert "--store" not in command
    assert "--runs" not in command
