"""`orchestrate recipes` lists the catalogue and says how to run an entry."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.main import build_parser, main
from search_spaces.fixed_params import parse_fixed_params
from search_spaces.recipes import RECIPES, Recipe, recipe_named, recipes_of
from trainables.config.trial_config import decode

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def recipes(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["recipes", *arguments]) == 0
    return capsys.readouterr().out


def test_the_list_holds_every_recipe_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    lines = recipes(capsys, "list").splitlines()
    ids = [line.split()[0] for line in lines if line.strip()]
    assert all(ids.count(recipe.name) >= 1 for recipe in RECIPES)
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert not any("…" in line for line in lines)
    assert any("wisconsin: 7 recipes" in line for line in lines)


def test_the_list_of_a_task_comes_best_first_and_marks_doubt(capsys: pytest.CaptureFixture[str]) -> None:
    text = recipes(capsys, "list", "--task", "benign_malignant")
    names = [recipe.name for recipe in recipes_of("benign_malignant")]
    rows = [line.split() for line in text.splitlines() if line.split()[:1] and line.split()[0] in names]
    assert [row[0] for row in rows] == names
    values = {row[0]: row[-2:] for row in rows}
    assert values["E001-11"] == ["AUC", "0.71"]
    assert values["E001-3"] == ["accuracy", "0.6518?"]
    assert "? in doubt" in text
    assert "mass_calcification" not in text
    assert "in doubt" not in recipes(capsys, "list", "--task", "healthy_sick")  # no figures, no marks


def test_a_task_that_no_source_had_has_our_own_without_a_figure(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(recipes(capsys, "list", "--task", "finding_type", "--format", "json"))
    assert {row["id"] for row in rows} >= {"colour-intensity", "portfolio"}
    assert {row["metric"] for row in rows} == {None}


@pytest.mark.parametrize(
    "recipe", [pytest.param(recipe, id=f"{recipe.name}-{recipe.task}") for recipe in RECIPES]
)
def test_every_recipe_can_be_shown_within_80_columns(
    capsys: pytest.CaptureFixture[str], recipe: Recipe
) -> None:
    lines = recipes(capsys, "show", recipe.name, "--task", recipe.task).splitlines()
    assert lines[0] == f"{recipe.name}, {recipe.task}"
    assert max(map(len, lines)) <= 80


def test_settings_are_shown_as_they_are_typed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = recipes(capsys, "show", "E003-4").splitlines()
    shown = [line.strip() for line in lines if line.startswith("  ") and "=" in line and "--" not in line]
    assert "model.head.hidden=2048-2048" in shown
    assert "training.patience=null" in shown
    assert "training.batch_size=32" not in shown  # the default
    assert decode(parse_fixed_params(shown)) == decode(recipe_named("E003-4").points[0])


def test_a_sweep_shows_the_values_in_turn(capsys: pytest.CaptureFixture[str]) -> None:
    text = recipes(capsys, "show", "E003-15")
    assert "4 points" in text
    assert "training.class_weight=1 | 2 | 3 | 4" in text


def test_a_recipe_that_is_the_same_in_all_of_its_tasks_is_shown_without_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = recipes(capsys, "show", "portfolio").splitlines()
    assert lines[0] == "portfolio, 8 tasks"
    assert "tasks     benign_malignant, mass_calcification, normal_abnormal, five_class," in lines
    assert "  orchestrate search TASK \\" in lines
    shown = json.loads(recipes(capsys, "show", "portfolio", "--json"))
    assert (shown["task"], len(shown["tasks"])) == (None, 8)


def test_points_that_are_no_sweep_are_shown_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    lines = recipes(capsys, "show", "portfolio", "--task", "idc").splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0].isdigit()] == [
        str(place + 1) for place in range(len(recipe_named("portfolio").points))
    ]
    fourth = lines.index("  4       model.backbone=texture model.also=intensity/top training.epochs=1")
    assert lines[fourth + 1].strip() == "training.augmentation=none training.average_views=false"
    assert not any(" | " in line for line in lines)


def test_figures_have_intervals_where_they_can(capsys: pytest.CaptureFixture[str]) -> None:
    text = recipes(capsys, "show", "E001-3", "--task", "benign_malignant")
    assert "accuracy 0.6518 [0.599, 0.701], test of 336 images" in text
    assert "doubt     Its test accuracy is the share of benign patches" in text


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("E003-5", "--holdout 0.111 --test-share 0.1 --naive-split"),
        ("E002-1", "--folds 5 --test-share 0"),
        ("E001-20", "--folds 4 --test-share 0.2 --start-from RUN --type-from RUN"),
    ],
)
def test_the_command_repeats_the_protocol(
    capsys: pytest.CaptureFixture[str], name: str, options: str
) -> None:
    recipe = recipe_named(name)
    text = recipes(capsys, "show", name)
    assert options in text
    command = text.split("run it:\n")[1].replace("\\\n", " ").split()
    asked = build_parser().parse_args(command[1:])
    assert (asked.task, asked.recipes) == (recipe.task, [name])
    assert asked.epochs == recipe.points[0]["training.epochs"]


def test_an_ensemble_names_its_members_and_its_method(capsys: pytest.CaptureFixture[str]) -> None:
    text = recipes(capsys, "show", "E004-ENSEMBLE")
    assert "combines  E004-BM_V6, E004-VGG_BM_BEST, E004-INCEPTION_BM_BEST by average" in text
    assert "--recipe E004-ENSEMBLE --data PATH --epochs 30" in text
    assert "orchestrate ensemble RUN --methods average" in text


def test_a_table_brings_its_own_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--data" not in recipes(capsys, "show", "E003-19-TREE")


def test_json_holds_every_setting_of_every_point(capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(recipes(capsys, "show", "E001-11", "--task", "mass_calcification", "--json"))
    recipe = recipe_named("E001-11", "mass_calcification")
    assert [decode(point) for point in shown["points"]] == [decode(point) for point in recipe.points]
    assert [figure["metric"] for figure in shown["figures"]] == ["accuracy", "auc"]
    assert shown["figures"][1]["interval"] == pytest.approx(recipe.figures[1].interval())
    assert shown["protocol"]["refits"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "E003-55"), "unknown recipe 'E003-55'; did you mean"),
        (
            ("show", "E001-12"),
            "recipe E001-12 differs between several tasks; say which with --task: mass_calcification, ",
        ),
        (("show", "E000-3", "--task", "benign_malignant"), "not of task benign_malignant, but of idc"),
        (("list", "--task", "benign_malignat"), "unknown task 'benign_malignat'; did you mean"),
    ],
)
def test_what_is_not_there_is_explained(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert main(["recipes", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_listing_takes_neither_torch_nor_ray_nor_optuna() -> None:
    code = (
        "import sys; from orchestrator.cli.main import main; main(['recipes', 'list']); "
        "main(['recipes', 'show', 'E003-5']); "
        "print(sorted({'torch', 'ray', 'optuna', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_lists_and_recipes_come_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(recipes(capsys, "list", "--format", "json"))
    assert len(listed) > 100
    rows = list(csv.DictReader(io.StringIO(recipes(capsys, "list", "--format", "csv"))))
    assert [row["id"] for row in rows] == [row["id"] for row in listed]
    assert {
        row["task"] for row in json.loads(recipes(capsys, "list", "--task", "idc", "--format", "json"))
    } <= {"idc"}
    show = ("show", "E001-11", "--task", "mass_calcification")
    assert recipes(capsys, *show, "--format", "json") == recipes(capsys, *show, "--json")
    settings = {
        row["setting"]: row["values"]
        for row in csv.DictReader(io.StringIO(recipes(capsys, *show, "--format", "csv")))
    }
    assert settings["model.backbone"] == "vgg16"
    assert "E001-11" in recipes(capsys, *show, "--format", "table")


def test_a_file_of_own_tasks_has_no_recipes_and_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(__file__).parents[4] / "docs" / "tasks" / "bach.yaml"
    assert main(["recipes", "list", "--task", str(file)]) == 2
    assert "there is none for a task of your own (bach)" in capsys.readouterr().err
