"""Ensembles that recipes ask for: their own members, combined by their own method."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import Ensemble
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from search_spaces.recipes import RECIPES, Recipe


@dataclass(frozen=True, slots=True)
class RecipeEnsemble:
    """The ensemble of a recipe.

    Attributes:
        recipe: The recipe, which names members and method.
        trials: Numbers of the complete trials of its members.
        missing: Names of members without a complete trial.
        built: The best single trial and the ensemble, which is kept in the run folder under the name of the
            recipe; empty where fewer than two members are complete.
    """

    recipe: Recipe
    trials: tuple[int, ...]
    missing: tuple[str, ...]
    built: tuple[Ensemble, ...]


def ensembles_of_recipes(
    run: RunFolder, search: SearchRecord, complete: Sequence[TrialRecord]
) -> Iterator[RecipeEnsemble]:
    """Build the ensembles among the recipes of a search, one after the other.

    Each is written under the name of its recipe. `best` is chosen out of all trials of the run, whatever a
    recipe asks for, so that it is left as it is.

    Args:
        run: Run folder of the search.
        search: Request and facts of the search.
        complete: Records of the complete trials.
    """
    for recipe in RECIPES:
        if recipe.task == search.task and recipe.name in search.recipes and recipe.members:
            trials = tuple(record.number for record in complete if record.recipe in recipe.members)
            found = {record.recipe for record in complete}
            missing = tuple(name for name in recipe.members if name not in found)
            built = _built(run, recipe, trials) if len(trials) > 1 else ()
            yield RecipeEnsemble(recipe, trials, missing, built)


def _built(run: RunFolder, recipe: Recipe, trials: Sequence[int]) -> tuple[Ensemble, ...]:
    return tuple(
        build_ensembles(
            run,
            trials=trials,
            max_members=len(trials),
            methods=(recipe.method,),
            seed=run.search().request.seed,
            recipe=recipe.name,
        )
    )
