"""A search tries nothing twice, whatever its sampler would come back to."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from search_methods import search_method
from space_context import NARROW, context

from orchestrator.study.study import OptunaStudy, open_study
from orchestrator.study.unrepeated import UnrepeatedSampler
from results.run.records import TrialRecord
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import Space, space_named
from trainables.config.same_model import model_of, normal_form
from trainables.config.trial_config import TrialConfig, decode
from trainables.models.columns import normal_on

pytestmark = pytest.mark.slow

SHRINKAGES = tuple(step / 20 for step in range(20))


def heads(trial: Any, context: SpaceContext) -> dict[str, Any]:
    """Forty models, each written in two orders."""
    first, other = trial.suggest_categorical("order", ("texture intensity", "intensity texture")).split()
    return {
        "model.backbone": first,
        "model.also": f"{other}/top",
        "classical.name": "lda",
        "classical.shrinkage": trial.suggest_categorical("shrinkage", SHRINKAGES),
        "classical.pca": trial.suggest_categorical("pca", (16, 32)),
    }


def study_of(
    journal: Path, trials: int, function: Any = heads, *, sampler: str = "tpe", seed: int = 0
) -> OptunaStudy:
    method = search_method(trials=trials, sampler=sampler, seed=seed)
    opened = open_study(storage=None, journal=journal, name="t/n", is_new=not journal.exists())
    return OptunaStudy(opened, Space("heads", function, ()), NARROW, {}, method)


def run(study: OptunaStudy, trials: int) -> list[TrialConfig]:
    """Run trials whose score depends on the shrinkage alone, so that a sampler soon knows the best."""
    found = []
    while len(found) < trials and (spec := study.ask()) is not None:
        found.append(spec.config)
        study.tell(told(spec.number, 1.0 - abs(float(spec.config.classical.shrinkage) - 0.5)))
    return found


def told(number: int, value: float) -> TrialRecord:
    return TrialRecord(
        number=number,
        state="complete",
        value=value,
        config={},
        fingerprint="f",
        seed=0,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_settings_that_change_nothing_make_no_other_model() -> None:
    def of(columns: int = 0, usual_px: int | None = None, **settings: Any) -> str:
        own = {name.replace("__", "."): value for name, value in settings.items()}
        config = decode({"model.backbone": "texture", "classical.name": "lda", **own})
        return model_of(normal_form(config, columns=columns, usual_px=usual_px))

    plain = of()
    assert of(input__contrast_test=1.0) == of(input__clip=True) == of(input__clahe_grid=4) == plain
    assert of(input__contrast=1.5) == of(input__contrast=1.5, input__contrast_test=1.5) != plain
    assert of(input__contrast=1.5, input__clip=True) != of(input__contrast=1.5)
    assert of(input__contrast_test=1.5, input__clip=True) != of(input__contrast_test=1.5) != plain
    assert of(input__clahe=2.0, input__clahe_grid=4) != of(input__clahe=2.0)
    assert of(usual_px=150, input__size_px=150) == plain != of(usual_px=150, input__size_px=112)
    assert of(input__size_px=150) != plain
    components = [of(35, classical__pca=count) for count in (16, 32, 64, 128)]
    assert len(set(components)) == 3
    assert components[2] == components[3] == of(35, classical__pca=35)
    assert of(classical__pca=64) != of(classical__pca=128)  # of nobody knows how many


def test_no_model_of_the_default_space_is_tried_twice(tmp_path: Path) -> None:
    """Few columns, of which each number of components is the same, and three kinds of contrast."""
    facts = context(("texture", "intensity"))
    method = search_method(trials=150, sampler="random", seed=0)
    journal = tmp_path / "study.log"
    opened = open_study(storage=None, journal=journal, name="t/n", is_new=True)
    held = {"classical.name": "lda", "classical.shrinkage": 0.5}
    study = OptunaStudy(opened, space_named("benign_malignant"), facts, held, method)
    configs = run(study, 150)
    if not study.has_more and len(configs) < 150:
        configs.pop()  # the sign that nothing new was found
    normal = [normal_on(config, facts.sizes_px, facts.image_channels) for config in configs]
    assert len(configs) > 4
    assert repeats(normal) == 0


def repeats(configs: Sequence[TrialConfig]) -> int:
    return len(configs) - len({model_of(config) for config in configs})


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "nsga2"])
def test_no_model_is_tried_twice(tmp_path: Path, sampler: str) -> None:
    configs = run(study_of(tmp_path / "study.log", 34, sampler=sampler), 34)
    assert len(configs) == 34
    assert repeats(configs) == 0


def test_without_it_the_sampler_comes_back_to_what_it_knows(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(UnrepeatedSampler, "_learn", lambda self, study, but: None)
    assert repeats(run(study_of(tmp_path / "study.log", 34), 34)) > 8


def test_the_search_ends_when_all_has_been_tried(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study.log", 500)
    configs = run(study, 500)
    assert len({model_of(config) for config in configs}) == 40
    assert len(configs) == 41  # the last one is the sign that nothing new was found
    assert not study.has_more


def test_a_resumed_search_knows_what_was_tried_before(tmp_path: Path) -> None:
    whole = run(study_of(tmp_path / "whole.log", 34), 34)
    before = run(study_of(tmp_path / "study.log", 34), 20)
    after = run(study_of(tmp_path / "study.log", 34), 34)
    assert [*before, *after] == whole


def test_a_point_that_waits_in_the_queue_is_not_proposed(tmp_path: Path) -> None:
    """Where brief trials pass the queue, what waits there is known all the same."""
    study = study_of(tmp_path / "study.log", 40)
    drawn = optuna.trial.FixedTrial({"order": "texture intensity", "shrinkage": 0.5, "pca": 16})
    point = InitialPoint("first", heads(drawn, NARROW))
    study.enqueue([point])
    sampler = study.study.sampler
    assert isinstance(sampler, UnrepeatedSampler)
    sampler._learn(study.study, but=-1)
    assert sampler._models == {model_of(point.configure({}, epochs=NARROW.epochs))}


def test_what_failed_through_its_machine_may_be_tried_again(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study.log", 60)
    run(study, 30)
    spec = study.ask()
    assert spec is not None
    failed = told(spec.number, 0.0).model_copy(update={"state": "failed", "cause": "environment"})
    study.tell(failed)
    assert model_of(spec.config) in {model_of(config) for config in run(study, 29)}


def test_a_user_s_own_sampler_may_repeat_itself(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study.log", 60, sampler=f"{__name__}:one_point")
    assert isinstance(study.study.sampler, OnePoint)
    assert repeats(run(study, 12)) == 11


class OnePoint(optuna.samplers.BaseSampler):
    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return param_distribution.choices[0]


def one_point(facts: Any) -> optuna.samplers.BaseSampler:
    return OnePoint()


def test_the_order_of_taps_makes_no_other_model_and_settings_do() -> None:
    head = {"model.backbone": "vgg16", "classical.name": "lda", "model.also": "texture/top,intensity/top"}
    one = decode(head)
    assert model_of(one) == model_of(decode({**head, "model.also": "intensity/top,texture/top"}))
    assert model_of(one) != model_of(decode({**head, "classical.shrinkage": 0.5}))
    assert model_of(one) != model_of(decode({**head, "model.also": "texture/top"}))


def test_the_order_counts_where_only_the_first_tap_is_flattened() -> None:
    head = {"classical.name": "lda", "model.head.pooling": "flatten"}
    one = decode({**head, "model.backbone": "vgg16", "model.also": "texture/top"})
    other = decode({**head, "model.backbone": "texture", "model.also": "vgg16/top"})
    assert model_of(one) != model_of(other)
