"""What a search proposes for fine-tuning, and when."""

from typing import Any

import optuna
import pytest
from space_context import context

from search_spaces.context import SpaceContext
from search_spaces.enqueue import matching_params
from search_spaces.fine_tuning import fine_tuning
from search_spaces.registry import space_named
from trainables.config.trial_config import decode

pytestmark = pytest.mark.slow

ALL = {"fine_tuning.ema", "fine_tuning.warmup_epochs", "training.focal_gamma"}


def proposed(settings: dict[str, Any], facts: SpaceContext | None = None) -> set[str]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return set(fine_tuning(study.ask(), facts or context(), settings))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"model.backbone": "vgg16"}, set()),
        ({"model.backbone": "vgg16", "model.trained_stages": 0}, set()),
        ({"model.backbone": "vgg16", "model.trained_stages": 1}, ALL),
        ({"model.backbone": "vgg16", "model.trained_stages": 2}, ALL | {"fine_tuning.layer_decay"}),
        # The last stage of this net is a convolution without a branch, the one before it has branches.
        ({"model.backbone": "efficientnet_lite0", "model.trained_stages": 1}, ALL),
        (
            {"model.backbone": "efficientnet_lite0", "model.cut": "block7", "model.trained_stages": 1},
            ALL | {"fine_tuning.drop_path"},
        ),
        ({"model.backbone": "scratch4", "model.weights": "random", "model.trained_stages": "all"}, ALL),
        (
            {"model.backbone": "scratch:blocks=2", "model.weights": "random", "model.trained_stages": "all"},
            ALL,
        ),
    ],
)
def test_settings_are_proposed_where_the_trained_stages_allow_them(
    settings: dict[str, Any], names: set[str]
) -> None:
    assert proposed(settings) == names


def test_half_precision_is_proposed_on_gpus_only() -> None:
    settings = {"model.backbone": "vgg16", "model.trained_stages": 1}
    on_a_gpu = context().model_copy(update={"has_gpu": True})
    assert proposed(settings, on_a_gpu) == ALL | {"fine_tuning.precision"}


def test_the_sampler_learns_from_points_of_earlier_versions_that_they_had_none_of_it() -> None:
    config = decode({"model.backbone": "vgg16", "model.trained_stages": 1, "model.cut": "top"})
    params = matching_params(space_named("benign_malignant").function, context(), config)
    assert {name: params[name] for name in ALL} == {
        "fine_tuning.ema": 0.0,
        "fine_tuning.warmup_epochs": 0,
        "training.focal_gamma": 0.0,
    }


def test_a_search_proposes_points_with_and_without_them() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    space = space_named("benign_malignant")
    configs = [space.configure(study.ask(), context(), {}) for _ in range(1200)]
    trained = [config for config in configs if config.model.trained_stages != 0]
    assert {config.fine_tuning.ema for config in trained} == {0.0, 0.9, 0.99}
    assert {config.fine_tuning.ema for config in configs if config.model.trained_stages == 0} == {0.0}
    assert {config.fine_tuning.drop_path for config in trained} > {0.0}
