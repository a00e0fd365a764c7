"""What stands for a proposal that is known or too dear: a point beside the best trials."""

import itertools
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from search_methods import search_method
from space_context import NARROW, context

from orchestrator.study.allowance import Allowance
from orchestrator.study.neighbours import PARENTS, Neighbour, beside_the_best, moved
from orchestrator.study.price import Pass, PointPrice
from orchestrator.study.study import OptunaStudy, open_study
from orchestrator.study.unrepeated import PointTrial
from results.run.records import TrialRecord
from search_spaces.context import SpaceContext
from search_spaces.enqueue import matching_params, suggest_enqueued
from search_spaces.registry import Space, space_named
from trainables.config.trial_config import TrialConfig, decode

RANGES: dict[str, BaseDistribution] = {
    "head": CategoricalDistribution(("lda", "ridge", "svm")),
    "c": FloatDistribution(1e-4, 1e4, log=True),
    "depth": IntDistribution(2, 8),
    "pca": CategoricalDistribution((16,)),
}


def a_study(direction: str, trials: int = 20, kept: range | None = None) -> optuna.Study:
    """A study whose trial with number n has depth n % 7 + 2 and the value n.

    With `kept` the other trials miss a requirement.
    """
    study = optuna.create_study(direction=StudyDirection[direction.upper()])
    for number in range(trials):
        params = {"head": "lda", "c": 1.0, "depth": number % 7 + 2, "pca": 16}
        missed = {} if kept is None else {"constraints:recall": float(number not in kept)}
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=RANGES, value=float(number), system_attrs=missed
            )
        )
    return study


def drawn(study: optuna.Study, count: int, seed: int = 0) -> list[dict[str, Any]]:
    def otherwise(name: str, own: Any) -> Any:
        raise AssertionError(name)

    found = itertools.islice(beside_the_best(study, seed, otherwise), count)
    return [{name: beside.draw(name, own) for name, own in RANGES.items()} for beside in found]


@pytest.mark.parametrize(("direction", "best"), [("maximize", range(15, 20)), ("minimize", range(5))])
def test_a_neighbour_differs_from_one_of_the_best_in_one_to_three_settings(
    direction: str, best: range
) -> None:
    study = a_study(direction)
    parents = [study.trials[number].params for number in best]
    assert len(parents) == PARENTS
    found = drawn(study, 200)
    changes = [min(sum(own[name] != parent[name] for name in own) for parent in parents) for own in found]
    assert max(changes) <= 3
    assert np.mean(np.array(changes) >= 1) > 0.7  # a number of few values may come back to its own
    for own in found:
        assert own["head"] in ("lda", "ridge", "svm")
        assert 1e-4 <= own["c"] <= 1e4
        assert own["depth"] in range(2, 9)
        assert own["pca"] == 16


def test_trials_that_keep_the_requirements_have_neighbours_before_better_ones_that_do_not() -> None:
    study = a_study("maximize", trials=7, kept=range(5))
    found = itertools.islice(beside_the_best(study, 0, lambda name, _: name), 100)
    assert len(range(5)) == PARENTS
    assert {own.trial["depth"] for own in found} == {2, 3, 4, 5, 6}


def test_the_same_seed_draws_the_same_neighbours() -> None:
    study = a_study("maximize")
    assert drawn(study, 20) == drawn(study, 20)
    assert drawn(study, 20) != drawn(study, 20, seed=1)


def test_nobody_has_neighbours_before_a_trial_is_complete() -> None:
    study = a_study("maximize", trials=0)
    study.add_trial(
        optuna.trial.create_trial(
            params={"pca": 16}, distributions={"pca": RANGES["pca"]}, state=optuna.trial.TrialState.PRUNED
        )
    )
    assert drawn(study, 5) == []


def test_of_several_objectives_the_front_has_neighbours() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    for depth, values in ((2, (0.9, 5.0)), (3, (0.8, 1.0)), (8, (0.7, 9.0))):
        params = {"depth": depth}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions={"depth": RANGES["depth"]}, values=values)
        )
    found = itertools.islice(beside_the_best(study, 0, lambda name, own: None), 200)
    depths = Counter(beside.draw("depth", RANGES["depth"]) for beside in found)
    assert (
        sum(depths[near] for near in range(2, 7)) > 0.97 * 200
    )  # steps of a fifth of the range from 2 and 3


def test_neighbours_of_a_head_that_shares_its_choice_are_such_heads_or_others() -> None:
    space, facts = space_named("benign_malignant"), context(("efficientnet_lite0",))
    settings = {"model.backbone": "efficientnet_lite0", "model.cut": "top", "classical.name": "ridge"}
    best = decode({**settings, "classical.c": 1e-3, "classical.pca": 32, "training.augmentation": "none"})
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(matching_params(space.function, facts, best))
    trial = study.ask()
    suggest_enqueued(space.function, facts, best, trial)
    study.tell(trial, 0.9)
    at_random, told = optuna.samplers.RandomSampler(seed=0), study.trials[0]

    def otherwise(name: str, own: BaseDistribution) -> Any:
        return at_random.sample_independent(study, told, name, own)

    near = list[TrialConfig]()
    for beside in itertools.islice(beside_the_best(study, 0, otherwise), 60):
        point = PointTrial(beside.draw, 1)
        config = space.configure(point, facts, {})
        near += [config] if beside.is_near(point.params) else []
    heads = Counter(config.classical.name for config in near)
    assert heads["ridge"] > len(near) / 2 > 10
    assert len(heads) > 1
    assert len({config.classical.c for config in near if config.classical.name == "ridge"}) > 5


def test_a_setting_that_the_trial_had_not_or_had_elsewhere_is_drawn_otherwise() -> None:
    draw = next(beside_the_best(a_study("maximize"), 0, lambda name, own: "drawn")).draw
    assert draw("another", FloatDistribution(0.0, 1.0)) == "drawn"
    assert draw("pca", CategoricalDistribution((32, 64))) == "drawn"
    assert draw("c", FloatDistribution(1e5, 1e6, log=True)) == "drawn"


def test_a_point_that_shares_few_settings_with_the_trial_is_not_beside_it() -> None:
    beside = Neighbour({"backbone": "vgg16", "cut@vgg16": "top", "c": 1.0}, lambda name, own: None)
    assert beside.is_near({"backbone": "vgg16", "cut@vgg16": "top", "c": 2.0})
    assert not beside.is_near({"backbone": "texture", "cut@texture": "top", "c": 1.0})
    assert not beside.is_near({**beside.trial, "pca": 8, "gamma": 1.0})  # three of five


def test_a_number_moves_by_a_fifth_of_its_range_on_its_own_scale() -> None:
    random = np.random.default_rng(0)
    found = [moved(FloatDistribution(1e-6, 1e6, log=True), 1.0, random) for _ in range(4000)]
    assert np.std(np.log10(found)) == pytest.approx(0.2 * 12, rel=0.05)
    stepped = {moved(FloatDistribution(0.0, 0.5, step=0.1), 0.2, random) for _ in range(4000)}
    assert {round(own, 6) for own in stepped} == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}
    assert {moved(IntDistribution(1, 9, step=4), 5, random) for _ in range(400)} == {1, 5, 9}


def kinds(trial: Any, context: SpaceContext) -> dict[str, Any]:
    """A net whose sides are a pass each, and statistics, which cost nothing and are bad."""
    is_net = trial.suggest_categorical("kind", ("statistics", "net")) == "net"
    side = trial.suggest_categorical("side", tuple(range(50, 250))) if is_net else None
    return {
        "model.backbone": "texture" if is_net else "intensity",
        "classical.name": "logistic",
        "input.size_px": side,
        "classical.c": trial.suggest_float("c", 1e-3, 1e3, log=True),
    }


def price(config: TrialConfig) -> PointPrice:
    side = config.input.size_px
    return PointPrice({Pass("texture", side, 1.0, "d4-0"): 60.0} if side else {}, 0.0)


def nets(journal: Path, sampler: str, trials: int = 60) -> float:
    """Share of the later trials on the net, whose further passes are too dear."""
    allowance = Allowance(price)
    method = search_method(trials=trials, sampler=sampler, seed=0)
    opened = open_study(storage=None, journal=journal, name="t/n", is_new=True)
    study = OptunaStudy(opened, Space("kinds", kinds, ()), NARROW, {}, method, allowance=allowance)
    found = []
    for number in range(trials):
        if number == 10:
            allowance.begin(lambda: 100.0, lambda: 2)
        spec = study.ask()
        assert spec is not None
        is_net = spec.config.model.backbone == "texture"
        found.append(is_net)
        study.tell(
            TrialRecord(
                number=spec.number,
                state="complete",
                value=0.8 if is_net else 0.6,
                config={},
                fingerprint="f",
                seed=0,
                finished_at=datetime(2026, 1, 1, tzinfo=UTC),
            )
        )
    return float(np.mean(found[10:]))


def test_where_new_passes_are_too_dear_trials_stay_beside_the_best(tmp_path: Path) -> None:
    assert nets(tmp_path / "tpe.log", "tpe") > 0.75
    assert nets(tmp_path / "random.log", "random") < 0.1  # who asks for chance gets it
