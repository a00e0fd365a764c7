"""Exporting a run: whole or not at all, checked against torch and the search, honest in its papers."""

import datetime
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_run import CONFIGS, NOW, make_run

from results.ensembles.build import build_ensembles
from results.errors import EnsembleError, ExportError, RunError
from results.export import bundle as bundle_module
from results.export import parity
from results.export.bundle import export_bundle
from results.export.manifest import Manifest
from results.export.manifest_draft import licences_of_member, published_licences
from results.export.model_card import model_card
from results.export.parity import (
    held_out_rows,
    left_out_of,
    predict_by_fold,
    reproduces_out_of_fold,
    undecided_rows,
)
from results.predictors.loading import open_model
from results.predictors.test_evaluation import evaluate_test
from results.run.records import OutOfFold
from results.run.source_trial import SourceTrial
from trainables.config.trial_config import decode
from trainables.data.split_record import TEST, read_split
from trainables.runtime.checkpoint import read_fold_weights, write_fold_weights

pytestmark = pytest.mark.slow

HEADINGS = [
    "## Model details",
    "## Intended use",
    "## Factors",
    "## Metrics",
    "## Evaluation data",
    "## Training data",
    "## Quantitative analyses",
    "## Ethical considerations",
    "## Caveats and recommendations",
    "## FDA, example model card (draft guidance of January 2025)",
    "## CHAI, applied model card 0.2",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), {0: CONFIGS[0], 5: CONFIGS[0]}, epochs=2)


@pytest.fixture(scope="module")
def report(run, tmp_path_factory):
    return export_bundle(run, tmp_path_factory.mktemp("out") / "bundle", trial=0, held_out_limit=6)


@pytest.mark.parametrize(
    ("licence", "sentence"),
    [
        ("Apache-2.0", None),
        ("MIT", None),
        ("cc-by-nc-4.0", "the weights of efficientnet_lite0 are under cc-by-nc-4.0: read it"),
        ("dinov3-license", "the weights of efficientnet_lite0 are under dinov3-license: read it"),
        ("", "the licence of the weights of efficientnet_lite0 is not known"),
    ],
)
def test_a_licence_that_may_forbid_something_is_said_at_export_and_in_the_card(report, licence, sentence):
    (member,) = report.manifest.members
    assert member.licences == {}  # it began from random weights
    licensed = member.model_copy(update={"licences": {"efficientnet_lite0": licence}})
    changed = replace(report, manifest=report.manifest.model_copy(update={"members": (licensed,)}))
    said = [message for message in changed.messages() if sentence and message.startswith(sentence)]
    assert len(said) == (sentence is not None)
    assert len(changed.messages()) == len(report.messages()) + len(said)
    assert f"efficientnet_lite0: {licence or 'not known'}." in model_card(changed.manifest)


def test_what_an_image_costs_is_measured_in_the_file_and_said(report):
    cost = report.manifest.cost
    assert 0 < cost.core_ms < 10_000
    assert cost.megabytes == pytest.approx((report.path / "model.onnx").stat().st_size / 1e6)
    assert f"costs {cost}" in report.messages()
    assert f"It takes {cost}, on the machine that exported it." in model_card(report.manifest)


@pytest.mark.long
def test_a_file_that_takes_too_long_is_refused_and_leaves_nothing(run, tmp_path):
    with pytest.raises(ExportError, match=r"ms an image on one core, --max-ms allows 1e-06; take a single"):
        export_bundle(run, tmp_path / "bundle", trial=0, held_out_limit=6, max_ms=1e-6)
    assert list(tmp_path.iterdir()) == []
    assert export_bundle(run, tmp_path / "bundle", trial=0, held_out_limit=6, max_ms=1e6).path.exists()


def test_weights_that_are_in_the_file_are_licensed(tmp_path):
    config = {
        "model.backbone": "vgg16",
        "classical.name": "lda",
        "model.also": "efficientnet_lite0/top,texture/top",
    }
    assert published_licences(decode(config), None) == {
        "vgg16": "BSD-3-Clause",
        "efficientnet_lite0": "Apache-2.0",
    }
    (tmp_path / "vgg16.pt").write_bytes(b"weights")
    (tmp_path / "vgg16.yaml").write_text("licence: CC-BY-NC-4.0\n")
    assert published_licences(decode(config), tmp_path)["vgg16"] == "CC-BY-NC-4.0"
    scratch = {"model.backbone": "vgg16", "model.weights": "random", "model.trained_stages": "all"}
    assert published_licences(decode(scratch), None) == {}


def test_weights_of_the_trial_that_tells_the_type_are_licensed_too(run, tmp_path, monkeypatch):
    """The member is told by trial 3, and that one by trial 4, each with weights of its own."""
    for name, licence in (("own", "MIT"), ("types", "CC-BY-NC-4.0"), ("earlier", "CC-BY-NC-SA-4.0")):
        (tmp_path / name).mkdir()
        for backbone in ("vgg16", "efficientnet_lite0"):
            (tmp_path / name / f"{backbone}.pt").write_bytes(b"weights")
            (tmp_path / name / f"{backbone}.yaml").write_text(f"licence: {licence}\n")
    sources = [SourceTrial(run=f"runs/types/s{number}", trial=number) for number in (3, 4)]
    searches = [
        run.search().with_options(weights_dir=str(tmp_path / name)).model_copy(update={"type_from": source})
        for name, source in zip(("own", "types", "earlier"), (*sources, None), strict=True)
    ]
    configs = [
        {"model.backbone": backbone, "model.pair": "diff", "model.type_input": told}
        for backbone, told in (("vgg16", "hard"), ("vgg16", "probability"), ("efficientnet_lite0", "none"))
    ]
    later = dict(zip(sources, zip(searches[1:], configs[1:], strict=True), strict=True))
    monkeypatch.setattr("results.export.manifest_draft.source_search", lambda source: later[source][0])
    monkeypatch.setattr(
        "results.export.manifest_draft.source_record",
        lambda source: run.record(0).model_copy(update={"config": later[source][1]}),
    )
    assert licences_of_member(decode(configs[0]), searches[0]) == {
        "vgg16": "MIT",
        "vgg16 of trial 3 of types/s3": "CC-BY-NC-4.0",
        "efficientnet_lite0": "CC-BY-NC-SA-4.0",
    }
    by_people = configs[0] | {"model.type_input": "human"}
    assert licences_of_member(decode(by_people), searches[0]) == {"vgg16": "MIT"}


def kept_predictions(images=12, folds=3):
    rows = 2 * np.arange(images)
    probabilities = np.tile([0.25, 0.75], (images, 1))
    return OutOfFold(rows, rows % 2, np.arange(images) % folds, rows.astype(str), probabilities)


# -- the folder


def test_the_manifest_reads_back_and_says_what_was_exported(report):
    manifest = Manifest.model_validate_json((report.path / "manifest.json").read_bytes())
    assert manifest == report.manifest
    assert manifest.positive == "malignant"
    assert manifest.method == "trial 0"
    assert manifest.is_single_trial
    assert manifest.is_synthetic
    assert manifest.members[0].backbone == "scratch4"
    assert manifest.members[0].weight == 1.0
    assert manifest.data.counts == {"benign": 16, "malignant": 16}
    assert manifest.test == "not opened"
    assert 0 < manifest.threshold < 1
    assert manifest.calibration is not None


def test_the_report_names_files_parity_and_what_the_score_is_worth(report):
    said = " ".join(report.messages())
    for part in (
        "model.onnx",
        "ONNX Runtime within",
        "so it is too high",
        "was not opened for this model",
        "SYNTHETIC",
    ):
        assert part in said


def test_a_tenth_of_the_images_may_lie_at_a_step():
    assert left_out_of(32, has_steps=True) == 3
    assert left_out_of(32, has_steps=False) == left_out_of(9, has_steps=True) == 0


def test_the_card_has_all_headings_and_warns_of_synthetic_images(report):
    card = (report.path / "model_card.md").read_text()
    assert [line for line in card.splitlines() if line.startswith("## ")] == HEADINGS
    assert "**SYNTHETIC DATA.**" in card
    assert "Not a medical device" in card
    assert "| AUC | " in card
    assert str(report.manifest.out_of_fold.metrics["f2"])[:5] in card


def test_the_card_of_a_model_from_real_images_holds_no_synthetic_warning(report):
    data = report.manifest.data.model_copy(update={"is_synthetic": False})
    real = report.manifest.model_copy(update={"is_synthetic": False, "data": data})
    assert "SYNTHETIC" not in model_card(real)


def test_a_folder_that_holds_something_is_left_as_it_is(run, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ExportError, match="holds files already, and a bundle replaces nothing"):
        export_bundle(run, tmp_path, trial=0)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_is_no_place_for_a_bundle(run, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ExportError, match=r"a bundle is a folder, and .* is a file"):
        export_bundle(run, tmp_path / "out", trial=0)


def test_a_place_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"cannot write a bundle to .*/bundle: File exists: .*/file;"):
        export_bundle(run, tmp_path / "file" / "bundle", trial=0, held_out_limit=2)


def test_an_empty_folder_is_filled(run, tmp_path):
    (tmp_path / "out").mkdir()
    export_bundle(run, tmp_path / "out", trial=0, held_out_limit=2)
    assert (tmp_path / "out" / "model.onnx").is_file()


# -- checks


def test_a_file_that_disagrees_with_torch_leaves_nothing_behind(run, tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "LARGEST_ONNX_DIFFERENCE", -1.0)
    with pytest.raises(
        ExportError, match="the exported file disagrees with PyTorch: probabilities differ by"
    ):
        export_bundle(run, tmp_path / "out", trial=0, held_out_limit=2)
    assert not list(tmp_path.iterdir())


def test_weights_that_changed_since_the_search_are_found_out(run, tmp_path):
    folder = run.trial(5) / "folds"
    kept = read_fold_weights(folder)
    try:
        write_fold_weights(folder, [{**kept[0], "head.5.bias": torch.full((1,), 5.0)}, kept[1]])
        with pytest.raises(ExportError, match="trial 5 does not predict what it predicted in the search"):
            export_bundle(run, tmp_path / "out", trial=5, held_out_limit=4)
    finally:
        write_fold_weights(folder, kept)
    assert not list(tmp_path.iterdir())


def test_fold_models_are_compared_on_the_images_that_they_held_out():
    kept = kept_predictions()
    own = torch.full((3, 12, 2), 0.9, dtype=torch.float64)
    own[torch.arange(12) % 3, torch.arange(12)] = torch.tensor([0.25, 0.75], dtype=torch.float64)
    assert reproduces_out_of_fold([own], {0: kept}, kept.rows) == 0.0
    own[1, 4] = torch.tensor([0.24, 0.76])
    assert reproduces_out_of_fold([own], {0: kept}, kept.rows) == pytest.approx(0.01)


def test_predictions_that_are_no_numbers_never_pass_for_equal():
    kept = kept_predictions()
    with pytest.raises(ExportError, match="differ by up to nan"):
        reproduces_out_of_fold([torch.full((3, 12, 2), float("nan"))], {0: kept}, kept.rows)


def test_images_to_compare_on_come_evenly_from_all_folds():
    kept = kept_predictions(images=30)
    rows = held_out_rows(kept, 9)
    assert np.bincount(kept.folds[np.isin(kept.rows, rows)]).tolist() == [3, 3, 3]
    assert (np.diff(rows) > 0).all()
    assert len(held_out_rows(kept, 1)) == 3


def test_images_of_an_undecided_type_are_left_out_while_a_fold_has_others():
    kept = kept_predictions(images=6)
    positive = np.array([0.5, 0.515, 0.6, 0.485, 0.1, 0.9])
    types = replace(kept, probabilities=np.stack([1 - positive, positive], axis=1))
    undecided = undecided_rows(types)
    assert undecided.tolist() == [0, 2, 6]  # the first fold holds rows 0 and 6, and no others
    assert held_out_rows(kept, 6, without=undecided).tolist() == [0, 4, 6, 8, 10]


def test_exporting_never_opens_the_test_part(run, tmp_path, monkeypatch):
    sealed = {group for group, fold in read_split(run.split_file).fold_of_group.items() if fold == TEST}
    images = open_model(run, trial=0).patch_set.images
    seen = []

    def watch(module, inputs):
        seen.extend(inputs.raw)
        return predict_by_fold(module, inputs)

    monkeypatch.setattr(bundle_module, "predict_by_fold", watch)
    export_bundle(run, tmp_path / "out", trial=0, held_out_limit=40)
    rows = [next(row for row in range(len(images)) if np.array_equal(images[row], one)) for one in seen]
    assert len(rows) == 32
    assert not sealed & {f"P{row // 2 % 10}-{row % 2}" for row in rows}
    assert len(sealed) == 4
    assert not run.openings_file.exists()


# -- which model


@pytest.mark.long
def test_the_scores_of_an_opened_test_part_go_into_manifest_and_card(run, tmp_path):
    def predict(rows):
        return np.tile([0.4, 0.6], (len(rows), 1))

    try:
        evaluate_test(
            run,
            trial=0,
            predict=predict,
            test_rows=np.arange(4),
            labels=np.array([0, 1, 0, 1]),
            groups=np.array(["a", "b", "c", "d"]),
            by="orchestrate evaluate",
            now=NOW,
            training_shares=np.array([0.5, 0.5]),
        )
        found = export_bundle(run, tmp_path / "opened", trial=0, held_out_limit=2).manifest
        other = export_bundle(run, tmp_path / "other", trial=5, held_out_limit=2).manifest
    finally:
        run.openings_file.unlink(missing_ok=True)
        shutil.rmtree(Path(run.search().store) / "test_openings", ignore_errors=True)
    assert found.test.metrics["auc"].estimate == 0.5
    assert found.test.opening == found.test.openings == 1
    assert "the first opening of 1 so far" in model_card(found)
    assert other.test == "not opened"


def test_an_ensemble_is_exported_under_its_method(run, tmp_path):
    build_ensembles(run, methods=("average",), seed=0)
    manifest = export_bundle(run, tmp_path / "out", held_out_limit=2).manifest
    assert manifest.method == "ensemble average"
    assert not manifest.is_single_trial
    assert manifest.created_at.tzinfo == datetime.UTC


def test_an_ensemble_that_was_not_built_is_asked_for(run, tmp_path):
    with pytest.raises(EnsembleError, match=r"no ensemble 'stack_svm' .*; build it first with"):
        export_bundle(run, tmp_path / "out", ensemble="stack_svm")


def test_a_trial_that_does_not_exist_is_answered_with_those_that_do(run, tmp_path):
    with pytest.raises(RunError, match=r"no finished trial 9 in .*; trials with weights: 0, 5"):
        export_bundle(run, tmp_path / "out", trial=9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": "pruned", "cause": "pruner"}, r"needs a complete trial; trial 5 is pruned \(pruner\)"),
        ({"has_weights": False}, "trial 5 kept no weights: the search kept those of its best 16 trials"),
    ],
)
def test_a_trial_without_weights_is_refused(run, tmp_path, changes, message):
    record = run.record(5)
    try:
        run.write_record(record.model_copy(update=changes))
        with pytest.raises(RunError, match=message):
            export_bundle(run, tmp_path / "out", trial=5)
    finally:
        run.write_record(record)
