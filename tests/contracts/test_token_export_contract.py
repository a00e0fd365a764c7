"""Trials on class tokens and patches of a transformer predict the same exported as they did in the search."""

import numpy as np
import pytest
import timm
import torch
from finished_run import make_run, pixels

from results.ensembles.build import build_ensembles
from results.export.bundle import export_bundle
from results.export.onnx_predictor import load_bundle
from results.predictors.loading import open_row_predictor
from results.run.run_folder import RunFolder

NET = "timm:test_vit"
HEAD = {"model.backbone": NET, "model.head.hidden": [], "training.augmentation": "none"}
CONFIGS = {
    0: {**HEAD, "model.cut": "top.class", "training.augmentation": "flips"},
    1: {
        **HEAD,
        "model.cut": "top.class",
        "classical.name": "logistic",
        "classical.standardize": True,
        "model.also": f"{NET}/blocks_4.class,{NET}/blocks_3.both,{NET}/top+1",
    },
    2: {**HEAD, "model.cut": "blocks_4.patches", "model.trained_stages": 1, "optimizer.lr": 1e-4},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    torch.save(timm.create_model("test_vit", pretrained=False).state_dict(), folder / "test_vit.pt")
    return make_run(folder, CONFIGS, backbones=("efficientnet_lite0", NET), weights_dir=folder)


@pytest.mark.long
def test_an_exported_ensemble_of_readouts_agrees_with_torch_and_with_the_search(
    run: RunFolder, tmp_path
) -> None:
    build_ensembles(run, trials=tuple(CONFIGS), methods=("average",), max_members=len(CONFIGS), seed=0)
    report = export_bundle(run, tmp_path / "bundle", ensemble="average", held_out_limit=6)
    assert len(report.manifest.members) == len(CONFIGS)
    assert report.manifest.parity.onnx_difference < 1e-5
    assert report.manifest.parity.out_of_fold_difference < 5e-3
    found = load_bundle(tmp_path / "bundle").predict(list(pixels()[:4]))
    np.testing.assert_allclose(found, open_row_predictor(run, ensemble="average")(np.arange(4)), atol=1e-5)


def test_features_of_readouts_are_stored_under_names_of_their_own(run: RunFolder) -> None:
    stored = {path.name for path in run.path.parents[2].joinpath("store", "prefix").rglob("*.npy")}
    assert {f"blocks_{block}.gap.npy" for block in ("5_class", "4_class", "3_both", "3")} <= stored
