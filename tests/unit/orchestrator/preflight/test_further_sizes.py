"""Closed-form heads choose the side of the images, and small patches are enlarged for the first points."""

import dataclasses

import optuna
import pytest
from space_context import context

from orchestrator.preflight.feasibility import (
    FeasibleModels,
    TrialBudget,
    find_feasible_models,
)
from orchestrator.preflight.initial_points import InitialPoints
from orchestrator.preflight.pricing import prices_of
from orchestrator.study.price import Pass, PointPrice
from search_spaces.closed_form import HEADS, shared_sizes
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import space_named
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet
from trainables.models.registry import backbone_named
from trainables.models.weights import Inventory
from trainables.runtime.devices import choose_device
from trainables.training.cost import Cost

NAMES = ("efficientnet_lite0", "vgg16", "texture")
BUDGET = TrialBudget(100, 100, 300, 100, 10, 30.0, 1, is_forced=False, allows_plain=True)
SIZED = {"efficientnet_lite0": (112, 150, 224), "vgg16": (112,)}
CLOSED = {
    "model.backbone": "vgg16",
    "model.cut": "top",
    "model.also": ["efficientnet_lite0/top+1", "texture/top"],
    "classical.name": "lda",
    "training.augmentation": "none",
}


def feasible(patches: PatchSet, seconds: float, budget: TrialBudget = BUDGET) -> FeasibleModels:
    """What can be done where VGG16 takes so many seconds an image of 48 pixels."""
    inventory = Inventory(dict.fromkeys(NAMES), {})
    costs = {
        name: Cost(
            seconds if name == "vgg16" else 0.001, None, dict.fromkeys(backbone_named(name).levels, 0.001)
        )
        for name in NAMES
    }
    return find_feasible_models(inventory, costs, patches, choose_device(0.0), budget)


def sized(image_px: int) -> SpaceContext:
    return context(NAMES).model_copy(update={"further_sizes": SIZED, "heads": HEADS, "image_px": image_px})


@pytest.mark.parametrize(("seconds", "sides"), [(0.001, (112, 150, 224)), (0.16, (112,)), (0.4, ())])
def test_a_side_is_a_choice_where_its_passes_fit(
    bright_patches: PatchSet, seconds: float, sides: tuple[int, ...]
) -> None:
    found = feasible(bright_patches, seconds).context.further_sizes
    assert found.get("vgg16", ()) == sides
    assert found["efficientnet_lite0"] == (112, 150, 224)
    assert "texture" not in found


def test_without_closed_form_heads_no_further_side_is_a_choice(bright_patches: PatchSet) -> None:
    own = TrialBudget(100, 100, 300, 100, 10, 30.0, 1, is_forced=False)
    assert feasible(bright_patches, 0.001, own).context.further_sizes == {}


def test_a_larger_side_costs_more_by_its_pixels(bright_patches: PatchSet) -> None:
    found = feasible(bright_patches, 0.1)
    usual = found.context.sizes_px["vgg16"]
    own = {"model.backbone": "vgg16", "classical.name": "lda", "training.augmentation": "none"}
    price = prices_of(found, BUDGET.counts)
    plain, larger = (price(decode({**own, **more})).seconds for more in ({}, {"input.size_px": 2 * usual}))
    assert plain == pytest.approx(0.1 * BUDGET.images)
    assert larger == pytest.approx(4 * plain)


def test_what_was_measured_at_a_larger_side_counts_instead(bright_patches: PatchSet) -> None:
    inventory = Inventory({"efficientnet_lite0": None}, {})
    by_area = Cost(0.06, None, dict.fromkeys(backbone_named("efficientnet_lite0").levels, 0.001))
    measured = dataclasses.replace(by_area, larger=(224, 0.1))
    sides = [
        find_feasible_models(
            inventory, {"efficientnet_lite0": cost}, bright_patches, choose_device(0.0), BUDGET
        ).context.further_sizes
        for cost in (by_area, measured)
    ]
    assert sides == [{"efficientnet_lite0": (112, 150)}, {"efficientnet_lite0": (112, 150, 224)}]


@pytest.mark.parametrize(("passes", "kept"), [(30.0, ["none", "lda"]), (50.0, ["lda"])])
def test_trained_heads_on_many_passes_are_left_out_and_closed_form_ones_are_not(
    passes: float, kept: list[str]
) -> None:
    trained = {"model.backbone": "vgg16", "training.augmentation": "d4", "training.epochs": 30}
    points = InitialPoints((InitialPoint("portfolio", trained), InitialPoint("portfolio", CLOSED)))
    price = PointPrice({Pass("vgg16", 224, 1.0, "d4-0"): passes}, training=0.0)
    found = points.fitting(
        lambda config: None, {}, epochs=30, trials=60, price=lambda config: price, longest_seconds=10.0
    )
    assert [point.settings.get("classical.name", "none") for point in found.points] == kept


def test_a_side_fits_all_nets_of_a_head_and_statistics_take_any() -> None:
    own = sized(50)
    assert shared_sizes(own, ("efficientnet_lite0", "texture")) == (112, 150, 224)
    assert shared_sizes(own, ("efficientnet_lite0", "vgg16", "texture")) == (112,)
    assert shared_sizes(own, ("texture",)) == ()


def test_the_space_gives_closed_form_heads_the_sides_of_their_nets() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space, own = space_named("benign_malignant"), sized(150)
    configs = [space.configure(study.ask(), own, {}) for _ in range(300)]
    closed = [config for config in configs if config.classical.name != "none"]
    for config in configs:
        nets = [config.model.backbone, *(tap.partition("/")[0] for tap in config.model.also)]
        is_closed = config.classical.name != "none"
        assert config.input.size_px in (None, *(shared_sizes(own, nets) if is_closed else ()))
    assert {config.input.size_px for config in closed} == {None, 112, 150, 224}


@pytest.mark.parametrize(("image_px", "side"), [(50, 112), (81, None)])
def test_small_patches_are_enlarged_for_closed_form_heads(image_px: int, side: int | None) -> None:
    trained = {"model.backbone": "vgg16", "training.augmentation": "d4"}
    first = InitialPoints((InitialPoint("portfolio", CLOSED), InitialPoint("portfolio", trained)))
    closed, other = first.enlarging(sized(image_px)).points
    assert closed.settings.get("input.size_px") == side
    assert closed.settings["model.backbone"] == "vgg16"
    assert other.settings == trained


def test_where_not_all_nets_take_larger_images_one_that_does_is_taken() -> None:
    own = sized(50).model_copy(update={"further_sizes": {"efficientnet_lite0": (112, 150)}})
    twice = (
        InitialPoint("portfolio", CLOSED),
        InitialPoint("portfolio", {**CLOSED, "classical.name": "ridge"}),
    )
    point, largest, second = InitialPoints(twice).enlarging(own).points
    assert point.settings["model.backbone"] == "efficientnet_lite0"
    assert point.settings["model.also"] == ["texture/top"]
    assert point.settings["input.size_px"] == 112
    assert largest.settings == {**point.settings, "input.size_px": 150}  # of the best point alone
    assert second.settings == {**largest.settings, "classical.name": "ridge"}
    none = sized(50).model_copy(update={"further_sizes": {}})
    assert InitialPoints((InitialPoint("portfolio", CLOSED),)).enlarging(none).points[0].settings == CLOSED


def test_points_that_people_named_stay_as_they_are() -> None:
    first = InitialPoints((InitialPoint("E003-5", CLOSED),), is_by_name=True)
    assert first.enlarging(sized(50)) == first
