"""Which recipes a search tries first, and what it takes from those that it is told to run."""

import pytest

from orchestrator.preflight.initial_points import choose_initial_points, protocol_of_recipes
from search_spaces.recipes import recipes_of
from search_spaces.registry import space_named
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.trial_config import TrialConfig

TASK = "mass_calcification"


def anything(config: TrialConfig) -> None:
    """Everything can run."""


def only_scratch4(config: TrialConfig) -> None:
    if config.model.backbone != "scratch4":
        raise ConfigError(f"no {config.model.backbone} here")


def chosen(*names: str):
    return choose_initial_points(names, TASK, space_named(TASK))


def test_a_search_gives_at_most_a_third_of_its_trials_to_recipes_and_two_to_a_backbone() -> None:
    points, _ = chosen().fitting(anything, {}, epochs=30, trials=24)
    assert len(points) == 8
    backbones = [point.settings["model.backbone"] for point in points]
    assert max(backbones.count(name) for name in backbones) == 2
    assert points[0].recipe == "frozen-lite0"


def test_what_cannot_run_is_left_out_with_its_reason() -> None:
    points, left_out = chosen().fitting(only_scratch4, {}, epochs=30, trials=24)
    assert {point.settings["model.backbone"] for point in points} == {"scratch4"}
    assert left_out["E001-9-VGG16"] == "no vgg16 here"


def test_all_recipes_are_tried_where_the_user_says_so() -> None:
    points, left_out = chosen("all").fitting(anything, {}, epochs=30, trials=2)
    assert left_out == {}
    assert len(points) == sum(len(recipe.points) for recipe in recipes_of(TASK))


def test_a_recipe_that_the_user_names_must_run() -> None:
    with pytest.raises(ConfigError, match="recipe E001-9-VGG16: no vgg16 here"):
        chosen("E001-9-VGG16").fitting(only_scratch4, {}, epochs=30, trials=1)


def test_an_ensemble_stands_for_its_members_each_once() -> None:
    first = chosen("E001-15", "E001-6")
    assert [point.recipe for point in first.points] == ["E001-6", "E001-7", "E001-8"]
    assert [recipe.name for recipe in first.recipes] == ["E001-15", "E001-6"]


def test_held_settings_win_and_no_point_trains_longer_than_the_search() -> None:
    (point,), _ = chosen("E004-SCRATCH_6").fitting(anything, {}, epochs=30, trials=1)
    config = point.configure({"optimizer.lr": 0.5}, epochs=7)
    assert (config.optimizer.lr, config.training.epochs) == (0.5, 7)


def test_a_recipe_brings_its_protocol_its_epochs_and_its_points() -> None:
    assert protocol_of_recipes(["E001-5"], TASK) == {
        "trials": 1,
        "epochs": 25,
        "folds": 10,
        "test_share": pytest.approx(0.2, abs=0.2),
    }
    held_out = protocol_of_recipes(["E001-1"], TASK)
    assert "folds" not in held_out
    assert held_out["holdout"] == pytest.approx(0.3)


def test_recipes_of_several_protocols_leave_it_at_the_usual_one() -> None:
    assert protocol_of_recipes(["E001-5", "E001-1"], TASK).keys() == {"trials", "epochs"}


def test_a_search_without_recipes_has_the_usual_defaults() -> None:
    assert protocol_of_recipes([], TASK) == {}


def test_all_recipes_of_a_task_have_a_trial_each_and_their_epochs() -> None:
    found = protocol_of_recipes(["all"], TASK)
    assert found["trials"] == sum(len(recipe.points) for recipe in recipes_of(TASK))
    assert found["epochs"] >= 80


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="E004-SCRATCH_6"):
        chosen("E004-SCRATCH6")
