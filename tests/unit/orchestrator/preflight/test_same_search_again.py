"""The same request on the same machine is the same search, however its clock jitters."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest

from orchestrator.preflight import feasibility
from orchestrator.preflight.feasibility import TrialBudget, find_feasible_models, measure_costs
from orchestrator.preflight.initial_points import choose_initial_points
from orchestrator.preflight.pricing import prices_of
from search_spaces.registry import space_named
from trainables.common.registered import registered
from trainables.config.trial_config import TrialConfig
from trainables.data.patches import PatchSet
from trainables.models.registry import backbone_named
from trainables.models.stages import Backbone
from trainables.models.weights import Inventory
from trainables.runtime.devices import choose_device
from trainables.training.cost import Cost

TASK = "benign_malignant"
NETS = ("efficientnet_lite0", "vgg16", "intensity")
BUDGET = TrialBudget(100, 100, 300, 100, 10, 30.0, slots=1, is_forced=False, allows_plain=True)


@pytest.fixture(autouse=True)
def jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every measurement of a net finds another time."""
    seconds = itertools.count(1)

    def measured(net: Backbone, **options: Any) -> Cost:
        forward = next(seconds) / 40
        if net.is_fixed:
            return Cost(forward, None, dict.fromkeys(net.levels, math.inf))
        return Cost(forward, None, dict.fromkeys(net.levels, 3 * forward))

    monkeypatch.setattr(feasibility, "measure_cost", measured)


def begun(patches: PatchSet, store: Path) -> tuple[Any, ...]:
    """What is decided by costs: nets, their sides and depths, and the order of the first points."""

    def check(config: TrialConfig) -> None:
        pass

    inventory, device = Inventory(dict.fromkeys(NETS), {}), choose_device(0.0)
    costs = measure_costs(inventory, patches, device, store=store)
    feasible = find_feasible_models(inventory, costs, patches, device, BUDGET)
    points = choose_initial_points((), TASK, space_named(TASK)).fitting(
        check,
        {},
        epochs=10,
        trials=50,
        price=prices_of(feasible, BUDGET.counts),
        longest_seconds=math.inf,
    )
    order = [(point.recipe, dict(point.settings)) for point in points.points]
    return feasible.context, feasible.left_out, feasible.costs, order


def test_two_starts_with_a_jittering_clock_are_one_search(bright_patches: PatchSet, tmp_path: Path) -> None:
    first = begun(bright_patches, tmp_path / "store")
    assert first[3]
    assert begun(bright_patches, tmp_path / "store") == first
    assert begun(bright_patches, tmp_path / "another")[:3] != first[:3]


def test_an_export_that_is_new_is_measured(bright_patches: PatchSet, tmp_path: Path) -> None:
    """Before there is one, a cost is an upper bound."""
    before = begun(bright_patches, tmp_path)[2]
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "0.onnx").touch()
    assert begun(bright_patches, tmp_path)[2] != before
    assert begun(bright_patches, tmp_path)[2] == begun(bright_patches, tmp_path)[2]


def test_a_net_that_a_program_has_registered_is_always_measured(
    bright_patches: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"vgg16": backbone_named("vgg16")}
    monkeypatch.setattr(
        feasibility, "registered", lambda kind: own if kind == "backbone" else registered(kind)
    )
    one, other = (begun(bright_patches, tmp_path)[2] for _ in range(2))
    assert {name for name in NETS if one.get(name) != other.get(name)} == {"vgg16"}
