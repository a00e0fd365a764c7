"""Ensembles that recipes ask for: their own members, combined by their own method."""

from collections.abc import Sequence

from rich.console import Console

from orchestrator.reporting.console import Sections, print_message
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from search_spaces.recipes import RECIPES


def combine_recipes(
    run: RunFolder,
    search: SearchRecord,
    complete: Sequence[TrialRecord],
    console: Console,
    output: Sections,
) -> None:
    """Build and print the ensembles among the recipes of a search.

    Args:
        run: Run folder of the search.
        search: Request and facts of the search.
        complete: Records of the complete trials.
        console: Console for messages about missing members.
        output: Where the ensembles are printed, under the names of their recipes.
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
            print_message(console, f"{recipe.name}: {recipe.method} of trials {', '.join(map(str, members))}")
            _build(run, recipe.name, recipe.method, members, output)


def _build(run: RunFolder, name: str, method: str, members: Sequence[int], output: Sections) -> None:
    from results.ensembles.build import build_ensembles  # scikit-learn takes seconds to import
    from results.ensembles.tables import ensemble_table, ensembles_as_csv, ensembles_as_json

    built = build_ensembles(
        run, trials=members, max_members=len(members), methods=(method,), seed=run.search().request.seed
    )
    output.add(
        name,
        table=lambda: ensemble_table(built),
        rows=lambda: ensembles_as_json(built),
        csv=lambda: ensembles_as_csv(built),
    )
