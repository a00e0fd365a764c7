"""`orchestrate recipes`."""

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli.common import add_format
from orchestrator.reporting.console import show
from trainables.common.text import count_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from search_spaces.recipes import EvaluationProtocol, Recipe, ReportedScore

HELP = "list the experiments of the five source systems, or show one"
EPILOG = """\
The figures are the sources' own, mostly of a single run and often chosen on
the test set. Recipes come best first, those whose figure is in doubt last.

examples:
  orchestrate recipes list
  orchestrate recipes list --task mass_calcification
  orchestrate recipes show E003-5
  orchestrate recipes list --format csv > recipes.csv
  orchestrate recipes show E001-12 --task benign_malignant --format json
"""
_METRICS: Final = {"auc": "AUC", "f1": "F1", "f2": "F2"}
_COLUMNS: Final = ("id", "task", "about", "points", "needs", "metric", "value", "part", "doubt")
_WIDTH: Final = 80
_LABEL: Final = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="all recipes", description="List all recipes, by task.")
    listed.add_argument("--task", help="those of one task")
    add_format(listed)
    shown = actions.add_parser(
        "show", help="one recipe", description="Show what a recipe is and how to run it."
    )
    shown.add_argument("recipe", metavar="ID", help="such as E001-12")
    shown.add_argument("--task", help="needed where the id means another recipe in another task")
    add_format(shown)
    shown.add_argument(
        "--json", action="store_const", const="json", dest="format", help="the same as --format json"
    )


def run(arguments: argparse.Namespace) -> int:
    """List or show; returns the exit code."""
    if arguments.action == "list":
        _list(arguments.task, arguments.format)
    else:
        _show(arguments.recipe, arguments.task, arguments.format)
    return 0


def _list(task: str | None, form: str) -> None:
    from results.tables import csv_text
    from search_spaces.recipes import recipes_of
    from trainables.config.tasks import TASKS

    tasks = TASKS if task is None else (_task_name(task),)
    by_task = {name: recipes for name in tasks if (recipes := recipes_of(name))}
    rows = [_row(recipe) for recipes in by_task.values() for recipe in recipes]
    show(
        form,
        table=lambda: _tables(by_task),
        rows=lambda: rows,
        csv=lambda: csv_text(rows, _COLUMNS),
    )


def _task_name(task: str) -> str:
    """Name of the task; a file of own tasks is answered with why there is nothing to list."""
    from trainables.common.errors import ConfigError
    from trainables.config.task_file import read_tasks
    from trainables.config.tasks import TASKS, task_named

    if task not in TASKS and Path(task).is_file():
        named = ", ".join(read_tasks(Path(task)))
        raise ConfigError(
            f"recipes are experiments of built-in tasks; there is none for a task of your own ({named})"
        )
    return task_named(task).name


def _show(name: str, task: str | None, form: str) -> None:
    from results.tables import csv_text
    from search_spaces.recipes import recipe_named, tasks_of

    recipe = recipe_named(name, task)
    tasks = tasks_of(name) if task is None else (task,)
    settings = [{"setting": name, "values": values} for name, values in _changed(recipe.points).items()]
    if form == "table":
        print("\n".join(_lines(recipe, tasks)))
    else:
        show(
            form,
            table=lambda: "",
            rows=lambda: _as_json(recipe, tasks),
            csv=lambda: csv_text(settings, ["setting", "values"]),
        )


def _row(recipe: "Recipe") -> dict[str, Any]:
    """A recipe in one row, its figure as the source gave it."""
    figure = recipe.main_score
    return {
        "id": recipe.name,
        "task": recipe.task,
        "about": recipe.about,
        "points": len(recipe.points),
        "needs": list(recipe.needs),
        "metric": None if figure is None else figure.metric,
        "value": None if figure is None else figure.value,
        "part": None if figure is None else figure.part,
        "doubt": recipe.doubt,
    }


def _tables(by_task: "Mapping[str, tuple[Recipe, ...]]") -> "RenderableType":
    from rich.console import Group

    return Group(*(_table(name, recipes) for name, recipes in by_task.items()))


def _table(task: str, recipes: "tuple[Recipe, ...]") -> "RenderableType":

    from results.tables import result_table

    table = result_table(title_justify="left")
    table.title = f"{task}: {len(recipes)} recipes"
    table.add_column("id", no_wrap=True)
    table.add_column("what it is")
    table.add_column("the source's figure", no_wrap=True)
    for recipe in recipes:
        figure = recipe.main_score
        value = "" if figure is None else f"{_metric(figure)} {figure.value:g}{'?' if recipe.doubt else ''}"
        table.add_row(recipe.name, recipe.about, value)
    if any(recipe.doubt and recipe.main_score for recipe in recipes):
        table.caption, table.caption_justify = "? in doubt; show says why", "left"
    return table


def _metric(figure: "ReportedScore") -> str:
    return _METRICS.get(figure.metric, figure.metric)


def _lines(recipe: "Recipe", tasks: Sequence[str]) -> Iterator[str]:
    """The recipe as text of at most 80 columns, for the tasks in which it is the same."""
    yield f"{recipe.name}, {tasks[0] if len(tasks) == 1 else count_text(len(tasks), 'task')}"
    yield recipe.about
    yield ""
    if len(tasks) > 1:
        yield from _wrapped("tasks", ", ".join(tasks))
    yield from _wrapped("chosen", recipe.choice)
    yield from _wrapped("needs", ", ".join(recipe.needs))
    yield from _wrapped("combines", _combination(recipe))
    if recipe.starts_from:
        yield from _wrapped("starts", f"from a finished trial of {recipe.starts_from}, same task and split")
    if recipe.type_from:
        yield from _wrapped("type", f"from a finished trial of {recipe.type_from} for mass_calcification")
    yield from _wrapped("protocol", _protocol(recipe.protocol))
    for number, figure in enumerate(recipe.figures):
        yield from _wrapped("figures" if number == 0 else "", _figure(figure))
    yield from _wrapped("doubt", recipe.doubt)
    if recipe.points:
        yield f"\nsettings that differ from the defaults, {count_text(len(recipe.points), 'point')}:"
        yield from _settings(recipe.points)
    yield ""
    yield "run it:"
    for command in _commands(recipe, tasks):
        yield f"  {command}"


def _wrapped(label: str | None, text: str) -> Iterator[str]:
    """Lines of a text behind its label; no label indents by two; an empty text gives none."""
    import textwrap

    if not text:
        return
    first = "  " if label is None else f"{label:<{_LABEL}}"
    later = " " * (4 if label is None else _LABEL)
    yield from textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False
    )


def _combination(recipe: "Recipe") -> str:
    return f"{', '.join(recipe.members)} by {recipe.method}" if recipe.members else ""


def _protocol(protocol: "EvaluationProtocol") -> str:
    if protocol.holdout is None:
        parts = [f"{protocol.folds} folds"]
    else:
        parts = [f"one validation part of {protocol.holdout:.3g}"]
    share = f"test share {protocol.test_share:g} where the data bring no test set"
    parts.append(share if protocol.test_share else "no test part")
    parts += ["split by images, not patients"] * protocol.is_naive
    parts += ["trained once more on the whole training part before the test"] * protocol.refits
    return ", ".join(parts)


def _figure(figure: "ReportedScore") -> str:
    interval = figure.interval()
    ends = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    images = f" of {figure.images:,} images" if figure.images else ""
    note = f"; {figure.note}" if figure.note else ""
    return f"{_metric(figure)} {figure.value:g}{ends}, {figure.part}{images}{note}"


def _settings(points: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of the settings; points that are no sweep have theirs each, behind those that all share."""
    values = _values(points)
    distinct = {name: list(dict.fromkeys(found)) for name, found in values.items()}
    is_sweep = math.prod(map(len, distinct.values())) == len(points)
    for name, found in distinct.items():
        if is_sweep or len(found) == 1:
            yield from _wrapped(None, f"{name}={' | '.join(found)}")
    if is_sweep:
        return
    for place, point in enumerate(points):
        own = [name for name in _values([point]) if len(distinct[name]) > 1]
        text = " ".join(f"{name}={values[name][place]}" for name in own)
        yield from _wrapped(f"  {place + 1}", text or "nothing else")


def _changed(points: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Settings that differ from the defaults, as `--set` takes them; of several points all values in turn."""
    return {name: " | ".join(dict.fromkeys(found)) for name, found in _values(points).items()}


def _values(points: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Settings that differ from the defaults in any point, each with its value in every point."""
    from trainables.config.trial_config import decode, flatten

    default = flatten(decode({"model.backbone": "-"}).model_dump())
    checked = [flatten(decode(point).model_dump()) for point in points]
    values = {name: [_text(point[name]) for point in checked] for name in default}
    return {name: found for name, found in values.items() if set(found) != {_text(default[name])}}


def _text(value: Any) -> str:
    """A value as a user types it.

    >>> _text((512, 256)), _text(()), _text(None), _text(True), _text(("vgg16/top", "intensity/top"))
    ('512-256', 'none', 'null', 'true', 'vgg16/top,intensity/top')
    """
    if isinstance(value, tuple):
        between = "," if any(isinstance(part, str) for part in value) else "-"  # taps, numbers of units
        return between.join(map(str, value)) or "none"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _commands(recipe: "Recipe", tasks: Sequence[str]) -> Iterator[str]:
    """The command of a recipe's search; for an ensemble also that of the ensemble."""
    from trainables.config.tasks import task_named

    yield f"orchestrate search {tasks[0] if len(tasks) == 1 else 'TASK'} \\"
    data = "" if task_named(recipe.task).takes_table else " --data PATH"
    yield f"    --recipe {recipe.name}{data} --epochs {_epochs(recipe)} \\"
    yield f"    {' '.join(_options(recipe))}"
    if recipe.members:
        yield f"orchestrate ensemble RUN --methods {recipe.method}"


def _epochs(recipe: "Recipe") -> int:
    """Epochs of the longest point, because a search shortens points that exceed its own limit."""
    from search_spaces.recipes import recipe_named

    members = [recipe_named(name, recipe.task) for name in recipe.members] or [recipe]
    return max(int(point["training.epochs"]) for member in members for point in member.points)


def _options(recipe: "Recipe") -> Iterator[str]:
    protocol = recipe.protocol
    yield f"--folds {protocol.folds}" if protocol.holdout is None else f"--holdout {protocol.holdout:.3g}"
    yield f"--test-share {protocol.test_share:g}"
    if protocol.is_naive:
        yield "--naive-split"
    if recipe.starts_from:
        yield "--start-from RUN"
    if recipe.type_from:
        yield "--type-from RUN"


def _as_json(recipe: "Recipe", tasks: Sequence[str]) -> dict[str, Any]:
    from dataclasses import asdict

    figures = [asdict(figure) | {"interval": figure.interval()} for figure in recipe.figures]
    about = {"task": tasks[0] if len(tasks) == 1 else None, "tasks": list(tasks)}
    return asdict(recipe) | about | {"figures": figures, "command": list(_commands(recipe, tasks))}
