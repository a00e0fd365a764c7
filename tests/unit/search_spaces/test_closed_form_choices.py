"""Ridge, linear machines and neighbours share one choice of the default space; features are scaled or not."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from search_methods import search_method
from space_context import context
from split_data import split_in_three

from orchestrator.preflight.unit_choices import rarer_heads_for
from orchestrator.study.study import OptunaStudy, open_study
from search_spaces.closed_form import ALL_FEATURES, HEADS, NEIGHBOURS, RARER_HEADS
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint, matching_params
from search_spaces.image_classifier import image_classifier
from search_spaces.recipes import recipes_of
from search_spaces.registry import space_named
from trainables.config.trial_config import TrialConfig, flatten
from trainables.data.patches import PatchSet

NET = "efficientnet_lite0"
LISTED = ",".join(RARER_HEADS)


def drawn(facts: SpaceContext, count: int, **fixed: Any) -> list[tuple[TrialConfig, optuna.Trial]]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    space, held = space_named("benign_malignant"), {"model.trained_stages": 0, **fixed}
    trials = [study.ask() for _ in range(count)]
    return [(space.configure(trial, facts, held), trial) for trial in trials]


def test_all_of_them_together_are_drawn_as_often_as_one_other_head() -> None:
    found = Counter(config.classical.name for config, _ in drawn(context((NET,)), 1200))
    assert set(found) == {"none", *HEADS, *RARER_HEADS}
    together = sum(found[name] for name in RARER_HEADS)
    assert together == pytest.approx(1200 / (len(HEADS) + 2), rel=0.25)
    assert min(found[name] for name in RARER_HEADS) > 0.2 * together


def test_the_choice_is_of_the_sampler_and_the_configuration_names_one_head() -> None:
    for config, trial in drawn(context((NET,)), 200):
        is_rarer = config.classical.name in RARER_HEADS
        assert (trial.params["classical.name@frozen"] == LISTED) == is_rarer
        assert trial.params.get("classical.name@rarer", config.classical.name) == config.classical.name


def test_a_search_of_an_earlier_version_goes_on_with_its_own_choices() -> None:
    recorded = context((NET,)).model_dump(mode="json")
    del recorded["rarer_heads"], recorded["scalings"]
    trials = [trial for _, trial in drawn(SpaceContext.model_validate(recorded), 100)]
    ranges = {trial.distributions["classical.name@frozen"] for trial in trials}
    assert {own.choices for own in ranges} == {("none", *HEADS)}
    new = {"classical.name@rarer", "classical.standardize@closed"}
    assert not any(new & trial.params.keys() for trial in trials)


@pytest.mark.parametrize("name", RARER_HEADS)
def test_a_rarer_head_may_be_held_fixed(name: str) -> None:
    for config, trial in drawn(context((NET,)), 10, **{"classical.name": name}):
        assert config.classical.name == name
        assert not any(param.startswith("classical.name") for param in trial.params)


@pytest.mark.parametrize("name", RARER_HEADS)
def test_a_sampler_learns_a_point_of_a_rarer_head_and_runs_it_first(name: str, tmp_path: Path) -> None:
    config = next(own for own, _ in drawn(context((NET,)), 400) if own.classical.name == name)
    point = InitialPoint("mine", flatten(config.model_dump(mode="json")))
    study = OptunaStudy(
        open_study(storage=None, journal=tmp_path / "journal", name="t/n", is_new=True),
        space_named("benign_malignant"),
        context((NET,)),
        {},
        search_method(trials=3),
    )
    study.enqueue([point])
    spec = study.ask()
    assert spec is not None
    assert spec.config.classical == config.classical
    chosen = {key: value for key, value in spec.params.items() if key.startswith("classical.name")}
    assert chosen == {"classical.name@frozen": LISTED, "classical.name@rarer": name}


def test_a_recipe_of_neighbours_is_known_to_the_sampler_as_such() -> None:
    point = next(
        own
        for recipe in recipes_of("normal_abnormal")
        for own in recipe.points
        if own["classical.name"] == "knn" and own["classical.neighbours"] in range(*NEIGHBOURS)
    )
    settings = {**point, "model.backbone": NET, "model.cut": "top"}
    params = matching_params(
        image_classifier, context((NET,)), InitialPoint("one", settings).configure({}, epochs=30)
    )
    assert params["classical.name@rarer"] == "knn"
    assert params["classical.neighbours"] == point["classical.neighbours"]


def test_a_point_with_taps_that_this_search_does_not_offer_is_known_by_all_its_other_settings() -> None:
    settings = {
        "model.backbone": NET,
        "model.cut": "top",
        "model.also": ["texture/top", "resnet18/top"],
        "classical.name": "logistic",
        "classical.c": 0.1,
        "classical.pca": 16,
        "training.class_weight": "balanced",
    }
    config = InitialPoint("one", settings).configure({}, epochs=30)
    params = matching_params(image_classifier, context((NET,)), config)
    assert params["training.class_weight@closed"] == "balanced"
    assert params["classical.c@logistic"] == 0.1


def test_features_of_nets_are_scaled_or_not_and_statistics_alone_always() -> None:
    seen = Counter[tuple[bool, bool]]()
    for config, _ in drawn(context((NET, "intensity", "texture")), 600):
        if config.classical.name != "none":
            nets = {config.model.backbone, *(tap.partition("/")[0] for tap in config.model.also)}
            seen[nets <= {"intensity", "texture"}, config.classical.standardize] += 1
    assert seen[True, False] == 0
    assert min(seen[True, True], seen[False, True], seen[False, False]) > 30


def test_heads_that_are_fitted_six_times_or_compare_rows_see_no_whole_maps() -> None:
    facts = context((NET,))
    seen = {(config.classical.name, config.model.head.pooling) for config, _ in drawn(facts, 900)}
    closed = {(name, pooling) for name, pooling in seen if name != "none"}
    assert {name for name, pooling in closed if pooling == "flatten"} == {"logistic", "lda"}
    assert {name for name, pooling in closed if pooling == "gap"} == {*HEADS, *RARER_HEADS}
    reduced = {name for name in (*HEADS, *RARER_HEADS) if name not in ALL_FEATURES}
    assert all(
        config.classical.pca > 0 for config, _ in drawn(facts, 300) if config.classical.name in reduced
    )


@pytest.mark.parametrize(("images", "most"), [(8, 3), (100, 25), (4000, NEIGHBOURS[1])])
def test_neighbours_are_a_quarter_of_the_images_at_most(images: int, most: int) -> None:
    facts = context((NET,)).model_copy(update={"images": images})
    configs = [config for config, _ in drawn(facts, 120, **{"classical.name": "knn"})]
    counts = [config.classical.neighbours for config in configs]
    assert NEIGHBOURS[0] <= min(counts)
    assert 0.7 * most <= max(counts) <= most


def test_heads_that_are_calibrated_take_part_where_each_fold_has_patients_for_it(
    bright_patches: PatchSet,
) -> None:
    data = split_in_three(bright_patches)
    assert rarer_heads_for(HEADS, data) == RARER_HEADS
    assert rarer_heads_for((), data) == ()
    patient = data.groups[data.labels == 1][0]
    alone = np.where(data.labels == 1, patient, data.groups)
    assert rarer_heads_for(HEADS, dataclasses.replace(data, groups=alone)) == ("knn",)
