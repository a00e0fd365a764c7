"""Runs of which little can be claimed: each verb says what cannot, and why, and sends nobody in circles."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import simulated_run
from nested_run import bright_patches, make_outer
from simulated_trials import simulate

from orchestrator.cli.main import main
from results.run.run_folder import RunFolder

pytestmark = pytest.mark.slow

CLAIMS = ("strata", "calibration", "benefit", "thresholds", "overtuning", "nest", "repeat")


@pytest.fixture(scope="module")
def unsealed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run without a sealed part."""
    return make_outer(tmp_path_factory.mktemp("unsealed"), test_share=0.0)


@pytest.fixture(scope="module")
def naive(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with a naive split, with its ensembles."""
    run = make_outer(tmp_path_factory.mktemp("naive"), is_naive=True)
    assert main(["ensemble", str(run.path), "--no-costs", "--quiet"]) == 0
    return run


@pytest.mark.parametrize("verb", CLAIMS)
def test_of_pruned_trials_only_nothing_can_be_claimed(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = simulated_run.make_run(tmp_path, simulate(trials=3), state="pruned")
    assert main([verb, str(run.path)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "completed" in said or "has none, so nothing can be claimed" in said
    assert f"orchestrate resume {run.path}" in said
    assert "orchestrate ensemble" not in said  # which could do no more


@pytest.mark.parametrize("words", [["compare", "RUN", "RUN:average"], ["export", "RUN", "--out", "OUT"]])
def test_pruned_trials_are_neither_compared_nor_exported(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = simulated_run.make_run(tmp_path, simulate(trials=3), state="pruned")
    typed = [word.replace("RUN", str(run.path)).replace("OUT", str(tmp_path / "out")) for word in words]
    assert main(typed) == 2
    assert "no model of which anything could be claimed" in " ".join(capsys.readouterr().err.split())


def test_without_a_sealed_part_nothing_can_be_confirmed_and_no_verb_says_otherwise(
    unsealed: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = str(unsealed.path), tmp_path / "bundle"
    assert main(["ensemble", path, "--no-costs"]) == 0
    said = capsys.readouterr().err
    assert "orchestrate export" in said
    assert "orchestrate evaluate" not in said
    assert main(["export", path, "--out", str(out), "--at", "sensitivity=0.9"]) == 0
    assert "no patients are left on which it could be confirmed" in " ".join(capsys.readouterr().err.split())
    card = (out / "model_card.md").read_text()
    assert "Test: No part of the data was sealed" in card
    assert "not opened" not in card
    assert main(["evaluate", path]) == 2
    assert "was run with --test-share 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "verb", ["leaderboard", "overtuning", "strata", "calibration", "benefit", "thresholds"]
)
def test_scores_of_a_naive_split_carry_their_warning(
    verb: str, naive: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, str(naive.path)]) == 0
    assert "Naive split: patients lie in several folds" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "verb", ["leaderboard", "overtuning", "strata", "calibration", "benefit", "thresholds", "compare"]
)
def test_rows_of_a_naive_split_carry_its_name(
    verb: str, naive: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [str(naive.path)] + [f"{naive.path}:best_single"] * (verb == "compare")
    assert main([verb, *models, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows
    assert {row["split"] for row in rows} == {"naive split"}


def test_a_comparison_on_a_naive_split_carries_its_warning(
    naive: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(naive.path), f"{naive.path}:best_single"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Naive split: patients lie in several folds" in shown
    assert "AUC (naive split)" in shown


def test_other_data_of_one_class_say_nothing_of_a_model(
    unsealed: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = bright_patches(8)
    benign = raw.labels == 0
    np.savez(
        tmp_path / "one.npz",
        images=255 * (raw.images[benign] // 256),
        labels=raw.labels[benign],
        patient=raw.patients[benign],
    )
    words = ["evaluate", str(unsealed.path), "--trial", "1", "--data", str(tmp_path / "one.npz")]
    assert main([*words, "--label-codes", "task", "--store", str(tmp_path / "store")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "needs at least two of benign, malignant; the data hold only: benign" in said
