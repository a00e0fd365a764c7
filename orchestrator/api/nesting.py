"""Nested searches that are shown while they run: what `run_search` and `orchestrate nest` call."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.api.displays import Display, display_of
from orchestrator.api.surroundings import surroundings_of
from orchestrator.callbacks import Callback
from orchestrator.nesting.nested_search import run_nested_search
from orchestrator.tuning.reopen import DEFAULT_OPTIONS, ResumeOptions
from results.run.run_folder import RunFolder

if TYPE_CHECKING:
    from results.scores.outer_result import OuterResult


def nest_search(
    run: RunFolder,
    *,
    outer: int | None = None,
    address: str | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool | Display | None = None,
    by: str = "",
    options: ResumeOptions = DEFAULT_OPTIONS,
) -> "OuterResult | None":
    """Run the search of a run once without each outer fold, and score it on these folds.

    Args:
        run: Run folder of the search.
        outer: Number of outer folds; None takes those that are there, or asked for by the search, or 5.
        address: A Ray cluster, as for `run_search`.
        callbacks: Callbacks for the events of the inner searches.
        progress: What to show, as for `run_search`.
        by: What asks for it, for the log of looks.
        options: What the user has said of code that is run: space, sampler and pruner.

    Returns:
        The result, which is in the run folder, too; None where the user ended it, and calling again goes on.

    Raises:
        OrchestrateError: If patients, classes or protocol allow no outer folds, or the machine fails.
    """
    display = display_of(progress)
    surroundings = surroundings_of(display, address, callbacks, has_curves=False)
    found = run_nested_search(run, surroundings, outer=outer, by=by or "run_search", options=options)
    return found.result
