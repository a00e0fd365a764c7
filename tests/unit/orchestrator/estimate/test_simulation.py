"""What a search would do and take, before it runs."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import orchestrator.cli.plan as plan_verb
from cluster.background import KnownConnection
from cluster.connect import Connection
from orchestrator.cli.main import main
from orchestrator.estimate.cost_model import FeatureRequirement, PassCost, TrialCost
from orchestrator.estimate.drawn_search import (
    TimeShares,
    draw_epochs,
    draw_search,
    finish_times,
    simulate_search,
)
from orchestrator.estimate.nested import estimate_nested
from orchestrator.estimate.simulation import Estimate, _slots, estimate_search
from orchestrator.preflight.preflight import run_preflight
from orchestrator.request import SearchRequest
from orchestrator.study.pruners import pruners
from trainables.data.patches import PatchSet
from trainables.data.training_data import training_data_of
from trainables.features.loading import open_features
from trainables.models.registry import backbone_named
from trainables.models.taps import Tap, feature_shapes, taps_to_share
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.cost_probe import measure_crowding

pytestmark = pytest.mark.slow

CHEAP = {
    "model.backbone": "efficientnet_lite0",
    "model.trained_stages": 0,
    "model.head.pooling": "gap",
    "model.head.hidden": 64,
    "training.batch_size": 64,
}
TOP, LOWER = Tap("block7", True), Tap("block5", True)

HALVING = pruners()["halving"]


@pytest.fixture
def make_point() -> Callable[..., TrialCost]:
    def make(**fields: Any) -> TrialCost:
        views, tap = fields.pop("views", ("d4-0", "d4-1")), fields.pop("tap", TOP)
        backbone = fields.pop("backbone", "resnet50")
        fills = fields.pop("fills", {TOP: 100, LOWER: 50})
        defaults: dict[str, Any] = {
            "backbone": backbone,
            "epochs": 30,
            "patience": 8,
            "is_recipe": False,
            "passes": tuple(PassCost(backbone, "key", view, (tap,), fills, 10.0) for view in views),
            "epoch_seconds": 2.0,
            "memory_bytes": 0,
        }
        return TrialCost(**(defaults | fields))

    return make


@pytest.fixture
def small_file(tmp_path: Path, bright_patches: PatchSet) -> Path:
    path = tmp_path / "small.npz"
    content = {name: getattr(bright_patches, name) for name in ("images", "labels")}
    np.savez(path, **content, patient=bright_patches.patients)
    return path


@pytest.fixture
def request_of(tmp_path: Path, small_file: Path) -> Callable[..., SearchRequest]:
    def make(**fields: Any) -> SearchRequest:
        defaults: dict[str, Any] = {
            "task": "benign_malignant",
            "data": str(small_file),
            "label_codes": "task",
            "runs": tmp_path / "runs",
            "trials": 4,
            "epochs": 4,
            "may_download": False,
            "fixed_params": CHEAP,
        }
        return SearchRequest(**(defaults | fields))

    return make


def planned(request: SearchRequest) -> Estimate:
    machine = Connection("", True, 1.0, 0.0, 1, "")
    return estimate_search(run_preflight(request, KnownConnection(machine), lambda _: None))


def test_a_second_trial_reads_what_the_first_one_computed(make_point: Callable[..., TrialCost]) -> None:
    outcome = simulate_search([(make_point(), 1), (make_point(tap=LOWER), 1)], frozenset())
    assert outcome.passes == [("key", "d4-0"), ("key", "d4-1")]
    assert outcome.prefix_seconds["resnet50"] == 20.0
    assert outcome.stored_bytes["resnet50"] == 2 * (100 + 50)
    assert outcome.durations[0] - outcome.durations[1] == pytest.approx(20.0)


def test_a_warm_view_is_not_computed(make_point: Callable[..., TrialCost]) -> None:
    outcome = simulate_search([(make_point(), 1)], frozenset({FeatureRequirement("key", "d4-0", TOP)}))
    assert outcome.passes == [("key", "d4-1")]


def test_a_tap_that_nobody_shares_costs_another_pass_but_only_its_own_disk(
    make_point: Callable[..., TrialCost],
) -> None:
    deep = Tap("block3", False)
    own = make_point(views=("d4-0",), tap=deep, fills={deep: 7, TOP: 100, LOWER: 50})
    outcome = simulate_search([(make_point(views=("d4-0",)), 1), (own, 1)], frozenset())
    assert len(outcome.passes) == 2
    assert outcome.stored_bytes["resnet50"] == 150 + 7


def test_without_a_store_every_trial_computes_for_itself(make_point: Callable[..., TrialCost]) -> None:
    outcome = simulate_search([(make_point(), 1), (make_point(), 1)], frozenset(), is_stored=False)
    assert len(outcome.passes) == 4
    assert outcome.stored_bytes["resnet50"] == 0


def test_a_trial_on_several_backbones_is_counted_for_each_and_trains_for_its_first(
    make_point: Callable[..., TrialCost],
) -> None:
    first = make_point(views=("d4-0",))
    further = PassCost("vgg16", "other", "d4-0", (TOP,), {TOP: 30}, 7.0)
    both = replace(first, passes=(*first.passes, further))
    outcome = simulate_search([(both, 1), (first, 1)], frozenset())
    assert outcome.passes == [("key", "d4-0"), ("other", "d4-0")]
    assert outcome.prefix_seconds == {"resnet50": 10.0, "vgg16": 7.0}
    assert outcome.stored_bytes == {"resnet50": 150, "vgg16": 30}
    assert outcome.trials == {"resnet50": 2, "vgg16": 1}
    assert outcome.training_seconds.keys() == {"resnet50"}
    assert outcome.durations[0] - outcome.durations[1] == pytest.approx(17.0)


def test_a_pass_is_made_once_for_all_taps_that_a_trial_reads_from_it(
    make_point: Callable[..., TrialCost],
) -> None:
    deep = Tap("block3", True)
    passes = (PassCost("resnet50", "key", "d4-0", (TOP, deep), {TOP: 100, LOWER: 50, deep: 7}, 10.0),)
    outcome = simulate_search([(make_point(views=("d4-0",)), 1), (make_point(passes=passes), 1)], frozenset())
    assert len(outcome.passes) == 2  # the first one has left no features of block3
    assert outcome.stored_bytes["resnet50"] == 150 + 7


def test_training_time_is_in_proportion_to_epochs(make_point: Callable[..., TrialCost]) -> None:
    short, long = (simulate_search([(make_point(passes=()), epochs)], frozenset()) for epochs in (5, 15))
    assert long.durations[0] - short.durations[0] == pytest.approx(20.0)


def test_two_workers_take_half_the_time_of_one() -> None:
    assert max(finish_times([2.0] * 8, slots=1)) == 16.0
    assert max(finish_times([2.0] * 8, slots=2)) == 8.0


def test_recipes_come_first_and_are_never_pruned(make_point: Callable[..., TrialCost]) -> None:
    recipe = make_point(is_recipe=True, backbone="vgg16", patience=None)
    drawn = list(draw_search([recipe, make_point()], 6, HALVING, np.random.default_rng(0), longest=30))
    assert [point.backbone for point, _ in drawn] == ["vgg16"] + ["resnet50"] * 5
    random = np.random.default_rng(0)
    assert {draw_epochs(recipe, 20, HALVING, random, longest=30) for _ in range(50)} == {30}


@pytest.mark.parametrize("name", sorted(pruners()))
def test_the_plan_of_every_pruner_ends_and_none_takes_more_epochs_than_no_pruner(
    name: str, make_point: Callable[..., TrialCost]
) -> None:
    random = np.random.default_rng(0)
    pruner, point = pruners()[name], make_point(patience=None)
    epochs = [
        draw_epochs(point, 10, pruner, random, longest=30) for _ in range(3000)
    ]  # few outlive five medians
    assert min(epochs) >= (5 if name != "none" else 30)
    assert max(epochs) == 30
    assert all(own == 30 or pruner.decides_at(own, 30) for own in epochs)


def test_under_a_time_limit_a_trial_costs_no_more_than_its_share_of_what_is_left(
    make_point: Callable[..., TrialCost],
) -> None:
    dear = make_point(backbone="vgg16", epochs=1, epoch_seconds=20.0, passes=(), patience=None)
    brief = make_point(backbone="intensity", epochs=1, epoch_seconds=0.5, passes=(), patience=None)
    shares = TimeShares(seconds=100.0, slots=2, warm=frozenset())
    random = np.random.default_rng(0)
    drawn = list(draw_search([dear, brief], 60, HALVING, random, longest=1, shares=shares))
    names = [point.backbone for point, _ in drawn]
    assert 0 < names.count("vgg16") < 3  # of 200 s of two workers an eighth is enough for the first ones
    last = len(names) - 1 - names[::-1].index("vgg16")
    assert 200.0 - 20.0 * names[:last].count("vgg16") > 8 * 20.0
    plain = [own.backbone for own, _ in draw_search([dear, brief], 60, HALVING, random, longest=1)]
    assert plain.count("vgg16") > 15


def test_a_pass_that_was_made_counts_no_more_for_a_share(make_point: Callable[..., TrialCost]) -> None:
    shares = TimeShares(seconds=100.0, slots=1, warm=frozenset())
    point = make_point(epochs=1, epoch_seconds=0.1)  # two passes of ten seconds
    other = make_point(backbone="intensity", epochs=1, epoch_seconds=0.1, passes=())
    assert shares.allowed([point, other]) == [other]
    shares.add(point, 1)
    assert shares.allowed([point, other]) == [point, other]


def test_half_of_the_later_trials_end_at_the_first_rung(make_point: Callable[..., TrialCost]) -> None:
    random = np.random.default_rng(0)
    epochs = [draw_epochs(make_point(patience=None), 10, HALVING, random, longest=30) for _ in range(2000)]
    assert np.mean(np.array(epochs) == 5) == pytest.approx(0.5, abs=0.04)
    assert np.mean(np.array(epochs) == 30) == pytest.approx(1 / 8, abs=0.03)


def test_the_first_trials_are_not_pruned(make_point: Callable[..., TrialCost]) -> None:
    random = np.random.default_rng(0)
    assert {draw_epochs(make_point(patience=None), 3, HALVING, random, longest=30) for _ in range(50)} == {30}


def test_a_plan_finishes_what_a_search_finishes_because_it_costs_seconds(
    make_point: Callable[..., TrialCost],
) -> None:
    random = np.random.default_rng(0)

    def epochs(seconds: float) -> set[int]:
        point = make_point(patience=None, epoch_seconds=seconds)
        return {draw_epochs(point, 10, HALVING, random, longest=30) for _ in range(50)}

    assert epochs(0.09) == {30}  # 2.7 s of training
    assert min(epochs(0.11)) == 5


def test_a_short_trial_is_compared_at_the_epochs_of_the_longest_ones(
    make_point: Callable[..., TrialCost],
) -> None:
    half = replace(HALVING, decides_at=lambda epoch, epochs: epoch == epochs // 2, survival=0.0)
    short, random = make_point(epochs=20, patience=None), np.random.default_rng(0)
    assert {draw_epochs(short, 10, half, random, longest=30) for _ in range(50)} == {15}


def test_a_trial_runs_no_longer_than_its_epochs(make_point: Callable[..., TrialCost]) -> None:
    random = np.random.default_rng(0)
    assert max(draw_epochs(make_point(epochs=3), 9, HALVING, random, longest=30) for _ in range(50)) == 3


def test_one_worker_is_crowded_by_nobody() -> None:
    assert measure_crowding(1) == 1.0


def test_crowding_lies_between_one_and_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((1.0, 5.0, 1.0, 0.5, 1.0, 1.4))
    monkeypatch.setattr("trainables.training.cost_probe._crowd", lambda count: next(times))
    monkeypatch.setattr("trainables.training.cost_probe.count_cpus", lambda: 2)
    assert [measure_crowding(2) for _ in range(3)] == [2.0, 1.0, 1.4]


def test_a_plan_says_what_is_there_and_leaves_no_run_folder(
    request_of: Callable[..., SearchRequest], tmp_path: Path
) -> None:
    plan = planned(request_of(trials=100, minutes=0.05))
    training, test = plan.parts
    assert sum(training.images.values()) > sum(test.images.values()) > 0
    assert not plan.is_synthetic
    assert [backbone.backbone for backbone in plan.backbones] == ["efficientnet_lite0"]
    assert plan.backbones[0].passes > 0
    assert plan.backbones[0].weights == "ImageNet weights from package"
    assert plan.seconds[0] <= plan.seconds[1] <= plan.seconds[2]
    assert plan.trials_in_budget < plan.trials
    assert {key.warm_views for key in plan.keys} == {0}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".store"]


def test_a_hold_out_trains_one_model_and_is_planned_in_three_parts(
    request_of: Callable[..., SearchRequest],
) -> None:
    folds, holdout = (planned(request_of(**protocol)) for protocol in ({"folds": 5}, {"holdout": 0.3}))
    assert [part.name for part in folds.parts] == ["folds", "test"]
    assert [part.name for part in holdout.parts] == ["training", "validation", "test"]
    assert holdout.folds == 1
    assert sum(holdout.parts[0].images.values()) > sum(holdout.parts[1].images.values()) > 0
    assert sum(part.all_groups for part in holdout.parts) == sum(part.all_groups for part in folds.parts)


def test_a_plan_names_a_naive_split(request_of: Callable[..., SearchRequest]) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(plan_verb.plan_table(planned(request_of(naive_split=True))))
    assert console.export_text().startswith("NAIVE SPLIT benign_malignant on small.npz")


def test_features_that_a_search_stored_are_warm_for_the_plan(
    request_of: Callable[..., SearchRequest],
) -> None:
    request = request_of(
        fixed_params=CHEAP
        | {"training.augmentation": "none", "input.contrast": 1.0, "input.contrast_test": "same"}
    )
    cold = planned(request)
    assert cold.backbones[0].views == 1
    assert len(cold.keys) == 1
    _store_features_as_a_trial_does(request)
    warm = planned(request)
    assert warm.backbones[0].views == 0
    assert warm.backbones[0].warm_views == warm.keys[0].warm_views == 1


def test_a_nested_search_takes_its_heads_and_no_features_that_are_there(
    make_point: Callable[..., TrialCost],
) -> None:
    points = [make_point(is_recipe=True), make_point(tap=LOWER, is_recipe=True)]
    search = [(point, 5) for point in points]

    def found(**options: Any) -> Any:
        fixed = {"longest": 30, "folds": 4, "slots": 2, "budget_seconds": None, "is_stored": True} | options
        return estimate_nested(
            [search] * 30, points, frozenset(), pruners()["none"], random=np.random.default_rng(0), **fixed
        )

    nested = found()
    assert nested.prefix_seconds == 0  # the search has stored both keys
    # Four searches of two trials on three quarters of the patients, of 9 to 30 epochs each.
    assert 4 * 2 * 0.75 * 9 * 2.0 < nested.training_seconds < 4 * 2 * 0.75 * 30 * 2.0 + 3
    assert nested.ratio == pytest.approx(nested.training_seconds / (20.0 + 2 * (5 * 2.0 + 0.3)))
    assert nested.seconds[0] < nested.seconds[1] < nested.seconds[2]
    assert found(is_stored=False).prefix_seconds == 4 * 2 * 20.0
    assert found(budget_seconds=1.0).seconds == pytest.approx((4 * 13.0,) * 3)


def test_the_plan_of_a_nested_search_says_what_it_takes_besides(
    request_of: Callable[..., SearchRequest],
) -> None:
    assert planned(request_of()).nested is None
    plan = planned(request_of(outer=2))
    assert plan.nested is not None
    assert plan.nested.prefix_seconds < plan.prefix_seconds
    assert plan.nested.ratio < 2
    console = Console(file=io.StringIO(), width=80)
    console.print(plan_verb.plan_table(plan))
    text = " ".join(console.file.getvalue().split())
    assert "the 2 searches without an outer fold take about" in text


@pytest.mark.long
def test_a_plan_runs_no_more_at_once_than_their_memory_allows(
    request_of: Callable[..., SearchRequest],
) -> None:
    machine = KnownConnection(Connection("", True, 3.0, 0.0, 1, ""))

    def at_once(memory_gb: float | None) -> int:
        return estimate_search(run_preflight(request_of(memory_gb=memory_gb), machine, lambda _: None)).slots

    assert (at_once(None), at_once(64.0), at_once(3.0)) == (3, 3, 1)
    # Of three workers that are counted with a gigabyte, two of this size fit.
    preflight = run_preflight(request_of(memory_gb=5.0), machine, lambda _: None)
    assert (preflight.slots, _slots(preflight, 1_500_000_000)) == (3, 2)


def _store_features_as_a_trial_does(request: SearchRequest) -> None:
    preflight = run_preflight(request, KnownConnection(Connection("", True, 1.0, 0.0, 1, "")), lambda _: None)
    backbone = backbone_named("efficientnet_lite0")
    shapes = feature_shapes(backbone.name, 3, preflight.feasible.context.sizes_px[backbone.name])
    taps = {backbone.name: taps_to_share(backbone, shapes, depths=(0, 1))}
    place = TrialRuntime(preflight.store, torch.device("cpu"), preflight.inventory.usable, taps)
    open_features(
        preflight.points[0], training_data_of(preflight.patch_set, preflight.task, preflight.split), place
    )


def test_the_verb_prints_tables_that_fit_80_columns(
    request_of: Callable[..., SearchRequest],
) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    plan = replace(planned(request_of()), is_synthetic=True)
    console.print(plan_verb.plan_table(plan))
    text = console.export_text()
    assert text.startswith("SYNTHETIC benign_malignant on small.npz: 4 trials, none has run")
    assert "efficientnet_lite0" in text
    assert "total" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_verb_prints_json_alone_on_standard_output(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, small_file: Path
) -> None:
    fixed = [text for name, value in CHEAP.items() for text in ("--set", f"{name}={value}")]
    options = ["--runs", str(tmp_path), "--offline", "--trials", "2", "--epochs", "2", "--workers", "1"]
    options += ["--data", str(small_file), "--label-codes", "task"]
    assert main(["plan", "benign_malignant", *options, *fixed, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trials"] == 2
    assert found["backbones"][0]["backbone"] == "efficientnet_lite0"


def test_a_request_that_no_search_would_take_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["plan", "benign_malignant", "--runs", str(tmp_path), "--trials", "0"]) == 2
    assert "--trials must be at least 1, found 0" in capsys.readouterr().err
