"""Which recipes a search tries first, and what it takes from those that it is told to run."""

from collections.abc import Sequence

import pytest

from orchestrator.preflight.initial_points import about_earlier, choose_initial_points
from orchestrator.preflight.recipe_protocol import protocol_of_recipes
from orchestrator.study.price import Pass, PointPrice
from search_spaces.enqueue import InitialPoint
from search_spaces.recipes import recipes_of
from search_spaces.registry import space_named
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.trial_config import TrialConfig
from trainables.models.taps import frozen_parts

TASK = "mass_calcification"
A_PASS = Pass("net", 224, 1.0, "d4-0")


def anything(config: TrialConfig) -> None:
    """Everything can run."""


def only_scratch4(config: TrialConfig) -> None:
    if config.model.backbone != "scratch4":
        raise ConfigError(f"no {config.model.backbone} here")


def by_depth(config: TrialConfig) -> PointPrice:
    """A frozen net costs its passes, one that trains from pixels an hour."""
    trained = config.model.trained_stages
    training = 3600.0 if trained == "all" else 60.0 * trained
    return PointPrice({A_PASS: 10.0 if trained != "all" else 0.0}, training=training)


def configured(point: InitialPoint) -> TrialConfig:
    return point.configure({}, epochs=30)


def prices_of(points: Sequence[InitialPoint]) -> list[float]:
    return [by_depth(configured(point)).seconds for point in points]


def chosen(*names: str):
    return choose_initial_points(names, TASK, space_named(TASK))


def test_a_search_gives_half_of_its_trials_to_points_eight_at_most_and_two_to_a_backbone() -> None:
    for trials, count in ((24, 8), (60, 8), (10, 5), (2, 1)):
        assert len(chosen().fitting(anything, {}, epochs=30, trials=trials).points) == 1 + count
    points = chosen().fitting(anything, {}, epochs=30, trials=24).points
    nets = [point for point in points if point.settings["classical.name"] == "none"]
    backbones = [point.settings["model.backbone"] for point in nets]
    assert max(backbones.count(name) for name in backbones) <= 2
    assert {point.recipe for point in points[1:]} == {"portfolio"}


def without_vgg16(config: TrialConfig) -> None:
    nets = {config.model.backbone, *(tap.partition("/")[0] for tap in config.model.also)}
    if "vgg16" in nets:
        raise ConfigError("no vgg16 here")


def test_points_of_a_net_that_is_not_there_are_tried_with_those_that_are_each_once() -> None:
    points = chosen().fitting(without_vgg16, {}, epochs=30, trials=24).points
    assert len(points) == 1 + 8
    for point in points:
        without_vgg16(configured(point))
    asked = [point.settings for point in chosen().points]
    adapted = [point for point in points if point.settings not in asked]
    assert adapted
    assert all(point.recipe == "portfolio" for point in adapted)
    assert len({str(sorted(point.settings.items(), key=str)) for point in points}) == len(points)


def test_points_of_another_backbone_or_head_than_what_is_held_are_left_out() -> None:
    held = {"model.backbone": "efficientnet_lite0"}
    points = chosen().fitting(anything, held, epochs=30, trials=24).points
    assert {point.settings["model.backbone"] for point in points} == {"efficientnet_lite0"}
    trained = chosen().fitting(anything, {"classical.name": "none"}, epochs=30, trials=24).points
    assert {point.settings["classical.name"] for point in trained} == {"none"}


def test_the_baseline_is_tried_first_whatever_others_cost() -> None:
    for trials in (1, 2, 24):
        found = chosen().fitting(anything, {}, epochs=30, trials=trials, price=by_depth).points
        assert found[0].recipe == "colour-intensity"
        assert len(found) >= 2
    only = chosen("frozen-lite0").fitting(anything, {}, epochs=30, trials=1).points
    assert [point.recipe for point in only] == ["frozen-lite0"]


def test_what_a_held_setting_makes_of_the_baseline_has_no_place_before_others() -> None:
    def dear_statistics(config: TrialConfig) -> PointPrice:
        return PointPrice({A_PASS: 100.0 if config.model.backbone == "intensity" else 1.0}, training=0.0)

    held = {"model.also": ["texture/top"]}
    free, found = (
        chosen().fitting(anything, own, epochs=30, trials=24, price=dear_statistics).points
        for own in ({}, held)
    )
    assert free[0].recipe == "colour-intensity"
    assert found[0].recipe != "colour-intensity"
    assert len(found) < len(free)  # nor one beside those that a search may have


def test_what_cannot_run_is_left_out_with_its_reason() -> None:
    found = chosen().fitting(only_scratch4, {}, epochs=30, trials=24)
    assert {point.settings["model.backbone"] for point in found.points} == {"scratch4"}
    assert found.unfit["E001-9-VGG16"] == "no vgg16 here"


def test_all_recipes_are_tried_where_the_user_says_so() -> None:
    found = chosen("all").fitting(anything, {}, epochs=30, trials=2, price=by_depth, longest_seconds=1.0)
    assert (found.unfit, found.slow) == ({}, {})
    assert len(found.points) == sum(len(recipe.points) for recipe in recipes_of(TASK))
    assert prices_of(found.points) == sorted(prices_of(found.points))


def test_a_learned_net_comes_right_after_the_baseline_although_statistics_are_cheaper() -> None:
    def by_net(config: TrialConfig) -> PointPrice:
        nets = {part.model.backbone for part in frozen_parts(config)}
        return PointPrice(
            {A_PASS: 1.0 + 10.0 * sum(net not in ("texture", "intensity") for net in nets)}, 0.0
        )

    found = chosen().fitting(anything, {}, epochs=30, trials=60, price=by_net).points
    seconds = [by_net(configured(point)).seconds for point in found]
    assert found[0].recipe == "colour-intensity"
    assert seconds[1] == 11.0  # the cheapest one on a learned net
    assert seconds[2] == 1.0
    assert seconds[2:] == sorted(seconds[2:])


def test_the_cheapest_point_comes_first_so_that_a_score_is_soon_there() -> None:
    found = chosen("all").fitting(anything, {}, epochs=30, trials=60, price=by_depth, longest_seconds=1e9)
    assert prices_of(found.points[1:]) == sorted(prices_of(found.points[1:]))
    assert len(set(prices_of(found.points))) > 1
    unpriced = chosen("all").fitting(anything, {}, epochs=30, trials=60).points
    assert sorted(map(str, found.points)) == sorted(map(str, unpriced))


def test_a_point_that_would_hold_a_worker_for_long_is_left_to_the_user() -> None:
    def slow_heads(config: TrialConfig) -> PointPrice:
        return PointPrice({A_PASS: 1.0}, training=200.0 if config.classical.name == "none" else 1.0)

    found = chosen().fitting(anything, {}, epochs=30, trials=60, price=slow_heads, longest_seconds=100.0)
    assert found.slow == {"portfolio": 201.0}
    assert all(configured(point).classical.name != "none" for point in found.points)
    assert len(found.points) == 1 + 8  # quicker points take their places


def test_where_all_recipes_are_slow_the_sampler_begins_after_the_baseline() -> None:
    found = chosen().fitting(anything, {}, epochs=30, trials=24, price=by_depth, longest_seconds=-1.0)
    assert [point.recipe for point in found.points] == ["colour-intensity"]


def test_a_recipe_that_the_user_names_is_tried_however_long_it_takes_and_in_the_users_order() -> None:
    names = ("E001-1", "frozen-lite0")
    found = chosen(*names).fitting(anything, {}, epochs=30, trials=2, price=by_depth, longest_seconds=1.0)
    assert [point.recipe for point in found.points] == list(names)
    assert found.slow == {}


def test_a_recipe_that_the_user_names_must_run() -> None:
    with pytest.raises(ConfigError, match="recipe E001-9-VGG16: no vgg16 here"):
        chosen("E001-9-VGG16").fitting(only_scratch4, {}, epochs=30, trials=1)


def test_an_ensemble_stands_for_its_members_each_once() -> None:
    first = chosen("E001-15", "E001-6")
    assert [point.recipe for point in first.points] == ["E001-6", "E001-7", "E001-8"]
    assert [recipe.name for recipe in first.recipes] == ["E001-15", "E001-6"]


def test_held_settings_win_and_no_point_trains_longer_than_the_search() -> None:
    (point,) = chosen("E004-SCRATCH_6").fitting(anything, {}, epochs=30, trials=1).points
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


def earlier_points() -> tuple[InitialPoint, ...]:
    """Six trials of an earlier search: two the same, two on nets that are not here."""
    backbones = ("vgg16", "scratch4", "scratch4", "scratch6", "scratch4", "scratch4")
    rates = (1e-3, 1e-3, 1e-3, 1e-3, 2e-3, 3e-3)
    return tuple(
        InitialPoint(
            f"first:{number}",
            {
                "model.backbone": backbone,
                "model.weights": "random",
                "model.trained_stages": "all",
                "optimizer.lr": rate,
            },
        )
        for number, (backbone, rate) in enumerate(zip(backbones, rates, strict=True))
    )


def names_of(points: Sequence[InitialPoint]) -> list[str]:
    return [point.recipe for point in points if point.recipe.startswith("first:")]


def test_trials_of_the_earlier_search_come_first_the_best_before_the_others() -> None:
    first = chosen().after(earlier_points())
    found = first.fitting(anything, {}, epochs=30, trials=24, price=by_depth)
    assert names_of(found.points) == ["first:0", "first:1", "first:3", "first:4"]  # four at most
    assert [point.recipe for point in found.points[:4]] == names_of(found.points)
    assert found.points[0] == earlier_points()[0]  # as it was
    assert len(found.points) == 1 + 8  # recipes and the baseline have what is left
    few = first.fitting(anything, {}, epochs=30, trials=4)
    assert [point.recipe for point in few.points] == ["first:0", "first:1", few.points[-1].recipe]
    assert names_of(first.fitting(anything, {}, epochs=30, trials=1).points) == ["first:0"]


def test_trials_of_the_earlier_search_that_cannot_run_here_are_named() -> None:
    first = chosen().after(earlier_points())
    found = first.fitting(only_scratch4, {}, epochs=30, trials=24)
    assert names_of(found.points) == ["first:1", "first:4", "first:5"]
    (said,) = about_earlier(first, found)
    assert said == "first:0 cannot be tried first here (no vgg16 here), nor can 1 more"
    assert about_earlier(first, first.fitting(anything, {}, epochs=30, trials=24)) == []
    held = first.fitting(anything, {"optimizer.lr": 5e-3, "model.backbone": "scratch4"}, epochs=30, trials=24)
    assert names_of(held.points) == ["first:1"]  # one of another net, and with this rate they are the same


def test_recipes_that_are_named_leave_no_room_for_earlier_trials() -> None:
    for names in (("E004-SCRATCH_6",), ("all",)):
        assert chosen(*names).after(earlier_points()) == chosen(*names)
