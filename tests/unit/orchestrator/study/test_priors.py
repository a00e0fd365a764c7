"""A sampler that learns begins with points that were good on other sets."""

from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from list_study import complete
from optuna.trial import FrozenTrial, create_trial
from search_methods import search_method
from space_context import context

from orchestrator.study.priors import LAST, LearnedStart, prior_trials
from orchestrator.study.study import OptunaStudy, study_in_memory
from search_spaces.image_classifier import image_classifier
from search_spaces.learned import LearnedPoint
from search_spaces.registry import space_named
from trainables.config.trial_config import TrialConfig

FACTS = context(("efficientnet_lite0", "vgg16"))
GOOD = {"model.backbone": "vgg16", "classical.name": "lda", "classical.pca": 64, "classical.shrinkage": 0.9}
POOR = {"model.backbone": "efficientnet_lite0", "classical.name": "boosting", "classical.pca": 16}


def learned() -> list[LearnedPoint]:
    """Linear discriminants on one net, which differ in a setting that the points of the space have."""
    return [
        LearnedPoint({**GOOD, "classical.pca": pca, "training.class_weight": weight}, 0.9)
        for pca in (0, 16, 32, 64, 128)
        for weight in ("none", "balanced")
    ]


def proposals(prior: Sequence[FrozenTrial], *, sampler: str = "tpe", seed: int = 0) -> list[TrialConfig]:
    """Sixteen proposals of a search whose trials all have the same value."""
    study = OptunaStudy(
        study_in_memory(),
        space_named("benign_malignant"),
        FACTS,
        {},
        search_method(trials=16, sampler=sampler, seed=seed),
        prior=prior,
    )
    found = []
    while (spec := study.ask()) is not None:
        found.append(spec.config)
        study.tell(complete(spec.number, 0.7))
    return found


def like(found: Sequence[TrialConfig]) -> list[TrialConfig]:
    return [own for own in found if (own.model.backbone, own.classical.name) == ("vgg16", "lda")]


def test_the_first_proposals_are_points_that_were_good_elsewhere_each_once() -> None:
    found = like(proposals(prior_trials(image_classifier, FACTS, {}, learned())))
    points = {(own.classical.pca, own.training.class_weight) for own in found}
    assert len(points) == 10
    assert len(like(proposals(()))) < 8


def test_what_a_point_leaves_open_is_proposed_by_the_sampler() -> None:
    found = like(proposals(prior_trials(image_classifier, FACTS, {}, learned())))
    assert len({own.input.contrast for own in found}) == 1  # the point decides it
    facts = {name: own for name, own in GOOD.items() if name != "classical.shrinkage"}
    prior = prior_trials(image_classifier, FACTS, {"classical.shrinkage": 0.3}, [LearnedPoint(facts, 1.0)])
    assert all("classical.shrinkage" not in own.params for own in prior)


def test_no_learned_point_is_proposed_again_or_late() -> None:
    prior = prior_trials(image_classifier, FACTS, {}, learned())
    study = optuna.create_study(sampler=LearnedStart(optuna.samplers.RandomSampler(), prior, seed=0))
    study.enqueue_trial(prior[0].params)
    for _ in range(LAST):
        image_classifier(study.ask(), FACTS)
    assert all(
        sum(own.params.items() <= trial.params.items() for trial in study.trials) == 1 for own in prior
    )
    sampler = LearnedStart(optuna.samplers.RandomSampler(), prior, seed=0)
    late = create_trial(value=0.0)
    late.number = LAST
    assert sampler.infer_relative_search_space(optuna.create_study(), late) == {}


def test_a_sampler_that_does_not_learn_is_shown_nothing() -> None:
    prior = prior_trials(image_classifier, FACTS, {}, learned())
    assert proposals(prior, sampler="random") == proposals((), sampler="random")


def test_a_prior_has_the_parameters_of_the_space_and_the_merit_as_its_value() -> None:
    found = prior_trials(image_classifier, FACTS, {}, [LearnedPoint(POOR, 0.2), LearnedPoint(GOOD, 0.9)])
    assert [own.value for own in found] == [0.9, 0.2]
    assert found[0].params["classical.name@frozen"] == "lda"
    assert found[0].params["classical.shrinkage"] == 0.9
    study = optuna.create_study()
    study.add_trials(found)
    space_named("benign_malignant").configure(study.ask(found[0].distributions), FACTS, {})


@pytest.mark.parametrize(
    ("fixed", "backbones"),
    [
        ({}, ["vgg16", "efficientnet_lite0"]),
        ({"model.backbone": "vgg16"}, ["vgg16"]),
        ({"classical.name": "boosting"}, ["efficientnet_lite0"]),
    ],
)
def test_points_that_fixed_settings_exclude_are_left_out(fixed: dict[str, Any], backbones: list[str]) -> None:
    points = [LearnedPoint(GOOD, 0.9), LearnedPoint(POOR, 0.2)]
    found = prior_trials(image_classifier, FACTS, fixed, points)
    assert len(found) == len(backbones)
    names = {name.partition("@")[0] for own in found for name in own.params}
    assert not names & set(fixed)
    if not fixed:
        assert [own.params["model.backbone"] for own in found] == backbones


def test_points_with_nets_that_are_not_there_are_left_out() -> None:
    facts = context(("efficientnet_lite0",))
    points = [LearnedPoint(GOOD, 0.9), LearnedPoint({**GOOD, "model.backbone": "gone"}, 0.8)]
    assert prior_trials(image_classifier, facts, {}, points) == []
