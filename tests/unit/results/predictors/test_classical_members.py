"""Classical trials in a run folder: worker, ensembles, the sealed test part, export."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from orchestrator import open_run
from orchestrator.cli.finish import finish_run
from orchestrator.postprocessing.test_set import open_test_part
from orchestrator.reporting.console import Sections
from orchestrator.tuning.trial_runner import TrialRunner
from results.ensembles.build import build_ensembles
from results.errors import ExportError, RunError
from results.export.bundle import export_bundle
from results.predictors.classical_members import predict_classical
from results.predictors.loading import open_model, predict_rows, weights_of
from results.predictors.selected_model import has_classical_member, resolve_model
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.leaderboard import leaderboard, settings_text
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet, select_rows
from trainables.data.sources import load_patch_set
from trainables.data.splits import make_split, write_split

FOREST: dict[int, dict[str, Any]] = {
    0: {"classical.name": "tree", "classical.depth": 4},
    1: {"classical.name": "svm", "classical.standardize": True},
    2: {"classical.name": "majority"},
}
EYE: dict[int, dict[str, Any]] = {
    0: {"classical.name": "knn", "classical.neighbours": 3},
    1: {"model.head.hidden": [8], "training.epochs": 10, "optimizer.lr": 0.01},
}
MakeSearch = Callable[..., SearchRecord]


def start(patch_set: PatchSet, task_name: str, folder: Path, make_search: MakeSearch) -> RunFolder:
    """A run folder in which nothing has run yet."""
    run, task = RunFolder(folder / "runs" / task_name / "first"), task_named(task_name)
    rows = select_rows(patch_set, task)
    split = make_split(
        rows, fingerprint=patch_set.fingerprint, task=task.name, folds=3, test_share=0.25, seed=0
    )
    write_split(run.split_file, split)
    backbone = "table" if patch_set.is_table else "efficientnet_lite0"
    context = {
        "backbones": [backbone],
        "from_scratch": [],
        "fine_tunes": {backbone: []},
        "flattens": {},
        "levels": {},
        "adapts_channels": [],
        "augmentations": [],
        "sizes_px": {backbone: 32},
        "epochs": 30,
        "images": 36,
    }
    run.write_search(
        make_search(
            task=task.name,
            classes=task.classes,
            backbones=(backbone,),
            fingerprint=patch_set.fingerprint,
            store=str(folder / "store"),
            space_context=context,
            epochs=30,
        )
    )
    return run


def run_trial(run: RunFolder, number: int, settings: dict[str, Any], **options: float) -> TrialRecord:
    backbone = run.search().backbones[0]
    size = {} if backbone == "table" else {"input.size_px": 32}
    config = decode({"model.backbone": backbone, **size, **settings})
    runner = TrialRunner(run, number, config, {}, gpus=0.0, cpus=1.0, **options)
    while not runner.step().is_end:
        pass
    record = run.record(number)
    assert record is not None
    return record


@pytest.fixture
def table_run(tmp_path: Path, make_search: MakeSearch) -> RunFolder:
    """A tree, a support vector machine and a guesser on Wisconsin."""
    task = task_named("wisconsin")
    patch_set, _ = load_patch_set("wisconsin", task=task, label_codes=None, store=tmp_path / "store")
    run = start(patch_set, task.name, tmp_path, make_search)
    for number, settings in FOREST.items():
        run_trial(run, number, settings)
    return run


@pytest.fixture
def mixed_run(bright_patches: PatchSet, tmp_path: Path, make_search: MakeSearch) -> RunFolder:
    """Nearest neighbours and a net on the same frozen features."""
    run = start(bright_patches, "benign_malignant", tmp_path, make_search)
    for number, settings in EYE.items():
        run_trial(run, number, settings)
    return run


def test_a_classical_trial_keeps_predictions_and_no_weights(table_run: RunFolder) -> None:
    record = table_run.record(1)
    assert record is not None
    assert (record.state, record.epochs, record.best_epoch, record.error) == ("complete", 1, 1, None)
    assert (record.has_weights, record.is_classical, record.can_predict) == (False, True, True)
    assert record.prefix is not None
    assert record.prefix.kind == "table columns"
    assert not (table_run.trial(1) / "folds").exists()
    assert len(table_run.out_of_fold(1).rows) > 400


def test_a_classical_trial_that_ends_late_is_whole(table_run: RunFolder) -> None:
    record = run_trial(table_run, 3, FOREST[0], deadline=1.0)
    assert (record.state, record.cause, record.epochs) == ("complete", None, 1)


def test_the_leaderboard_names_the_model_and_its_settings(table_run: RunFolder) -> None:
    by_trial = {row.trial: row.settings for row in leaderboard(table_run)}
    assert [by_trial[number] for number in (0, 1, 2)] == ["tree depth=4", "svm c=1 scaled", "majority"]


def test_on_images_the_backbone_is_named_too() -> None:
    config = decode({"model.backbone": "vgg19", "classical.name": "knn", "classical.minkowski_p": 1})
    assert settings_text(config.model_dump()) == "vgg19 top knn neighbours=5 minkowski_p=1"


def test_ensembles_take_classical_members(table_run: RunFolder) -> None:
    found = build_ensembles(table_run, methods=("average",), seed=0)
    assert {one.method: one.trials for one in found} == {"best_single": (1,), "average": (1, 0)}
    assert found[1].nested.auc > 0.95
    assert has_classical_member(table_run, (0,))


def test_the_sealed_test_part_is_scored_by_models_fitted_again(table_run: RunFolder) -> None:
    build_ensembles(table_run, methods=("average",), seed=0)
    found = open_test_part(table_run, ensemble="average", trial=None, by="test")
    assert found.images == 569 - len(table_run.out_of_fold(1).rows)
    assert found.metrics["auc"].estimate > 0.95
    alone = open_test_part(table_run, ensemble="best", trial=0, by="test")
    assert alone.trials == (0,)


def test_models_that_were_fitted_on_other_numbers_are_noticed(table_run: RunFolder) -> None:
    kept = table_run.out_of_fold(0)
    table_run.write_out_of_fold(0, replace(kept, probabilities=1 - kept.probabilities))
    with pytest.raises(ExportError, match="trial 0, fitted again, does not predict what it predicted"):
        predict_rows(table_run, kept.rows[:5], trial=0)


def test_a_model_is_fitted_again_with_the_seed_of_its_record(table_run: RunFolder) -> None:
    record = run_trial(table_run, 5, {"classical.name": "stratified"})
    rows = table_run.out_of_fold(5).rows[:5]
    assert predict_rows(table_run, rows, trial=5).shape == (5, 2)
    table_run.write_record(record.model_copy(update={"seed": record.seed + 1}))
    with pytest.raises(ExportError, match="trial 5, fitted again, does not predict what it predicted"):
        predict_rows(table_run, rows, trial=5)


def test_a_model_without_a_record_cannot_be_fitted_again(table_run: RunFolder) -> None:
    config = decode({"model.backbone": "table", "classical.name": "tree"})
    with pytest.raises(RunError, match=r"trial 9 of .* has no record; was its folder removed"):
        predict_classical(table_run, 9, config, table_run.out_of_fold(0).rows, weights=None)


def test_a_classical_model_is_not_exported_and_the_error_says_what_to_do(
    table_run: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(
        ExportError, match=r"no ONNX form here: trial 1 \(svm\). Score it with orchestrate evaluate"
    ):
        export_bundle(table_run, tmp_path / "bundle", trial=1)
    assert not (tmp_path / "bundle").exists()


def test_a_search_that_ends_in_classical_models_finishes_without_a_bundle(
    table_run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    said = io.StringIO()
    finish_run(open_run(table_run), Console(file=said, width=200), Sections("table"))
    assert "not exported: classical models" in said.getvalue()
    assert "next: orchestrate evaluate" in said.getvalue()
    assert "svm c=1 scaled" in capsys.readouterr().out
    assert not (table_run.path / "bundle").exists()


def test_nets_and_classical_models_are_combined_as_their_rule_says(mixed_run: RunFolder) -> None:
    build_ensembles(mixed_run, methods=("average",), seed=0)
    chosen = resolve_model(mixed_run, ensemble="average")
    assert set(chosen.trials) == {0, 1}
    rows = mixed_run.out_of_fold(0).rows[:9]
    net, neighbours = open_model(mixed_run, trial=1), mixed_run.record(0)
    assert neighbours is not None
    with torch.inference_mode():
        by_net = np.concatenate(
            [net.module.members(**batch.tensors())[0].numpy() for batch in net.inputs(rows).batches()]
        )
    config = decode(neighbours.config)
    by_neighbours = predict_classical(
        mixed_run, 0, config, rows, weights=weights_of(config, mixed_run.search())
    )
    assert chosen.calibration is not None
    expected = chosen.calibration.apply((by_net + by_neighbours) / 2)[:, 1]
    found = predict_rows(mixed_run, rows, ensemble="average")
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)
