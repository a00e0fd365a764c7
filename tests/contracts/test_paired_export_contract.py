"""Trials of pairs, told trials and started ones predict the same exported as they did in the search."""

import typing

import numpy as np
import onnxruntime
import pytest
import torch
from converted import converts_to_each_precision
from paired_run import TRIALS, make_runs, place_in, split_of, store_pairs, train_run

from results.ensembles.build import build_ensembles
from results.export.bundle import export_bundle
from results.export.onnx_predictor import load_bundle
from results.predictors.loading import open_model, open_row_predictor
from results.predictors.model_inputs import ModelInputs
from trainables.config.trial_config import ModelConfig

ODD_SIZES = [(1, 32, 32), (3, 40, 56), (2, 21, 33)]
TAKES = {1: ("baseline",), 4: ("finding_type",), 6: ("baseline",), 8: ("baseline", "finding_type")}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = make_runs(tmp_path_factory.mktemp("run"))
    # Named, since some of them have learnt nothing and would be left out as collapsed.
    build_ensembles(
        run, trials=list(TRIALS), methods=("average", "stack_logistic"), max_members=len(TRIALS), seed=0
    )
    return run


def test_the_contract_covers_every_value_that_changes_the_inputs():
    for setting in ("pair", "type_input", "weights"):
        known = set(typing.get_args(ModelConfig.model_fields[setting].annotation))
        tried = {one.get(f"model.{setting}", "imagenet") for one in TRIALS.values()} | {"none", "imagenet"}
        assert len(known) >= 3
        assert tried >= known


@pytest.mark.long
@pytest.mark.parametrize("trial", TRIALS)
def test_an_exported_trial_agrees_with_torch_and_with_the_search(run, trial, tmp_path):
    manifest = export_bundle(run, tmp_path / "bundle", trial=trial, held_out_limit=6).manifest
    assert manifest.parity.onnx_difference < 1e-5
    assert manifest.parity.out_of_fold_difference < 5e-3
    if trial in TAKES:
        assert tuple(extra.name for extra in manifest.extra_inputs) == TAKES[trial]
    _agrees_on_other_sizes(open_model(run, trial=trial), tmp_path / "bundle")


@pytest.mark.long
def test_an_exported_ensemble_of_all_of_them_agrees_with_torch(run, tmp_path):
    found = export_bundle(run, tmp_path / "bundle", ensemble="stack_logistic", held_out_limit=6).manifest
    assert len(found.members) == len(TRIALS)
    assert found.parity.onnx_difference < 1e-4
    opened = open_model(run, ensemble="stack_logistic")
    _agrees_on_other_sizes(opened, tmp_path / "bundle")
    rows = np.array([7, 1, 3, 5])
    images = opened.patch_set.images
    predicted = load_bundle(tmp_path / "bundle").predict(
        list(images[rows]),
        baselines=list(images[rows - 1]),
        types=["calcification", "mass", "mass", "calcification"],
    )
    np.testing.assert_allclose(predicted, open_row_predictor(run, ensemble="stack_logistic")(rows), atol=1e-4)


@pytest.mark.long
def test_an_ensemble_of_all_of_them_is_converted_to_each_lower_precision(run, tmp_path):
    converts_to_each_precision(run, tmp_path, "stack_logistic")


@pytest.mark.long
def test_the_papers_name_inputs_and_where_members_come_from(run, tmp_path):
    manifest = export_bundle(run, tmp_path / "bundle", ensemble="average", held_out_limit=2).manifest
    card = (tmp_path / "bundle" / "model_card.md").read_text()
    members = {member.trial: member for member in manifest.members}
    assert members[5].told_by == members[6].told_by == "trial 0 of mass_calcification/types"
    assert members[7].started_from == members[8].started_from == "trial 0 of benign_malignant/first"
    assert members[0].told_by is members[0].started_from is None
    for part in (
        "- Input `baseline`: raw pixels of a healthy patch of the same film",
        "- Input `finding_type`: 0 where people see a mass",
        "- Trial 5 is told mass or calcification by trial 0 of mass_calcification/types",
        "- Trial 8 went on from the weights of trial 0 of benign_malignant/first",
        "It compares each image with a healthy patch",
        "It must be told whether the finding is a mass",
    ):
        assert part in card


@pytest.mark.long
def test_single_images_of_five_classes_are_exported_and_predicted(tmp_path):
    patches = store_pairs(tmp_path)
    split = split_of(patches, "five_class")
    trials = {0: {**TRIALS[1], "model.pair": "none"}, 1: {**TRIALS[3], "model.pair": "none"}}
    run = train_run(tmp_path, patches, split, trials, place_in(tmp_path), task="five_class")
    build_ensembles(run, trials=[0, 1], methods=("average",), seed=0)
    manifest = export_bundle(run, tmp_path / "bundle", ensemble="average", held_out_limit=6).manifest
    assert manifest.parity.onnx_difference < 1e-4
    assert manifest.threshold is manifest.calibration is None
    predicted = load_bundle(tmp_path / "bundle").predict(list(patches.images[:5]))
    assert predicted.shape == (5, 5)
    np.testing.assert_allclose(
        predicted, open_row_predictor(run, ensemble="average")(np.arange(5)), atol=1e-5
    )


def _agrees_on_other_sizes(opened, bundle):
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    needs = opened.module.members.needs
    wanted = ["raw"] + ["baseline"] * needs.baseline + ["finding_type"] * needs.finding_type
    assert [one.name for one in session.get_inputs()] == wanted
    random = np.random.default_rng(0)
    for shape in ODD_SIZES:
        raw, baseline = (random.integers(0, 65536, size=shape).astype(np.uint16) for _ in range(2))
        types = random.integers(0, 2, shape[0]).astype(np.float32)
        inputs = ModelInputs(
            raw, baseline if needs.baseline else None, types if needs.finding_type else None
        ).tensors()
        with torch.inference_mode():
            expected = opened.module(**inputs).numpy()
        found = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4, err_msg=str(shape))
