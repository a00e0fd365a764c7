"""One pass of the frozen stages over a film finds what the windows find one by one."""

import numpy as np
import pytest
from finished_run import CONFIGS, make_run

from orchestrator.postprocessing.relevance_methods import any_method
from results.predictors.explained_model import ExplainedModel
from results.predictors.loading import open_model
from results.predictors.whole_film import can_pass_once, film_map
from results.relevance.faithfulness import rank_correlation
from results.relevance.frame import peak_of
from results.relevance.method import RelevanceSettings
from results.relevance.sliding import slide
from results.run.run_folder import RunFolder

pytestmark = pytest.mark.slow

WINDOW = 64
SPOT = (200, 328)  # row and column of the bright square's corner
POOLED = {
    "model.backbone": "efficientnet_lite0",
    "model.cut": "block3",
    "model.head.hidden": [],
    "training.augmentation": "flips",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Trials on patches of 64 pixels: with pooled features of four views, with a map, and from pixels."""
    return make_run(
        tmp_path_factory.mktemp("film"), {0: CONFIGS[0], 1: POOLED, 2: CONFIGS[2]}, dtype="uint8", epochs=12
    )


@pytest.fixture(scope="module")
def model(run: RunFolder) -> ExplainedModel:
    return ExplainedModel(open_model(run, trial=1).module, {})


def film(height: int = 400, width: int = 528) -> np.ndarray:
    """Noise like that of the patches with one bright square, and a dark background at the right."""
    grey = 0.3 + 0.1 * np.random.default_rng(3).normal(size=(height, width))
    grey[SPOT[0] : SPOT[0] + 11, SPOT[1] : SPOT[1] + 11] += 0.3
    found = (np.clip(grey, 0, 1) * 255).astype(np.uint8)
    found[:, 440:] = 0
    return found


@pytest.mark.long
def test_one_pass_is_like_the_windows_one_by_one(model: ExplainedModel) -> None:
    image = film()
    once = film_map(model, image, 1, window_px=WINDOW)
    heat = slide(model.predict, image, 1, window_px=WINDOW, step=0.25)
    assert once.values.shape == image.shape
    assert once.evaluations == pytest.approx(heat.windows, rel=0.1)
    cells = np.nan_to_num(heat.values).repeat(heat.cell_px, axis=0).repeat(heat.cell_px, axis=1)
    one_by_one = cells[: image.shape[0], : image.shape[1]]
    shown = np.s_[:, :380]
    assert rank_correlation(once.values[shown], one_by_one[shown]) > 0.6
    assert np.abs(once.values[shown] - one_by_one[shown]).mean() < 0.1
    assert (once.values[:, 520:] == 0).all()  # background
    # The highest place of one pass is among the highest of the windows.
    row, column = peak_of(once.values)
    near = one_by_one[max(0, row - 16) : row + 16, max(0, column - 16) : column + 16]
    assert near.max() >= np.quantile(one_by_one, 0.95)


def test_a_film_of_one_window_is_the_window(model: ExplainedModel) -> None:
    """There is no film around it, so that the stages see the same zeros behind its edge."""
    image = film()[:WINDOW, :WINDOW]
    once = film_map(model, image, 1, window_px=WINDOW)
    np.testing.assert_allclose(once.values, model.predict(image[None])[0, 1], atol=1e-5)
    assert once.evaluations == 1


def test_tiles_make_no_difference(model: ExplainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = film_map(model, film(), 1, window_px=WINDOW).values
    monkeypatch.setattr("results.predictors.whole_film._TILE", 256)
    tiled = film_map(model, film(), 1, window_px=WINDOW).values
    np.testing.assert_allclose(tiled, whole, atol=0.02)


def test_marks_are_windows_of_the_film_at_another_scale(model: ExplainedModel) -> None:
    large = film().repeat(2, axis=0).repeat(2, axis=1)
    found = film_map(model, large, 1, window_px=2 * WINDOW)
    assert found.values.shape == large.shape
    assert found.marks
    assert all(one.box.width == one.box.height == 2 * WINDOW for one in found.marks)
    box = found.marks[0].box
    at = found.values[box.top + box.height // 2, box.left + box.width // 2]
    assert at >= np.quantile(found.values, 0.9)
    assert all(one.box.left + one.box.width <= large.shape[1] for one in found.marks)


def test_models_that_need_whole_windows_are_asked_window_by_window(run: RunFolder) -> None:
    settings = RelevanceSettings(seconds=0.5, window_px=WINDOW)
    for number in (0, 2):
        other = ExplainedModel(open_model(run, trial=number).module, {})
        assert not can_pass_once(other)
    assert any_method("windows").compute(other, film()[:130, :130], 1, settings).evaluations >= 9


def test_the_method_windows_passes_once_where_it_can(model: ExplainedModel) -> None:
    settings = RelevanceSettings(window_px=WINDOW)
    found = any_method("windows").compute(model, film(), 1, settings)
    np.testing.assert_array_equal(found.values, film_map(model, film(), 1, window_px=WINDOW).values)
