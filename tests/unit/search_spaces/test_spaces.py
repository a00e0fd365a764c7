import sys
from pathlib import Path

import optuna
import pytest
from space_context import IMAGE_SPACES, context

from orchestrator.study.drawn_points import check_space
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint, matching_params, suggest_enqueued
from search_spaces.fixed_params import FixedParamsTrial, parse_fixed_params
from search_spaces.image_classifier import input_sizes
from search_spaces.registry import TASK_SPACES, space_named
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.tasks import TASKS
from trainables.models.registry import DEFAULT_BACKBONES, backbone_named


def random_study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))


def test_every_task_has_a_space() -> None:
    assert set(TASK_SPACES) == set(TASKS)


@pytest.mark.parametrize("task", IMAGE_SPACES)
def test_every_point_of_a_space_is_a_configuration_that_can_be_planned(task: str) -> None:
    configs = check_space(space_named(task), context(), {})
    assert len(configs) >= 64
    for config in configs:
        backbone_named(config.model.backbone).plan(config.model)
    assert {config.optimizer.name for config in configs} == {"adam", "rmsprop", "sgd", "adadelta"}
    assert {config.model.backbone for config in configs} == set(DEFAULT_BACKBONES)


@pytest.mark.parametrize("task", IMAGE_SPACES)
def test_the_sampler_is_told_what_its_space_knows_of_a_recipe(task: str) -> None:
    space, study = space_named(task), random_study()
    for recipe in space.recipes:
        for settings in recipe.points:
            config = InitialPoint(recipe.name, settings).configure({}, epochs=30)
            params = matching_params(space.function, context(), config)
            study.enqueue_trial(params)
            trial = study.ask()
            suggest_enqueued(space.function, context(), config, trial)
            assert trial.params == params
            assert len(params) >= 1 or config.model.backbone not in context().backbones, recipe.name


def test_a_size_below_what_a_backbone_takes_is_never_a_choice() -> None:
    on_a_gpu = context().model_copy(update={"has_gpu": True, "image_px": 150})
    assert input_sizes(on_a_gpu, "scratch4") == (75, 139, 150, 224, 299)
    assert input_sizes(on_a_gpu, "m1_valid") == (150, 224, 299)
    assert input_sizes(on_a_gpu.model_copy(update={"has_gpu": False}), "scratch4") == (75, 139)


def test_conditional_settings_follow_what_they_depend_on() -> None:
    study, space = random_study(), space_named("benign_malignant")
    for _ in range(60):
        config = space.configure(study.ask(), context(), {})
        assert (config.optimizer.momentum is not None) == (config.optimizer.name == "sgd")
        assert (config.model.weights == "random") == (config.model.backbone == "scratch4")
        if config.training.augmentation == "none":
            assert not config.training.average_views


def test_statistics_of_pixels_are_those_of_the_images_as_they_are() -> None:
    study, space = random_study(), space_named("benign_malignant")
    configs = [space.configure(study.ask(), context(), {}) for _ in range(200)]
    closed = [config for config in configs if config.classical.name != "none"]
    nets = [
        {config.model.backbone, *(tap.partition("/")[0] for tap in config.model.also)} for config in closed
    ]
    of_statistics = [all(backbone_named(name).is_fixed for name in own) for own in nets]
    presets = {
        is_fixed: {
            config.input.contrast
            for config, own in zip(closed, of_statistics, strict=True)
            if own == is_fixed
        }
        for is_fixed in (True, False)
    }
    assert presets == {True: {1.0}, False: {1.0, 1.5, 2.0}}


def test_a_pinned_setting_is_fixed_and_conditions_follow_it() -> None:
    study, space = random_study(), space_named("benign_malignant")
    fixed_params = parse_fixed_params(
        ["optimizer.name=sgd", "model.cut=top+1", "optimizer.lr=1e-3", "model.head.hidden=[7]"]
    )
    for _ in range(20):
        trial = study.ask()
        facts = context(("vgg16", "resnet50")).model_copy(update={"heads": ()})
        config = space.configure(trial, facts, fixed_params)
        assert (config.optimizer.name, config.model.cut, config.optimizer.lr) == ("sgd", "top+1", 1e-3)
        assert config.model.head.hidden == (7,)
        assert config.optimizer.momentum is not None
        assert "optimizer.name" not in trial.params


def test_a_setting_outside_the_space_may_be_pinned_too() -> None:
    config = space_named("benign_malignant").configure(
        random_study().ask(), context(), {"training.patience": 2}
    )
    assert config.training.patience == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer.name", "write name=value"),
        ("optimzer.name=adam", "unknown setting 'optimzer.name'; did you mean 'optimizer.name'"),
        ("optimizer.lr=[", "the value is not valid YAML"),
    ],
)
def test_a_pin_that_cannot_be_read_is_explained(text: str, message: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        parse_fixed_params([text])


def test_a_pinned_trial_passes_on_what_is_not_pinned() -> None:
    trial = FixedParamsTrial(optuna.trial.FixedTrial({"a": 1, "b": 0.5}), {"c": 9})
    assert (trial.suggest_int("a", 0, 3), trial.suggest_float("b", 0, 1), trial.suggest_int("c", 0, 3)) == (
        1,
        0.5,
        9,
    )
    assert trial.number == 0


def test_a_users_own_space_is_found_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_space.py").write_text(
        "def space(trial, context):\n"
        "    rate = trial.suggest_float('lr', 1e-4, 1e-2, log=True)\n"
        "    return {'model': {'backbone': 'vgg16'}, 'optimizer.lr': rate}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    config = space_named("my_space:space").configure(random_study().ask(), context(), {})
    assert 1e-4 <= config.optimizer.lr <= 1e-2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("benign_malignat", "unknown space 'benign_malignat'; did you mean 'benign_malignant'"),
        ("nonsense", "wisconsin; MODULE:FUNCTION names one of your own"),
        ("no_such_module:space", "the module cannot be imported"),
        ("search_spaces.image_classifier:nothing", "has no function 'nothing'"),
    ],
)
def test_a_space_that_is_not_there_is_explained(name: str, message: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        space_named(name)


def test_a_space_whose_point_is_no_configuration_stops_the_search_at_its_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_space.py").write_text(
        "def wrong(trial, context):\n    return {'model.backbone': 'vgg16', 'optimizer.lr': -1.0}\n"
        "def broken(trial, context):\n    return {}['missing']\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ConfigError, match=r"proposed a point that cannot run: .*optimizer\.lr"):
        check_space(space_named("bad_space:wrong"), context(), {})
    with pytest.raises(ConfigError, match=r"space bad_space:broken failed on \{\}: KeyError"):
        check_space(space_named("bad_space:broken"), context(), {})


def test_the_context_survives_the_way_through_the_run_folder() -> None:
    assert SpaceContext.model_validate(context().model_dump(mode="json")) == context()


def test_the_space_of_the_how_to_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to-search.md").read_text()
    (tmp_path / "page_space.py").write_text(page.split("```python\n")[1].split("```")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    configs = check_space(space_named("page_space:space"), context(), {})
    for config in configs:
        backbone_named(config.model.backbone).plan(config.model)
        assert config.training.epochs == context().epochs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer.name=adamw", "'adam', 'rmsprop', 'sgd' or 'adadelta'"),
        ("model.head.dropout=2", "less than or equal to 0.9"),
        ("training.class_weight=heavy", "optimizer|class_weight=heavy"),
    ],
)
def test_a_pinned_value_that_is_not_allowed_is_explained(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_fixed_params([text])


def test_hidden_layers_may_be_pinned_as_the_space_writes_them() -> None:
    for text, expected in (("512-256", (512, 256)), ("none", ()), ("256", (256,)), ("[7, 8]", (7, 8))):
        fixed_params = parse_fixed_params([f"model.head.hidden={text}"])
        config = space_named("benign_malignant").configure(random_study().ask(), context(), fixed_params)
        assert config.model.head.hidden == expected
