"""Every kind of trial, and an ensemble of all of them, predicts the same exported as it did in the search."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from converted import converts_to_each_precision
from finished_run import CONFIGS, make_run, pixels

from results.ensembles.build import build_ensembles
from results.export.bundle import export_bundle
from results.export.onnx_predictor import load_bundle
from results.predictors.loading import open_model, open_row_predictor
from results.predictors.model_inputs import as_model_input

pytestmark = pytest.mark.slow

ODD_SIZES = [(1, 64, 64), (3, 64, 64), (2, 50, 71), (1, 20, 130)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("run"))
    everyone = tuple(CONFIGS)
    build_ensembles(
        run, trials=everyone, methods=("average", "stack_logistic"), max_members=len(everyone), seed=0
    )
    return run


def test_the_contract_covers_every_kind_of_trial():
    settings = list(CONFIGS.values())
    assert len(settings) >= 5
    assert {one.get("model.trained_stages", 0) for one in settings} == {0, 1, "all"}
    assert any(one.get("model.head.pooling") == "flatten" for one in settings)
    assert any(one.get("model.head.batch_norm") for one in settings)
    assert any(one.get("model.channels") == "conv1x1" for one in settings)


@pytest.mark.parametrize("trial", [0, *(pytest.param(one, marks=pytest.mark.long) for one in CONFIGS if one)])
def test_an_exported_trial_agrees_with_torch_and_with_the_search(run, trial, tmp_path):
    report = export_bundle(run, tmp_path / "bundle", trial=trial, held_out_limit=6)
    assert report.manifest.parity.onnx_difference < 1e-5
    assert report.manifest.parity.out_of_fold_difference < 5e-3
    _agrees_on_other_sizes(open_model(run, trial=trial).module, tmp_path / "bundle")


@pytest.mark.long
def test_an_exported_ensemble_agrees_with_torch(run, tmp_path):
    report = export_bundle(run, tmp_path / "bundle", ensemble="stack_logistic", held_out_limit=6)
    assert len(report.manifest.members) == len(CONFIGS)
    assert report.manifest.parity.onnx_difference < 1e-5
    _agrees_on_other_sizes(open_model(run, ensemble="stack_logistic").module, tmp_path / "bundle")
    rows = np.arange(4)
    found = load_bundle(tmp_path / "bundle").predict(list(pixels()[:4]))
    np.testing.assert_allclose(found, open_row_predictor(run, ensemble="stack_logistic")(rows), atol=1e-5)


def test_a_bundle_is_one_file_with_manifest_and_card(run, tmp_path):
    export_bundle(run, tmp_path / "bundle", trial=0, held_out_limit=2)
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == [
        "manifest.json",
        "model.onnx",
        "model_card.json",
        "model_card.md",
        "training_reference.json",
    ]
    assert json.loads((tmp_path / "bundle" / "manifest.json").read_text())["members"][0]["views"] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.long
@pytest.mark.parametrize(("dtype", "colours"), [("uint8", True), ("float32", False)])
def test_other_kinds_of_images_are_exported_too(dtype, colours, tmp_path):
    run = make_run(tmp_path, {0: CONFIGS[0]}, dtype=dtype, colours=colours)
    report = export_bundle(run, tmp_path / "bundle", trial=0, held_out_limit=4)
    assert report.manifest.input.dtype == ("float32" if dtype == "float32" else "int32")
    assert report.manifest.input.channels == (3 if colours else 1)
    images = pixels(dtype, images=2, colours=colours)
    found = load_bundle(tmp_path / "bundle").predict(list(images))
    np.testing.assert_allclose(found, open_row_predictor(run, trial=0)(np.arange(2)), atol=1e-5)


def _agrees_on_other_sizes(module, bundle):
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    random = np.random.default_rng(0)
    for shape in ODD_SIZES:
        raw = as_model_input(random.integers(0, 65536, size=shape).astype(np.uint16))
        with torch.inference_mode():
            expected = module(raw).numpy()
        found = session.run(None, {"raw": raw.numpy()})[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5, err_msg=str(shape))


@pytest.mark.long
@pytest.mark.parametrize("model", [*CONFIGS, "stack_logistic"])
def test_every_kind_of_model_is_converted_to_each_lower_precision(run, model, tmp_path):
    converts_to_each_precision(run, tmp_path, model, bright=True)
