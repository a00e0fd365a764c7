"""A net that is too slow for all views of the images serves closed-form heads, which see plain images."""

import optuna
import pytest
from space_context import context
from split_data import split_in_three

from orchestrator.preflight.compatibility import check_config
from orchestrator.preflight.feasibility import FeasibleModels, TrialBudget, find_feasible_models
from orchestrator.preflight.reasons import describe_feasible
from orchestrator.preflight.unit_choices import sees_plain_images
from results.run.search_request import SearchRequest
from search_spaces.closed_form import HEADS
from search_spaces.image_classifier import CONTRASTS
from search_spaces.registry import space_named
from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet
from trainables.models.registry import backbone_named
from trainables.models.weights import Inventory
from trainables.runtime.devices import choose_device
from trainables.training.cost import Cost

NAMES = ("efficientnet_lite0", "vgg16", "intensity")
PLAIN = {"model.backbone": "vgg16", "classical.name": "lda", "training.augmentation": "none"}


def cost(name: str, forward: float) -> Cost:
    return Cost(forward, None, dict.fromkeys(backbone_named(name).levels, 0.001))


def budget(*, slots: int = 1, allows_plain: bool = True, is_forced: bool = False) -> TrialBudget:
    """A hundred images and thirty seconds a trial, so passes may take a minute."""
    return TrialBudget(100, 100, 300, 100, 10, 30.0, slots, is_forced, allows_plain)


def feasible(patches: PatchSet, seconds: float, own: TrialBudget) -> FeasibleModels:
    """What can be done where a pass of VGG16 takes so many seconds an image."""
    inventory = Inventory(dict.fromkeys(NAMES), {})
    costs = {name: cost(name, seconds if name == "vgg16" else 0.001) for name in NAMES}
    return find_feasible_models(inventory, costs, patches, choose_device(0.0), own)


@pytest.mark.parametrize(
    ("seconds", "slots", "is_full", "is_plain"),
    [(0.07, 1, True, False), (0.08, 1, False, True), (0.14, 2, True, False), (0.59, 1, False, True)],
)
def test_a_net_serves_closed_form_heads_where_one_view_fits_and_all_do_not(
    bright_patches: PatchSet, seconds: float, slots: int, is_full: bool, is_plain: bool
) -> None:
    found = feasible(bright_patches, seconds, budget(slots=slots))
    assert found.context.backbones == NAMES
    assert found.context.plain_only == frozenset({"vgg16"} if is_plain else ())
    assert bool(found.context.fine_tunes["vgg16"]) == is_full
    assert found.left_out == {}
    said = ["closed-form heads on plain images alone: vgg16: the 8 views of 100 images"] if is_plain else []
    assert [line.partition(" would take")[0] for line in describe_feasible(found)] == said


@pytest.mark.parametrize(("seconds", "is_plain"), [(0.19, False), (0.21, True)])
def test_statistics_that_are_too_slow_for_every_contrast_see_the_unchanged_one(
    bright_patches: PatchSet, seconds: float, is_plain: bool
) -> None:
    costs = {"intensity": cost("intensity", seconds)}
    inventory = Inventory(dict.fromkeys(costs), {})
    found = find_feasible_models(inventory, costs, bright_patches, choose_device(0.0), budget())
    assert found.context.plain_only == frozenset(costs if is_plain else ())


@pytest.mark.parametrize(("seconds", "allows_plain"), [(0.61, True), (0.08, False)])
def test_a_net_is_left_out_where_no_view_fits_or_closed_form_heads_take_no_part(
    bright_patches: PatchSet, seconds: float, allows_plain: bool
) -> None:
    found = feasible(bright_patches, seconds, budget(allows_plain=allows_plain))
    assert "vgg16" in found.left_out
    assert "vgg16" not in found.context.backbones
    assert describe_feasible(found)[0].startswith(
        "left out: vgg16: the 8 views of 100 images would take about"
    )


def test_a_net_that_the_user_insists_on_has_all_views(bright_patches: PatchSet) -> None:
    found = feasible(bright_patches, 0.61, budget(is_forced=True))
    assert "vgg16" in found.context.backbones
    assert not found.context.plain_only


def test_the_space_asks_such_a_net_for_plain_images_and_no_other_head(bright_patches: PatchSet) -> None:
    more = {"heads": HEADS, "has_pairs": True, "types": ("none", "probability")}
    own = feasible(bright_patches, 0.08, budget()).context.model_copy(update=more)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = space_named("benign_malignant")
    configs = [space.configure(study.ask(), own, {}) for _ in range(900)]
    slow = [config for config in configs if reads(config, "vgg16")]
    others = [config for config in configs if not reads(config, "vgg16")]
    assert {config.model.backbone for config in slow} == set(NAMES) - {"intensity"}
    assert {config.classical.name for config in slow} == set(HEADS)
    assert {(config.input.contrast, config.input.contrast_at_test) for config in slow} == {(1.0, 1.0)}
    assert {config.model.pair for config in slow} == {"none"}
    assert {config.input.contrast for config in others} == set(CONTRASTS)
    assert "none" in {config.classical.name for config in others}


def reads(config: TrialConfig, net: str) -> bool:
    nets = {tap.partition("/")[0] for tap in config.model.also} if config.classical.name != "none" else set()
    return net in {config.model.backbone, *nets}


@pytest.mark.parametrize(
    ("changes", "is_possible"),
    [
        ({}, True),
        ({"input.contrast": 1.5}, False),
        ({"input.contrast_test": 1.5}, False),
        ({"classical.name": "none"}, False),
        ({"model.backbone": "efficientnet_lite0", "model.also": "vgg16/top", "input.contrast": 1.5}, False),
        ({"model.backbone": "efficientnet_lite0", "input.contrast": 1.5}, True),
    ],
)
def test_a_point_that_asks_such_a_net_for_more_is_refused(
    bright_patches: PatchSet, changes: dict[str, object], is_possible: bool
) -> None:
    training_data = split_in_three(bright_patches)
    own = context(NAMES).model_copy(update={"plain_only": frozenset({"vgg16"})})
    config = decode({**PLAIN, **changes})
    if is_possible:
        check_config(config, training_data, own)
    else:
        with pytest.raises(ConfigError, match="vgg16 is too slow here for more than the plain images"):
            check_config(config, training_data, own)


@pytest.mark.parametrize(
    ("fixed", "sees"), [({}, True), ({"classical.name": "lda"}, True), ({"input.contrast": 1.5}, False)]
)
def test_fixed_settings_of_the_images_leave_no_plain_ones(fixed: dict[str, object], sees: bool) -> None:
    request = SearchRequest(task="benign_malignant", fixed_params=fixed)
    assert sees_plain_images(request) == sees
    assert not sees_plain_images(request.model_copy(update={"space": "my_space:space"}))
