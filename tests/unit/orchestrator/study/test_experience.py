"""What was tried on other sets is proposed where it looks promising on this one."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from search_methods import search_method
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from space_context import context

from orchestrator.study import experience
from orchestrator.study.experience import UNTIL, expected_improvement
from orchestrator.study.method import SearchMethod
from orchestrator.study.study import OptunaStudy, open_study
from orchestrator.study.trial_spec import TrialSpec
from orchestrator.study.unrepeated import UnrepeatedSampler
from results.run.records import TrialRecord
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.learned import TriedElsewhere, learned_ranges, tried_elsewhere
from search_spaces.registry import space_named
from trainables.config.trial_config import decode, flatten

NET = "efficientnet_lite0"


def head(name: str, cut: str = "top", **own: Any) -> dict[str, Any]:
    """A closed-form head on a net, as a table writes it: what has its default is missing."""
    settings = {"model.backbone": NET, "model.cut": cut, "classical.name": name, **own}
    plain = {"training.augmentation": "none", "training.average_views": False, "training.epochs": 1}
    return flatten(decode(settings | plain).model_dump(mode="json", exclude_defaults=True))


GOOD, FAIR, BAD = head("lda", "top+1"), head("lda", "top+2"), head("ridge", "top+3")
TRIED = (TriedElsewhere(BAD, 0.1), TriedElsewhere(GOOD, 0.9), TriedElsewhere(FAIR, 0.6))
FIRST = tuple(head("logistic", cut, **{"classical.c": c}) for cut in ("top", "top+3") for c in (0.01, 1.0))


def method(tried: tuple[TriedElsewhere, ...] = TRIED, **own: Any) -> SearchMethod:
    plain = search_method(trials=100, **own)
    return SearchMethod(
        plain.objectives, plain.sampler, plain.pruner, seed=0, trials=100, epochs=20, folds=4, tried=tried
    )


def study_of(
    journal: Path,
    how: SearchMethod,
    *,
    held: Mapping[str, Any] | None = None,
    facts: SpaceContext | None = None,
) -> OptunaStudy:
    is_new = not journal.exists()
    opened = open_study(
        storage=None, journal=journal, name="t", directions=how.objectives.directions, is_new=is_new
    )
    space = space_named("search_spaces.image_classifier:image_classifier")
    study = OptunaStudy(opened, space, facts or context((NET,)), held or {}, how)
    if is_new:
        study.enqueue([InitialPoint("first", own) for own in FIRST])
    return study


def run(study: OptunaStudy, count: int, *, sign: float = 1.0) -> list[dict[str, Any]]:
    """Run trials of which those with more of the good one's settings are better; returns their settings."""
    return asked(study, count, sign=sign)[0]


def asked(study: OptunaStudy, count: int, *, sign: float = 1.0) -> tuple[list[dict[str, Any]], list[str]]:
    """Run trials as `run` does; returns their settings and recipes."""
    found, recipes = list[dict[str, Any]](), list[str]()
    for _ in range(count):
        spec = study.ask()
        assert spec is not None
        own = settings_of(spec)
        value = 0.5 + 0.3 * (own.get("classical.name") == "lda") + 0.1 * (own.get("model.cut") == "top+1")
        metrics = study.method.objectives.metrics
        study.tell(told(spec.number, sign * value, dict.fromkeys(metrics[1:], value)))
        found.append(own)
        recipes.append(spec.recipe)
    return found, recipes


def settings_of(spec: TrialSpec) -> dict[str, Any]:
    return flatten(spec.config.model_dump(mode="json", exclude_defaults=True))


def told(number: int, value: float, values: Mapping[str, float]) -> TrialRecord:
    return TrialRecord(
        number=number,
        state="complete",
        value=value,
        values=dict(values),
        config={},
        fingerprint="f",
        seed=0,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_the_expected_improvement_is_that_of_a_gaussian_process() -> None:
    random = np.random.default_rng(0)
    places, trials = random.uniform(0, 12, 40), random.uniform(0, 12, 9)
    usual = np.sin(places / 3)
    values = 0.6 + 0.2 * usual[np.abs(trials[:, None] - places).argmin(axis=1)] + random.normal(0, 0.05, 9)

    found = expected_improvement(
        usual, values, np.abs(trials[:, None] - places), np.abs(trials[:, None] - trials), best=values.max()
    )

    near = usual[np.abs(trials[:, None] - places).argmin(axis=1)]
    slope, start = np.polyfit(near, values, 1)
    left = values - start - slope * near
    kernel = ConstantKernel(np.mean(left**2)) * RBF(3.0 / np.sqrt(2))
    process = GaussianProcessRegressor(
        kernel + WhiteKernel(0.3**2 * np.mean(left**2)), optimizer=None, alpha=0.0
    ).fit(trials[:, None], left)
    mean, spread = process.predict(places[:, None], return_std=True)
    spread = np.sqrt(spread**2 - 0.3**2 * np.mean(left**2))  # of the value without the noise of a trial
    gain = start + slope * usual + mean - values.max()
    expected = gain * norm.cdf(gain / spread) + spread * norm.pdf(gain / spread)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_where_worse_is_usual_better_is_not_expected() -> None:
    """A set on which the order of other sets is turned round has no line through it."""
    usual, values = np.array([0.1, 0.9, 0.5]), np.array([0.9, 0.6])
    far = np.array([[0.0, 9.0, 9.0], [9.0, 0.0, 9.0]])
    found = expected_improvement(usual, values, far, np.array([[0.0, 9.0], [9.0, 0.0]]), best=0.9)
    assert found.argmin() == 1


def test_what_is_required_decides_what_is_to_be_improved_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[float]()
    monkeypatch.setattr(
        experience,
        "expected_improvement",
        lambda *arrays, best: seen.append(best) or expected_improvement(*arrays, best=best),
    )
    study = study_of(tmp_path / "study.log", method(requirements=("recall>=0.9",)))
    for value, recall in ((0.95, 0.5), (0.6, 0.95), (0.9, 0.5), (0.7, 0.95)):
        spec = study.ask()
        assert spec is not None
        study.tell(told(spec.number, value, {"recall": recall}))
    study.ask()
    assert set(seen) == {0.7}


def test_what_looks_promising_comes_first(tmp_path: Path) -> None:
    found = run(study_of(tmp_path / "study.log", method()), 6)
    assert found[:4] == list(FIRST)
    assert found[4:] == [GOOD, FAIR]


def test_a_trial_says_that_experience_proposed_it_also_after_a_resume(tmp_path: Path) -> None:
    study, labels = study_of(tmp_path / "study.log", method()), list[str]()
    for number in range(7):
        spec = study.ask()
        assert spec is not None
        labels.append(spec.recipe)
        if number < 6:
            study.tell(told(number, 0.5 + 0.01 * number, {}))
    resumed = study_of(tmp_path / "study.log", method())
    resumed.adopt({})
    for _ in range(2):
        spec = resumed.ask()
        assert spec is not None
        labels.append(spec.recipe)
    # The seventh trial runs again under its number; the eighth is the sampler's.
    assert labels == [*["first"] * 4, *["experience"] * 3, "experience", ""]


def test_without_experience_the_sampler_proposes(tmp_path: Path) -> None:
    found = run(study_of(tmp_path / "study.log", method(())), 8)
    assert GOOD not in found


def test_a_cost_is_to_be_small(tmp_path: Path) -> None:
    found = run(study_of(tmp_path / "study.log", method(metrics=("log_loss",))), 5, sign=-1.0)
    assert found[4] == GOOD


def test_experience_takes_turns_with_the_sampler_and_ends(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study.log", method())
    asked = []
    sampler = study.study.sampler
    assert isinstance(sampler, UnrepeatedSampler)
    experience = sampler._experience
    assert experience is not None
    assert not experience.has_a_turn(UNTIL)
    for number in range(UNTIL):
        asked.append(experience.has_a_turn(number))
    assert asked[:8] == [True, True, True, False] * 2


@pytest.mark.parametrize(
    "how",
    [{"metrics": ("auc", "recall"), "pruner": "none"}, {"sampler": "random"}],
    ids=["two metrics", "chance"],
)
def test_searches_of_several_metrics_and_of_chance_have_none(tmp_path: Path, how: dict[str, Any]) -> None:
    own = run(study_of(tmp_path / "own.log", method(**how)), 8)
    other = run(study_of(tmp_path / "other.log", method((), **how)), 8)
    assert own == other


def test_what_this_search_cannot_run_is_passed_over(tmp_path: Path) -> None:
    best = TriedElsewhere(head("lda", "top+1", **{"model.backbone": "vgg16"}), 1.0)
    found = run(study_of(tmp_path / "study.log", method((best, *TRIED))), 5)
    assert found[4] == GOOD


def test_of_what_was_tried_only_that_is_known_which_has_what_is_held_fixed(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study.log", method(), held={"model.cut": "top+2"})
    found, recipes = asked(study, 7)
    assert {own["model.cut"] for own in found} == {"top+2"}
    assert recipes[4:] == ["experience", "", ""]
    assert found[4] == FAIR


def test_much_that_is_held_fixed_hides_nothing_that_has_it(tmp_path: Path) -> None:
    held = {"model.backbone": NET, "model.cut": "top+1", "model.also": "none", "model.head.pooling": "gap"}
    held |= {"classical.standardize": False, "classical.pca": 0, "input.contrast": 1.0}
    found, recipes = asked(study_of(tmp_path / "study.log", method(), held=held), 5)
    assert (found[4], recipes[4]) == (GOOD, "experience")


@pytest.mark.parametrize(
    ("held", "known"),
    [
        ({"input.clahe": 2.0}, [True, True, True]),
        ({"optimizer.name": "sgd"}, [True, True, True]),
        ({"training.epochs": 3}, [True, True, True]),
        ({"classical.name": "ridge"}, [True, False, False]),
        ({"classical.name": "none"}, [False, False, False]),
        ({"input.contrast": 1.5}, [False, False, False]),
        ({"training.augmentation": "d4"}, [False, False, False]),
    ],
    ids=str,
)
def test_what_neither_the_space_nor_a_trial_elsewhere_says_may_be_held_fixed(
    tmp_path: Path, held: dict[str, Any], known: list[bool]
) -> None:
    """It is the same in all trials of the search, as its images are."""
    study = study_of(tmp_path / "study.log", method(), held=held)
    assert [study._params_of(own.settings) != {} for own in TRIED] == known


@pytest.mark.parametrize(
    "tried",
    [
        head("logistic", "top+1", **{"classical.c": 1e3}),
        head("lda", "top+1", **{"model.also": "vgg16/top"}),
        head("lda", "top+1", **{"input.clahe": 2.0}),
    ],
    ids=["a number out of its range", "a net that is not there", "a setting that the space leaves"],
)
def test_what_the_space_would_propose_in_another_form_is_passed_over(
    tmp_path: Path, tried: dict[str, Any]
) -> None:
    found, recipes = asked(study_of(tmp_path / "study.log", method((TriedElsewhere(tried, 1.0), *TRIED))), 7)
    assert (found[4], found[5]) == (GOOD, FAIR)
    assert recipes[4:] == ["experience"] * 3


def test_nearly_all_that_was_tried_elsewhere_is_known_to_a_search_on_the_same_nets(tmp_path: Path) -> None:
    """The others have a strength or width that has never been good, out of the ranges that were learned."""
    nets = (NET, "vgg16", "intensity", "texture")
    sides = dict.fromkeys(nets[:2], (112, 150, 224))
    facts = context(nets).model_copy(update={"ranges": learned_ranges(), "further_sizes": sides})
    study = study_of(tmp_path / "study.log", method(), facts=facts)
    others = [own.settings for own in tried_elsewhere() if not study._params_of(own.settings)]
    assert len(others) < 0.1 * len(tried_elsewhere())
    numbers = ("classical.c", "classical.gamma", "optimizer.lr")
    for own in others:
        mended = {name: value for name, value in own.items() if name not in numbers}
        near = {"classical.c": 1.0, "classical.gamma": 1.0, "optimizer.lr": 0.01}
        near = {name: value for name, value in near.items() if name in own}
        assert study._params_of(mended | near)


def test_a_resumed_search_goes_on_as_it_would_have(tmp_path: Path) -> None:
    whole = run(study_of(tmp_path / "whole.log", method()), 9)
    before = run(study_of(tmp_path / "study.log", method()), 5)
    after = run(study_of(tmp_path / "study.log", method()), 4)
    assert [*before, *after] == whole


def test_no_first_point_is_proposed_while_it_waits_or_after_it(tmp_path: Path) -> None:
    """A point of the queue may be passed over for a brief trial; experience knows it, whatever its epochs."""
    study = study_of(tmp_path / "study.log", method())
    study.enqueue([InitialPoint("first", GOOD | {"training.epochs": 2})])
    run(study, 4)
    sampler = study.study.sampler
    assert isinstance(sampler, UnrepeatedSampler)
    experience = sampler._experience
    assert experience is not None

    def proposed() -> list[str]:
        return [params[f"model.cut@{NET}"] for params in experience.promising(study.study)]

    assert sorted(proposed()) == ["top+2", "top+3"]  # of GOOD, with "top+1", a like one waits
    run(study, 1)
    assert sorted(proposed()) == ["top+2", "top+3"]  # and was tried
