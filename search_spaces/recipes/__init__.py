"""The catalogue: every experiment of the five source systems, and the best of our own, as data."""

from dataclasses import replace
from typing import Final

from search_spaces.recipes import (
    ours,
    source_000,
    source_001,
    source_001_combined,
    source_002,
    source_003,
    source_003_classical,
    source_004,
)
from search_spaces.recipes.recipe import EvaluationProtocol, Recipe, ReportedScore
from trainables.common.errors import ConfigError, UnknownNameError

__all__ = [
    "RECIPES",
    "EvaluationProtocol",
    "Recipe",
    "ReportedScore",
    "recipe_named",
    "recipes_of",
    "tasks_of",
]

RECIPES: Final[tuple[Recipe, ...]] = (
    *ours.BEST_OF_OURS,
    *source_000.RECIPES,
    *source_001.RECIPES,
    *source_001_combined.RECIPES,
    *source_002.RECIPES,
    *source_003.RECIPES,
    *source_003_classical.RECIPES,
    *source_004.RECIPES,
)


def recipes_of(task: str) -> tuple[Recipe, ...]:
    """Return the recipes of a task, best first; none for a task that no source had.

    Our own come first. Then those with a figure that is not in doubt, the higher first: the AUC, or else the
    accuracy or any metric of the source. Then those without a figure, and at last those whose figure is in
    doubt. Figures of different data and parts are compared, so this is an order to try recipes in, not a
    ranking. Ties keep the order of the catalogue.

    >>> recipes_of("benign_malignant")[0].name
    'colour-intensity'
    """
    return tuple(sorted((recipe for recipe in RECIPES if recipe.task == task), key=_place))


def recipe_named(name: str, task: str | None = None) -> Recipe:
    """Return the recipe of an id, in upper or lower case.

    Args:
        name: Id of the recipe, such as `E001-12`.
        task: Needed only where the id means another recipe in another task; else that of the first is taken.

    Raises:
        UnknownNameError: If no recipe has the id; the message holds the nearest id, and those of its source.
        ConfigError: If the id belongs to other tasks, or means different recipes and no task is given; the
            message names the tasks.
    """
    found = {recipe.task: recipe for recipe in RECIPES if recipe.name.lower() == name.lower()}
    if not found:
        raise UnknownNameError("recipe", name, _of_the_same_source(name))
    if task is None:
        first = next(iter(found.values()))
        if all(replace(recipe, task=first.task) == first for recipe in found.values()):
            return first
        raise ConfigError(
            f"recipe {name} differs between several tasks; say which with --task: {', '.join(found)}"
        )
    if task not in found:
        raise ConfigError(f"recipe {name} is not of task {task}, but of {', '.join(found)}")
    return found[task]


def tasks_of(name: str) -> tuple[str, ...]:
    """Return the tasks that have a recipe of an id, in upper or lower case.

    >>> tasks_of("frozen-lite0")
    ('benign_malignant', 'mass_calcification', 'normal_abnormal')
    """
    return tuple(recipe.task for recipe in RECIPES if recipe.name.lower() == name.lower())


def _place(recipe: Recipe) -> tuple[int, float]:
    if recipe in ours.BEST_OF_OURS:
        return 0, 0.0
    if recipe.doubt:
        return 3, 0.0
    return (1, -recipe.main_score.value) if recipe.main_score else (2, 0.0)


def _of_the_same_source(name: str) -> set[str]:
    """Ids with the same source prefix as a name; all ids if none has it."""
    start = name.partition("-")[0].lower()
    names = {recipe.name for recipe in RECIPES}
    return {known for known in names if known.lower().startswith(f"{start}-")} or names
