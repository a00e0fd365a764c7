"""Refitted models are tested, exported and shown in the place of the fold models."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from finished_run import CONFIGS, TASK, make_run
from refitted_run import material_of

from orchestrator.cli.main import main
from results.errors import RunError
from results.export.bundle import export_bundle
from results.export.model_card import model_card
from results.predictors.loading import open_row_predictor
from results.predictors.selected_model import resolve_model
from results.run.run_folder import RunFolder
from results.run.test_accesses import read_accesses
from trainables.config.tasks import task_named
from trainables.data.patches import select_rows
from trainables.data.split_record import TEST, read_split, write_split
from trainables.data.splits import make_split

pytestmark = pytest.mark.slow


def test_a_refitted_model_predicts_with_its_own_weights_and_the_rule_of_the_search(refitted):
    rows = material_of(refitted).rows[:6]
    plain, chosen = (resolve_model(refitted, trial=0, refit=refit) for refit in (False, True))
    assert (plain.name, chosen.name) == ("trial 0", "trial 0, refitted")
    assert chosen.rule == plain.rule
    assert chosen.calibration == chosen.rule.calibration != plain.calibration == plain.rule.mean_calibration
    with_folds, with_refit = (
        open_row_predictor(refitted, trial=0, refit=refit)(rows) for refit in (False, True)
    )
    assert with_refit.shape == with_folds.shape
    assert np.abs(with_refit - with_folds).max() > 1e-3


def test_a_model_that_was_not_refitted_is_refused_with_the_command(tmp_path):
    run = make_run(tmp_path, {0: CONFIGS[0]})
    with pytest.raises(RunError, match=r"of trial 0 was trained .* orchestrate refit .*small --trial 0$"):
        resolve_model(run, trial=0, refit=True)


def test_refitted_models_need_no_weights_of_the_folds(refitted, tmp_path):
    copy = RunFolder(Path(shutil.copytree(refitted.path, tmp_path / "copy")))
    for number in (0, 1):
        copy.discard_weights(number)
    with pytest.raises(RunError, match="trial 0 kept no weights"):
        resolve_model(copy, trial=0)
    for asked in ({"trial": 0}, {"ensemble": "average"}):
        before, after = (resolve_model(run, refit=True, **asked) for run in (refitted, copy))
        assert after.refit_digest == before.refit_digest
    report = export_bundle(copy, tmp_path / "bundle", trial=0, refit=True, held_out_limit=4)
    assert report.manifest.is_refitted


def test_an_ensemble_needs_all_of_its_members(refitted):
    chosen = resolve_model(refitted, ensemble="average", refit=True)
    assert chosen.name == "ensemble average, refitted"
    assert chosen.is_refitted


def test_a_bundle_of_refitted_models_is_compared_with_torch_alone(refitted, tmp_path):
    report = export_bundle(refitted, tmp_path / "bundle", trial=0, refit=True, held_out_limit=4)
    manifest = report.manifest
    assert manifest.is_refitted
    assert manifest.method == "trial 0, refitted"
    assert manifest.members[0].folds == 3
    assert manifest.parity.out_of_fold_difference is None
    assert manifest.parity.onnx_difference < 1e-4
    assert any("refitted models have seen them all" in message for message in report.messages())
    card = model_card(manifest)
    assert "trained on all of them after the search" in card
    assert "Each fold model saw the folds other than its own." not in card


def test_a_refit_of_a_run_without_a_sealed_part_is_exported_next(refitted, tmp_path, capsys):
    copy = RunFolder(Path(shutil.copytree(refitted.path, tmp_path / "copy")))
    patches = material_of(refitted).patch_set
    rows = select_rows(patches, task_named(TASK))
    known = read_split(refitted.split_file)
    split = make_split(rows, fingerprint=known.fingerprint, task=TASK, folds=2, test_share=0.0, seed=0)
    write_split(copy.split_file, split)
    assert not copy.has_sealed_part
    assert main(["refit", str(copy.path), "--trial", "1"]) == 0
    assert f"next: orchestrate export {copy.path} --trial 1 --refit --out bundle/" in capsys.readouterr().err


def test_the_verbs_refit_and_evaluate_and_log_the_refitted_model(refitted, capsys):
    path = str(refitted.path)
    assert main(["refit", path, "--trial", "0", "--seeds", "3"]) == 0
    assert "next: orchestrate evaluate" in capsys.readouterr().err
    assert main(["evaluate", path, "--trial", "0", "--refit", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "trial 0, refitted"
    assert read_accesses(refitted)[-1].model == "trial 0, refitted"
    patches = material_of(refitted).patch_set
    sealed = read_split(refitted.split_file).folds_of(select_rows(patches, task_named(TASK))) == TEST
    assert found["images"] == sealed.sum()
