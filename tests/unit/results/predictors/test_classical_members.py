"""Closed-form heads in a run folder: worker, ensembles, the sealed test part, refits, export."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from orchestrator import open_run
from orchestrator.cli.finish import finish_run
from orchestrator.postprocessing.refit import refit_model
from orchestrator.postprocessing.test_set import open_test_part
from orchestrator.reporting.console import Sections
from orchestrator.tuning.trial_runner import TrialRunner
from results.ensembles.build import build_ensembles
from results.errors import ExportError, RunError
from results.export.bundle import export_bundle
from results.export.onnx_predictor import load_bundle
from results.predictors.classical_members import fitted_again
from results.predictors.loading import open_model, open_row_predictor
from results.predictors.selected_model import reason_against_export, resolve_model
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.leaderboard import leaderboard
from results.scores.settings_text import settings_text
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet, select_rows
from trainables.data.sources import load_patch_set
from trainables.data.split_record import write_split
from trainables.data.splits import make_split

pytestmark = pytest.mark.slow

FOREST: dict[int, dict[str, Any]] = {
    0: {"classical.name": "tree", "classical.depth": 4},
    1: {"classical.name": "svm", "classical.standardize": True},
    2: {"classical.name": "majority"},
}
EYE: dict[int, dict[str, Any]] = {
    0: {"classical.name": "knn", "classical.neighbours": 3},
    1: {"model.head.hidden": [8], "training.epochs": 10, "optimizer.lr": 0.01},
    2: {
        "classical.name": "logistic",
        "classical.standardize": True,
        "classical.c": 0.01,
        "model.also": "efficientnet_lite0/block3,intensity/top",
        "input.contrast": 1.5,
    },
    3: {"model.backbone": "texture", "classical.name": "lda", "classical.pca": 8},
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
    names = ("table",) if patch_set.is_table else ("efficientnet_lite0", "intensity", "texture")
    context = {
        "backbones": names,
        "from_scratch": [],
        "fine_tunes": dict.fromkeys(names, ()),
        "flattens": {},
        "levels": {},
        "adapts_channels": [],
        "augmentations": [],
        "sizes_px": dict.fromkeys(names, 32),
        "epochs": 30,
        "images": 36,
    }
    run.write_search(
        make_search(
            task=task.name,
            classes=task.classes,
            backbones=names,
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
    config = decode({"model.backbone": backbone} | size | settings)
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


def test_a_closed_form_trial_keeps_predictions_and_the_arrays_of_its_heads(table_run: RunFolder) -> None:
    record = table_run.record(1)
    assert record is not None
    assert (record.state, record.epochs, record.best_epoch, record.error) == ("complete", 1, 1, None)
    assert (record.has_weights, record.is_classical, record.can_predict) == (True, True, True)
    assert record.prefix is not None
    assert record.prefix.kind == "table columns"
    assert len(list((table_run.trial(1) / "folds").iterdir())) == 3
    assert len(table_run.out_of_fold(1).rows) > 400


def test_a_classical_trial_that_ends_late_is_whole_where_the_search_has_no_other(
    tmp_path: Path, make_search: MakeSearch
) -> None:
    task = task_named("wisconsin")
    patch_set, _ = load_patch_set("wisconsin", task=task, label_codes=None, store=tmp_path / "store")
    run = start(patch_set, task.name, tmp_path, make_search)
    first = run_trial(run, 0, FOREST[0], deadline=1.0)
    assert (first.state, first.cause, first.epochs) == ("complete", None, 1)
    second = run_trial(run, 1, FOREST[1], deadline=1.0)
    assert (second.state, second.cause, second.epochs) == ("pruned", "time_budget", 0)
    assert second.error is not None
    assert "the time was up before fold 2 of 3" in second.error


def test_the_leaderboard_names_the_model_and_its_settings(table_run: RunFolder) -> None:
    by_trial = {row.trial: row.settings for row in leaderboard(table_run)}
    assert [by_trial[number] for number in (0, 1, 2)] == [
        "tree depth=4",
        "svm c=1 gamma=1 scaled",
        "majority",
    ]


def test_on_images_the_backbone_is_named_too() -> None:
    config = decode({"model.backbone": "vgg19", "classical.name": "knn", "classical.minkowski_p": 1})
    assert settings_text(config.model_dump()) == "vgg19 top knn neighbours=5 minkowski_p=1"


def test_ensembles_take_classical_members(table_run: RunFolder) -> None:
    found = build_ensembles(table_run, methods=("average",), seed=0)
    assert {one.method: one.trials for one in found} == {"best_single": (1,), "average": (1, 0)}
    assert found[1].nested.auc > 0.95
    assert "columns of a table" in reason_against_export(table_run, (0,))


def test_the_sealed_test_part_is_scored_by_the_kept_heads(table_run: RunFolder) -> None:
    build_ensembles(table_run, methods=("average",), seed=0)
    found = open_test_part(table_run, ensemble="average", trial=None, by="test")
    assert found.images == 569 - len(table_run.out_of_fold(1).rows)
    assert found.metrics["auc"].estimate > 0.95
    alone = open_test_part(table_run, ensemble="best", trial=0, by="test")
    assert alone.trials == (0,)


def test_a_run_that_kept_no_arrays_is_fitted_again(table_run: RunFolder) -> None:
    rows = table_run.out_of_fold(1).rows[:9]
    kept = open_row_predictor(table_run, trial=1)(rows)
    table_run.discard_weights(1)
    np.testing.assert_array_equal(open_row_predictor(table_run, trial=1)(rows), kept)


def test_models_that_were_fitted_on_other_numbers_are_noticed(table_run: RunFolder) -> None:
    table_run.discard_weights(0)
    kept = table_run.out_of_fold(0)
    other = replace(kept, probabilities=1 - kept.probabilities)
    table_run.write_out_of_fold(0, other)
    record = table_run.record(0)
    assert record is not None
    table_run.write_record(record.model_copy(update={"predictions_digest": other.digest}))
    with pytest.raises(ExportError, match="trial 0, fitted again, does not predict what it predicted"):
        open_row_predictor(table_run, trial=0)(kept.rows[:5])


def test_a_model_is_fitted_again_with_the_seed_of_its_record(table_run: RunFolder) -> None:
    record = run_trial(table_run, 5, {"classical.name": "stratified"})
    rows = table_run.out_of_fold(5).rows[:5]
    assert open_row_predictor(table_run, trial=5)(rows).shape == (5, 2)
    table_run.discard_weights(5)
    record = record.model_copy(update={"has_weights": False})
    table_run.write_record(record.model_copy(update={"seed": record.seed + 1}))
    with pytest.raises(ExportError, match="trial 5, fitted again, does not predict what it predicted"):
        open_row_predictor(table_run, trial=5)(rows)


def test_a_model_without_a_record_cannot_be_fitted_again(table_run: RunFolder) -> None:
    config = decode({"model.backbone": "table", "classical.name": "tree"})
    with pytest.raises(RunError, match=r"trial 9 of .* has no record; was its folder removed"):
        fitted_again(table_run, 9, config, weights={"table": None})


def test_a_model_of_columns_is_not_exported_and_the_error_says_what_to_do(
    table_run: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"trial 1 takes the columns of a table, .* orchestrate evaluate"):
        export_bundle(table_run, tmp_path / "bundle", trial=1)
    assert not (tmp_path / "bundle").exists()


def test_guesses_at_random_are_not_exported(mixed_run: RunFolder, tmp_path: Path) -> None:
    run_trial(mixed_run, 7, {"classical.name": "stratified"})
    with pytest.raises(ExportError, match=r"guesses at random, .*: trial 7 \(stratified\)"):
        export_bundle(mixed_run, tmp_path / "bundle", trial=7)


def test_a_refit_is_one_fit_on_all_rows(mixed_run: RunFolder) -> None:
    (member,) = refit_model(mixed_run, ensemble="best", trial=2, seeds=1)[1]
    assert (member.record.epochs, member.record.images) == (1, len(mixed_run.out_of_fold(2).rows))
    rows = mixed_run.out_of_fold(2).rows[:6]
    found = open_row_predictor(mixed_run, trial=2, refit=True)(rows)
    assert found.shape == (6, 2)
    assert np.abs(found - open_row_predictor(mixed_run, trial=2)(rows)).max() > 1e-6


def test_a_search_on_a_table_finishes_without_a_bundle(
    table_run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    said = io.StringIO()
    finish_run(open_run(table_run), Console(file=said, width=200), Sections("table"))
    assert "not exported: a bundle takes images" in said.getvalue()
    assert "next: orchestrate evaluate" in said.getvalue()
    assert "svm c=1 gamma=1 scaled" in capsys.readouterr().out
    assert not (table_run.path / "bundle").exists()


@pytest.mark.long
def test_nets_and_closed_form_heads_are_one_file(mixed_run: RunFolder, tmp_path: Path) -> None:
    build_ensembles(mixed_run, methods=("average",), seed=0, max_members=4)
    chosen = resolve_model(mixed_run, ensemble="average")
    assert set(chosen.trials) == {0, 1, 2, 3}
    report = export_bundle(mixed_run, tmp_path / "bundle", ensemble="average", held_out_limit=12)
    assert report.manifest.parity.onnx_difference < 1e-5
    assert report.manifest.parity.out_of_fold_difference is not None
    assert report.manifest.parity.out_of_fold_difference < 5e-3
    rows = mixed_run.out_of_fold(0).rows[:5]
    images = mixed_run.patch_set().images[rows]
    found = load_bundle(tmp_path / "bundle").predict(list(images))
    np.testing.assert_allclose(found, open_row_predictor(mixed_run, ensemble="average")(rows), atol=1e-5)


def test_levels_of_one_backbone_share_its_passes(mixed_run: RunFolder) -> None:
    opened = open_model(mixed_run, trial=2)
    assert len(opened.module.members.backbone_modules) == 2  # EfficientNet-Lite0 and intensity
    assert [len(route) for route in opened.module.members.routes] == [3]
    record = mixed_run.record(2)
    assert record is not None
    assert record.prefix is not None
    # Contrast differs from that of the other trials: one pass of each backbone, not one of each level.
    assert record.prefix.computed == 2
