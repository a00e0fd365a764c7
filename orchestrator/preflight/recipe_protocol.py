"""The options that recipes bring along.

Importing this takes no torch: a request is read before anything else.
"""

from collections.abc import Sequence
from typing import Any, Final

from results.run.search_request import SearchRequest
from search_spaces.recipes import recipe_named, recipes_of

ALL: Final = "all"
DEFAULT_EPOCHS: Final = int(SearchRequest.model_fields["epochs"].default)


def protocol_of_recipes(names: Sequence[str], task: str) -> dict[str, Any]:
    """Return the options that recipes bring along, for a request that leaves them open.

    Trials are the recipes' points, epochs those of the longest, and the protocol is theirs where they agree.
    A naive split is never among them.

    Args:
        names: Ids of recipes, or `all`.
        task: Name of the task.

    Raises:
        UnknownNameError: If there is no such recipe.
        ConfigError: If a recipe is of another task.
    """
    if not names:
        return {}
    if ALL in names:
        points = [point for recipe in recipes_of(task) for point in recipe.points]
        epochs = max([DEFAULT_EPOCHS, *(int(point["training.epochs"]) for point in points)])
        return {"trials": max(len(points), 1), "epochs": epochs}
    named = [recipe_named(name, task) for name in names]
    members = [recipe_named(member, task) for recipe in named for member in recipe.members or (recipe.name,)]
    settings = [point for recipe in members for point in recipe.points]
    protocols = {(one.folds, one.holdout, one.test_share) for one in (recipe.protocol for recipe in named)}
    found: dict[str, Any] = {
        "trials": len(settings),
        "epochs": max(int(point["training.epochs"]) for point in settings),
    }
    if len(protocols) == 1:
        folds, holdout, test_share = protocols.pop()
        own = {"folds": folds if holdout is None else None, "holdout": holdout, "test_share": test_share}
        found |= {name: value for name, value in own.items() if value is not None}
    return found
