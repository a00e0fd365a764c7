"""Features that are computed after the end of a search: the disk budget of the search holds for them, too."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_run import CONFIGS, make_run

from results.predictors.selected_model import resolve_model
from results.predictors.stored_predictions import predict_stored
from results.run.feature_limit import features_gb
from results.run.run_folder import RunFolder
from trainables.features.budget import GB
from trainables.features.stored_files import features_folder

FROZEN = {0: next(config for config in CONFIGS.values() if config["model.backbone"] == "efficientnet_lite0")}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of one frozen net, whose features are gone."""
    made: RunFolder = make_run(tmp_path, FROZEN)
    shutil.rmtree(features_folder(Path(made.search().store)))
    return made


def stored_after_a_prediction(run: RunFolder) -> int:
    found = predict_stored(
        run, run.out_of_fold(0).rows, [resolve_model(run, trial=0)], device=torch.device("cpu")
    )
    assert np.isfinite(found.probabilities[0]).all()
    return len(list(features_folder(Path(run.search().store)).rglob("*.npy")))


def test_without_a_budget_features_are_stored_again(run: RunFolder) -> None:
    assert stored_after_a_prediction(run) > 0


@pytest.mark.parametrize("is_measured", [True, False])
def test_a_prediction_after_the_search_keeps_to_its_disk_budget(run: RunFolder, is_measured: bool) -> None:
    run.write_search(run.search().with_options(disk_gb=1.0 if is_measured else 1e-7))
    if is_measured:  # all else takes everything
        run.store_limit_file.write_text("0\n")
    assert stored_after_a_prediction(run) == 0


def test_stored_features_have_what_both_budgets_leave(run: RunFolder) -> None:
    def budget(**options: float) -> float | None:
        return features_gb(run, run.search().with_options(**options))

    assert budget() is None
    assert budget(store_gb=3.0) == 3.0
    assert budget(disk_gb=2.0, store_gb=3.0) == 2.0
    run.store_limit_file.write_text(f"{GB}\n")
    assert budget(disk_gb=2.0) == 1.0
    assert budget(disk_gb=2.0, store_gb=0.5) == 0.5
    assert budget(store_gb=3.0) == 3.0
