"""Ensembles that recipes ask for: their own members, combined by their own method."""

from collections.abc import Sequence

from rich.console import Console

from orchestrator.reporting.console import print_message, results
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from search_spaces.recipes import RECIPES


def combine_recipes(
    run: RunFolder, search: SearchRecord, complete: Sequence[TrialRecord], console: Console
) -> None:
    """Build and print the ensembles among the recipes of a search.

    Args:
        run: Run folder of the search.
        search: Request and facts of the search.
        complete: Records of the complete trials.
        console: Console for messages about missing members.
    """
    for recipe in RECIPES:
        if recipe.task != search.task or recipe.name not in search.recipes or not recipe.members:
            continue
        members = [record.number for record in complete if record.recipe in recipe.members]
        found = {record.recipe for record in complete}
        missing = [name for name in recipe.members if name not in found]
        if missing:
            print_message(console, f"{recipe.name}: no complete trial of its members {', '.join(missing)}")
        if len(members) > 1:
            _build(run, recipe.name, recipe.method, members, console)


def _build(run: RunFolder, name: str, method: str, members: Sequence[int], console: Console) -> None:
    from results.ensembles.build import build_ensembles  # scikit-learn takes seconds to import
    from results.ensembles.tables import ensemble_table
    from results.scores.ranking import objectives_of

    built = build_ensembles(
        run, trials=members, max_members=len(members), methods=(method,), seed=run.search().request.seed
    )
    print_message(console, f"{name}: {method} of trials {', '.join(map(str, members))}")
    results(falls_silent=True).print(ensemble_table(built, objectives_of(run.search())))
