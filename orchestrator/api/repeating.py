"""Repeats of finalists that are shown while they run: what `run_search` and `orchestrate repeat` call."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.api.displays import Display, display_of
from orchestrator.api.surroundings import surroundings_of
from orchestrator.callbacks import Callback
from orchestrator.nesting.repeats import repeat_finalists
from orchestrator.tuning.reopen import DEFAULT_OPTIONS, ResumeOptions
from results.run.run_folder import RunFolder

if TYPE_CHECKING:
    from results.scores.repeats import Repeats


def repeat_search(  # noqa: PLR0913 - what is repeated, what it runs on, and what the user has said of it
    run: RunFolder,
    *,
    repeats: int | None = None,
    finalists: int | None = None,
    address: str | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool | Display | None = None,
    options: ResumeOptions = DEFAULT_OPTIONS,
    replaces: bool = False,
) -> "Repeats | None":
    """Train the best trials of a run again, with other seeds and folds.

    Args:
        run: Run folder of the search.
        repeats: Number of repeats; None takes what an earlier call asked for, then the search, then 3.
        finalists: Number of best trials; None takes that of an earlier call, then 3.
        address: A Ray cluster, as for `run_search`.
        callbacks: Callbacks for the events of the repeats.
        progress: What to show, as for `run_search`.
        options: What the user has said of code that is run: space, sampler and pruner.
        replaces: Repeats of finalists that are none any more are set aside, and not refused.

    Returns:
        Their scores, which are in the run folder, too; None where the user ended it, and calling again goes
        on.

    Raises:
        OrchestrateError: If the run has no result or repeats of other finalists, or the machine fails.
    """
    display = display_of(progress)
    surroundings = surroundings_of(display, address, callbacks, has_curves=False)
    return repeat_finalists(
        run, surroundings, repeats=repeats, finalists=finalists, options=options, replaces=replaces
    )
