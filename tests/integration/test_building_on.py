"""From a recipe to a search that builds on its trial, and to a file that takes pairs, with real Ray."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from test_search import orchestrate

from results.run.run_folder import RunFolder
from trainables.data.split_record import read_split

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

HERE = ("--data", "pairs.npz", "--offline", "--address", "local", "--epochs", "1", "--workers", "1")


def write_pairs(folder: Path) -> None:
    """48 pairs of 24 patients in Pisa's codes; malignant abnormalities are bright, calcifications striped."""
    random = np.random.default_rng(0)
    findings = np.tile([1, 2, 3, 4], 12)
    images = random.integers(0, 20_000, (96, 48, 48))
    images[1::2][np.isin(findings, (2, 4)), 16:32, 16:32] += 20_000
    images[1::2, ::4][np.isin(findings, (3, 4))] += 20_000
    labels = np.zeros(96, dtype=np.int64)
    labels[1::2] = findings
    patients = np.array([f"p{index // 4:02d}" for index in range(96)])
    np.savez(folder / "pairs.npz", images=images.astype(np.uint16), labels=labels, patient=patients)
    for name, row in (("healthy", 0), ("lesion", 1)):
        cv2.imwrite(str(folder / f"{name}.png"), images[row].astype(np.uint16))


def test_a_search_builds_on_a_recipes_trial_and_exports_pairs_that_are_told_their_type(
    tmp_path: Path,
) -> None:
    write_pairs(tmp_path)
    recipe = ("--recipe", "E004-SCRATCH_6", "--folds", "3", "--set", "model.head.hidden=16")
    orchestrate(tmp_path, "search", "mass_calcification", *HERE, "--name", "first", *recipe)
    first = RunFolder(tmp_path / "runs/mass_calcification/first")
    assert first.search().recipes == ("E004-SCRATCH_6",)
    assert [record.config["optimizer.name"] for record in first.records()] == ["rmsprop"]

    held = {
        "model.backbone": "scratch4",
        "model.weights": "start",
        "model.trained_stages": "all",
        "model.pair": "diff",
        "model.type_input": "probability",
        "model.head.hidden": "16",
        "training.first_phase": "none",
    }
    fixed = [part for name, value in held.items() for part in ("--set", f"{name}={value}")]
    said = orchestrate(
        tmp_path,
        *("search", "benign_malignant", *HERE, "--name", "second", "--trials", "1"),
        *("--start-from", "first", "--type-from", "first:0", *fixed),
    )
    assert "its folds and sealed test part hold here too" in " ".join(said.stderr.split())
    second = RunFolder(tmp_path / "runs/benign_malignant/second")
    assert read_split(second.split_file).fold_of_group == read_split(first.split_file).fold_of_group
    assert [record.state for record in second.records()] == ["complete"]

    orchestrate(tmp_path, "export", "second", "--trial", "0", "--out", "bundle")
    refused = orchestrate(tmp_path, "predict", "bundle", "lesion.png", code=2)
    assert "--baseline" in refused.stderr
    predicted = orchestrate(
        tmp_path, "predict", "bundle", "lesion.png", "--baseline", "healthy.png", "--format", "csv"
    )
    assert "lesion.png" in predicted.stdout
