"""What lies inside a finished trial's model: it is what was trained, and what predicts."""

from pathlib import Path

import numpy as np
import pytest
from finished_run import CONFIGS, make_run

from orchestrator.reporting.inner_pictures import Allowance, draw_best_inside, draw_growth, draw_inside
from orchestrator.reporting.tensorboard import TensorBoardLog
from results.predictors.inner_view import features_of_images, inner_view, predictions_by_contrast
from results.run.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    configs = {0: {**CONFIGS[0], "training.augmentation": "none"}, 1: CONFIGS[0]}
    return make_run(tmp_path_factory.mktemp("inner"), configs, backbones=("scratch4",))


def test_layers_weights_and_kernels_are_those_of_the_net(run: RunFolder) -> None:
    found = inner_view(run, 0, int(run.out_of_fold(0).rows[0]))
    kinds = [layer.kind for layer in found.layers]
    assert kinds.count("Conv2d") >= 3
    assert kinds[-1] == "Linear"
    assert found.layers[-1].shape == (1,)  # one logit, whose sign is the class
    assert len({layer.name for layer in found.layers}) == len(found.layers)
    assert sum(layer.parameters for layer in found.layers) == pytest.approx(
        sum(values.size for values in found.weights.values()), rel=0.1
    )
    assert found.kernels is not None
    assert found.kernels.shape[-1] in (1, 3)


def test_without_a_change_of_contrast_each_image_is_predicted_as_it_was_out_of_fold(run: RunFolder) -> None:
    own = run.out_of_fold(0)
    places, found = predictions_by_contrast(run, 0, own, (1.0, 2.0), seconds=60.0)
    assert sorted(places.tolist()) == list(range(len(own.rows)))
    np.testing.assert_allclose(found[1.0], own.probabilities[places, 1], atol=2e-4)
    assert np.abs(found[2.0] - found[1.0]).max() > 1e-3


def test_time_bounds_the_images(run: RunFolder) -> None:
    own = run.out_of_fold(0)
    features, rows = features_of_images(run, 0, own.rows, seconds=0.0)
    assert 0 < len(rows) < len(own.rows)
    assert len(features) == len(rows)
    assert np.isfinite(features).all()


@pytest.mark.long
def test_the_best_trial_is_drawn_from_inside_within_its_allowance(run: RunFolder, tmp_path: Path) -> None:
    record, own = run.record(0), run.out_of_fold(0)
    assert record is not None
    log, search = TensorBoardLog(tmp_path), run.search()
    none = Allowance(0.0)
    draw_inside(log, run, search, record, own, none)
    draw_best_inside(log, run, search, record, own, run.patch_set(), none)
    assert not (log.trial_folder(0) / "projector_config.pbtxt").exists()
    enough = Allowance(60.0)
    draw_inside(log, run, search, record, own, enough)
    draw_best_inside(log, run, search, record, own, run.patch_set(), enough)
    assert {"features.tsv", "points.tsv", "pictures.png", "projector_config.pbtxt"} <= {
        path.name for path in log.trial_folder(0).iterdir()
    }
    draw_growth(log, search, list(run.readable_predictions(run.records())))
    assert (tmp_path / "search").is_dir()
