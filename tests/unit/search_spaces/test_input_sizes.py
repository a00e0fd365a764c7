"""A backbone's smallest input is a condition on configurations, met by spaces and refused at the door."""

import pytest
from space_context import IMAGE_SPACES, context
from split_data import split_in_three

from orchestrator.preflight.compatibility import check_config
from orchestrator.study.drawn_points import check_space
from search_spaces.registry import space_named
from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet
from trainables.models.registry import BACKBONES, backbone_named
from trainables.preprocessing.transforms import input_side


def proposed(task: str) -> list[TrialConfig]:
    """Points of a task's space for each backbone, so that none is missed by chance."""
    space = space_named(task)
    return [config for name in BACKBONES for config in check_space(space, context((name,)), {})]


@pytest.mark.long
@pytest.mark.parametrize("task", IMAGE_SPACES)
def test_no_space_proposes_an_input_that_its_backbone_refuses(task: str, bright_patches: PatchSet) -> None:
    training_data = split_in_three(bright_patches)
    configs = proposed(task)
    assert {config.model.backbone for config in configs} == set(BACKBONES)
    for config in configs:
        backbone = backbone_named(config.model.backbone)
        for side in (16, 50, 3000):
            assert input_side(config, backbone, (side, side)) >= backbone.min_size_px
        check_config(config, training_data, context(tuple(BACKBONES)))


def test_a_side_below_the_smallest_is_refused_at_the_door(bright_patches: PatchSet) -> None:
    training_data = split_in_three(bright_patches)
    for name, backbone in BACKBONES.items():
        settings = {"model.backbone": name, "input.size_px": max(16, backbone.min_size_px - 1)}
        if backbone.trains_from_scratch:
            settings |= {"model.weights": "random", "model.trained_stages": "all"}
        if settings["input.size_px"] < backbone.min_size_px:
            with pytest.raises(ConfigError, match=f"{name} needs at least {backbone.min_size_px}"):
                check_config(decode(settings), training_data, context(tuple(BACKBONES)))


def test_a_side_below_the_smallest_of_all_is_refused_by_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"input\.size_px: .*greater than or equal to 16"):
        decode({"model.backbone": "vgg16", "input.size_px": 15})
