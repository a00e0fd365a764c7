"""What a prediction costs, measured on exported graphs: each structure once, and shared passes once."""

import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from finished_run import CONFIGS, make_run

from orchestrator.api.result import SearchResult
from results.ensembles.build import build_ensembles
from results.ensembles.methods import METHODS
from results.ensembles.tables import ensemble_table, ensembles_as_json
from results.ensembles.weighted_mean import WeightedMean, weighted_mean
from results.errors import EnsembleError, ExportError
from results.export import graph_cost as graph_cost_module
from results.export.bundle import export_bundle
from results.export.graph_cost import graph_cost, measure_models
from results.export.within_time import best_within
from results.predictors.ensemble_module import EnsembleModule, combination_graph
from results.predictors.loading import finished_members
from results.run.prediction_costs import ModelCost, PredictionCosts, PredictionTime, add_costs, read_costs
from results.run.run_folder import RunFolder
from results.scores.leaderboard import leaderboard
from results.scores.leaderboard_table import leaderboard_table, rows_as_csv, rows_as_json
from trainables.inference.finished_trials import ImageFormat, SharedBackbones

NET = {**CONFIGS[0], "training.augmentation": "none"}
FROZEN = {**CONFIGS[1], "model.cut": "top", "training.augmentation": "none"}
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]  # eight exports before the first test

IMAGE = ImageFormat((64, 64), 65535.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two nets of one structure, one with more views, and two heads on one frozen backbone."""
    configs = {0: NET, 1: {**NET, "optimizer.lr": 0.01}, 2: {**NET, "training.augmentation": "d4"}}
    configs |= {3: FROZEN, 4: {**FROZEN, "optimizer.lr": 0.01}}
    run = make_run(tmp_path_factory.mktemp("run"), configs, epochs=1)
    measure_models(run, [(0,), (1,), (2,), (0, 1), (0, 2), (3,), (4,), (3, 4)])
    return run


def test_more_views_cost_more_time_and_no_more_memory(run):
    costs = read_costs(run)
    one, eight = costs.of((0,)), costs.of((2,))
    assert eight.core_ms > 2 * one.core_ms > 0
    assert eight.megabytes == pytest.approx(one.megabytes, rel=0.3)


def test_trials_of_one_structure_are_measured_once(run):
    costs = read_costs(run)
    assert costs.of((0,)).core_ms == costs.of((1,)).core_ms
    assert len(list((run.path.parents[2] / "store" / "prediction_costs").glob("*.json"))) == 6


def test_a_figure_in_the_store_is_not_measured_again(run):
    trials = finished_members(run, [0])
    begun = time.monotonic()
    found = graph_cost(trials, IMAGE, classes=2, store=run.path.parents[2] / "store")
    assert time.monotonic() - begun < 0.5
    assert found.core_ms == read_costs(run).of((0,)).core_ms


def test_the_size_is_that_of_the_exported_file(run, tmp_path):
    measured = read_costs(run).of((4,)).megabytes
    export_bundle(run, tmp_path / "bundle", trial=4)
    exported = (tmp_path / "bundle" / "model.onnx").stat().st_size / 1e6
    assert measured == pytest.approx(exported, rel=0.05)


@pytest.mark.parametrize("numbers", [[2], [3, 4]], ids=["net", "heads"])
def test_nothing_of_the_module_that_a_gpu_computes_stays_on_another_device(run, numbers):
    shared = SharedBackbones(finished_members(run, numbers), IMAGE, classes=2)
    rule = WeightedMean(weights=(1 / len(numbers),) * len(numbers))
    module = EnsembleModule(shared, combination_graph(rule, None)).to("meta")  # refuses tensors of any other
    found = module(raw=torch.zeros(2, *IMAGE.shape, dtype=torch.int32, device="meta"))
    assert (found.device.type, tuple(found.shape)) == ("meta", (2, 2))


@pytest.mark.parametrize(("here", "again"), [("the same card", False), ("another card", True), (None, False)])
def test_a_time_on_another_gpu_is_measured_again(run, monkeypatch, here, again):
    measured = []

    def measure(run, members, say):
        measured.append(tuple(members))
        return PredictionTime(core_ms=1.0, gpu_ms=1.0, gpu_runtime="torch", gpu_name=here, megabytes=1.0)

    known = read_costs(run)
    cost = PredictionTime(
        core_ms=2.0, gpu_ms=3.0, gpu_runtime="torch", gpu_name="the same card", megabytes=1.0
    )
    monkeypatch.setattr(graph_cost_module, "gpu_here", lambda: here)
    monkeypatch.setattr(graph_cost_module, "gpu_name", lambda: here)
    monkeypatch.setattr(graph_cost_module, "_of_run", measure)
    try:
        add_costs(run, {(97,): cost})
        measure_models(run, [(97,)])
    finally:
        run.write_json(run.path / "prediction_costs.json", known.model_dump(mode="json"))
    assert measured == ([(97,)] if again else [])


def test_members_are_known_in_any_order(run):
    assert read_costs(run).of((2, 0)) == read_costs(run).of((0, 2))


def test_members_that_share_a_backbone_share_its_pass(run):
    costs = read_costs(run)
    both, single = costs.of((3, 4)), costs.of((3,))
    assert both.core_ms < 1.5 * single.core_ms
    assert both.megabytes < 1.2 * single.megabytes
    apart, one = costs.of((0, 1)), costs.of((0,))  # nets from pixels have nothing in common
    assert apart.megabytes > 1.8 * one.megabytes


def test_nothing_is_measured_without_the_time_for_it(tmp_path):
    run = make_run(tmp_path, {0: NET}, epochs=1)
    assert measure_models(run, [(0,)], seconds=1.0) == {}
    assert not (run.path / "prediction_costs.json").exists()


def test_figures_of_another_machine_make_room_for_those_of_this_one(tmp_path):
    run = make_run(tmp_path, {0: NET}, epochs=1)
    elsewhere = PredictionCosts(
        processor="an abacus", models=(ModelCost(trials=(7,), core_ms=1e6, megabytes=1.0),)
    )
    (run.path / "prediction_costs.json").write_text(elsewhere.model_dump_json())
    assert read_costs(run).of((7,)).core_ms == 1e6
    add_costs(run, {(0,): PredictionTime(core_ms=2.0, megabytes=1.0)})
    assert read_costs(run).of((7,)) is None
    assert read_costs(run).of((0,)).core_ms == 2.0


def test_a_damaged_file_of_figures_counts_as_none(run, tmp_path):
    other = make_run(tmp_path, {0: NET}, epochs=1)
    (other.path / "prediction_costs.json").write_text("{")
    assert read_costs(other).models == ()


def test_the_leaderboard_shows_time_and_size_of_what_was_measured(run):
    rows = leaderboard(run)
    scored = [row for row in rows if row.rank]
    assert all(row.ms_per_image > 0 and row.megabytes > 0 for row in scored)
    assert rows[-1].ms_per_image is None  # the majority class needs no graph
    assert [column.header for column in leaderboard_table(rows).columns][3:5] == ["ms/image", "MB"]
    assert "of the exported graph, on one core" in leaderboard_table(rows).caption
    assert rows_as_json(rows)[0]["ms_per_image"] == scored[0].ms_per_image
    assert {"ms_per_image", "gpu_ms_per_image", "megabytes"} <= set(
        rows_as_csv(rows).split("\n")[0].split(",")
    )


def test_ensembles_cost_what_their_graph_costs(run):
    built = build_ensembles(
        run, seed=0, methods=["average"], measure=lambda models: measure_models(run, models)
    )
    for ensemble in built:
        known = read_costs(run).of(ensemble.trials)
        assert (ensemble.cost.core_ms, ensemble.cost.megabytes) == (known.core_ms, known.megabytes)
    (row, *_) = ensembles_as_json(built)
    assert row["ms_per_image"] == built[0].cost.core_ms
    assert "ms/image" in [column.header for column in ensemble_table(built).columns]


def test_a_limit_of_time_leaves_out_members_that_are_too_slow_and_takes_fewer(run):
    def measure(models):
        slow = {2: 50.0}
        times = {tuple(sorted(own)): sum(slow.get(number, 8.0) for number in own) for own in models}
        return {own: PredictionTime(core_ms=ms, megabytes=1.0) for own, ms in times.items()}

    built = build_ensembles(run, seed=0, methods=["average"], measure=measure, max_ms=20.0)
    assert [len(ensemble.trials) for ensemble in built] == [1, 2]
    assert all(2 not in ensemble.trials for ensemble in built)
    assert {ensemble.max_ms for ensemble in built} == {20.0}
    alone = build_ensembles(run, seed=0, methods=["average"], measure=measure, max_ms=10.0)
    assert [len(ensemble.trials) for ensemble in alone] == [1]
    assert alone[0].is_chosen


def test_a_method_with_one_weight_leaves_the_others_members_that_are_fast_together(run, monkeypatch):
    def measure(models):
        return {tuple(sorted(own)): PredictionTime(core_ms=8.0 * len(own), megabytes=1.0) for own in models}

    def one_weight(members, seed):
        weights = np.zeros(len(members.trials))
        weights[0] = 1.0
        return weighted_mean(weights)

    methods = {**METHODS, "grid": replace(METHODS["grid"], fit=one_weight)}
    monkeypatch.setattr("results.ensembles.methods.METHODS", methods)
    built = build_ensembles(run, seed=0, methods=["average", "grid"], measure=measure, max_ms=20.0)
    assert {ensemble.method: len(ensemble.trials) for ensemble in built} == {
        "best_single": 1,
        "average": 2,
        "grid": 1,
    }


def test_no_more_trials_are_measured_than_some_fold_would_choose(run):
    asked = []

    def measure(models):
        asked.extend(models)
        return {tuple(sorted(own)): PredictionTime(core_ms=1.0, megabytes=1.0) for own in models}

    (single,) = build_ensembles(run, seed=0, methods=[], measure=measure, max_ms=20.0, max_members=1)
    assert single.trials in asked
    assert len(set(asked)) <= 3  # of five trials: the best one of all and of each of two folds


def test_a_limit_that_nothing_keeps_is_refused_with_the_fastest(run):
    with pytest.raises(
        EnsembleError, match=r"within 1e-06 ms an image on one core: the fastest, trial \d, takes"
    ):
        build_ensembles(run, seed=0, measure=lambda models: measure_models(run, models), max_ms=1e-6)
    with pytest.raises(EnsembleError, match="needs something that measures it"):
        build_ensembles(run, seed=0, max_ms=1.0)
    build_ensembles(run, seed=0, methods=["average"])
    with pytest.raises(ExportError, match=r"no model of .* answers within 1e-06 ms an image .* takes"):
        best_within(run, 1e-6)


def test_an_export_within_a_time_takes_the_best_model_that_keeps_it(run, tmp_path):
    other = RunFolder(tmp_path / "run")
    shutil.copytree(run.path, other.path)
    times = {
        (1,): 5.0,
        (2,): 50.0,
        (1, 2): 55.0,
        (0,): 5.0,
        (0, 2): 55.0,
        (0, 1): 10.0,
        (3,): 90.0,
        (4,): 90.0,
    }
    add_costs(other, {own: PredictionTime(core_ms=ms, megabytes=1.0) for own, ms in times.items()})
    SearchResult(other).build_ensembles(methods=["average"], trials=[1, 2])
    assert best_within(other, 60.0) == ("best", None)
    _, trial = best_within(other, 20.0)
    assert trial in {None, 0, 1}
    report = export_bundle(other, tmp_path / "bundle", max_ms=20.0, held_out_limit=4)
    assert {member.trial for member in report.manifest.members} <= {0, 1}
    with pytest.raises(
        ExportError, match=r"trial 2 takes .* ms an image on one core, --max-ms allows 0.0001"
    ):
        export_bundle(other, tmp_path / "other", trial=2, max_ms=1e-4, held_out_limit=4)
