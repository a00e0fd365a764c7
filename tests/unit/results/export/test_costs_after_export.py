"""Figures of a run by which models are compared, after one of them was exported."""

from pathlib import Path

import numpy as np
import pytest
from finished_run import CONFIGS, make_run

from results.export.bundle import export_bundle
from results.export.graph_cost import measure_models
from results.run.prediction_costs import PredictionTime, add_costs, read_costs
from results.run.run_folder import RunFolder
from trainables.data.patches import RawPatches

pytestmark = pytest.mark.slow

IMAGES = 120
FROZEN = {**CONFIGS[1], "model.cut": "block3", "training.augmentation": "none"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two trials of one structure with frozen stages, of enough patients for a novelty score, and a net."""
    random = np.random.default_rng(0)
    grey = np.clip(0.3 + 0.1 * random.normal(size=(IMAGES, 64, 64)), 0, 1)
    raw = RawPatches(
        (grey * 65535).astype(np.uint16),
        np.arange(IMAGES) % 2,
        "task",
        patients=np.array([f"P{row}" for row in range(IMAGES)]),
        source="noise",
        is_synthetic=True,
    )
    configs = {0: FROZEN, 1: {**FROZEN, "optimizer.lr": 0.01}, 2: CONFIGS[0]}
    return make_run(tmp_path_factory.mktemp("run"), configs, raw=raw)


def test_equal_trials_cost_the_same_after_one_was_exported_with_a_novelty_score(
    run: RunFolder, tmp_path: Path
) -> None:
    measure_models(run, [(0,), (1,)])
    report = export_bundle(run, tmp_path / "bundle", trial=0, held_out_limit=4)
    assert report.manifest.novelty is not None
    costs = read_costs(run)
    assert costs.of((0,)) is not None
    assert [getattr(costs.of((0,)), name) for name in PredictionTime.model_fields] == [
        getattr(costs.of((1,)), name) for name in PredictionTime.model_fields
    ]
    assert report.manifest.cost is not None
    assert report.manifest.cost.megabytes == pytest.approx((report.path / "model.onnx").stat().st_size / 1e6)


def test_a_file_with_a_novelty_score_is_no_figure_of_a_model_that_was_not_measured(
    run: RunFolder, tmp_path: Path
) -> None:
    run.costs_file.unlink(missing_ok=True)
    export_bundle(run, tmp_path / "bundle", trial=0, held_out_limit=4)
    assert read_costs(run).of((0,)) is None


@pytest.mark.long
def test_the_figure_of_an_export_is_kept_once_and_replaces_none(run: RunFolder, tmp_path: Path) -> None:
    run.costs_file.unlink(missing_ok=True)
    report = export_bundle(run, tmp_path / "first", trial=2, held_out_limit=4)
    assert report.manifest.novelty is None
    first = read_costs(run).of((2,))
    assert first is not None
    assert first.core_ms == pytest.approx(getattr(report.manifest.cost, "core_ms", None))
    add_costs(run, {(2,): PredictionTime(core_ms=1.0, megabytes=1.0)})
    export_bundle(run, tmp_path / "second", trial=2, held_out_limit=4)
    assert getattr(read_costs(run).of((2,)), "core_ms", None) == 1.0
