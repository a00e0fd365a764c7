"""What a search is worth, from Python: its nested score, and how much of its result is luck."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.api.run_view import RunView
from orchestrator.callbacks import Callback, SearchView

if TYPE_CHECKING:  # a result may only be looked at
    from orchestrator.tuning.surroundings import Surroundings
    from results.scores.outer_result import OuterResult
    from results.scores.overtuning import Overtuning
    from results.scores.repeats import Repeats


class SearchClaims(RunView):
    """The part of a `SearchResult` that judges the search as a whole."""

    @property
    def outer(self) -> "OuterResult | None":
        """Result of the nested search; None where there is none."""
        from results.scores.outer_result import read_outer

        return read_outer(self._run)

    @property
    def repeats(self) -> "Repeats | None":
        """Scores of the finalists that were trained again; None where there are none."""
        from results.scores.repeats import read_repeats

        return read_repeats(self._run)

    def repeat(
        self,
        repeats: int | None = None,
        *,
        finalists: int | None = None,
        space: str | None = None,
        sampler: str | None = None,
        pruner: str | None = None,
        address: str | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> "Repeats | None":
        """Train the best trials again, with other seeds and folds of the same patients.

        Nothing is printed, and the test part stays sealed. What is finished is kept in the run folder.

        Args:
            repeats: Number of repeats; None takes what an earlier call asked for, then the search, then 3.
            finalists: Number of best trials; None takes that of an earlier call, then 3.
            space: The search's own space, `MODULE:FUNCTION`, said again for a run that was made elsewhere.
            sampler: Its own sampler, likewise.
            pruner: Its own pruner, likewise.
            address: A Ray cluster, as for `run_search`.
            callbacks: Callbacks for the events of the repeats.

        Returns:
            Value of each finalist in the search and in each repeat; None where the user ended it.

        Raises:
            OrchestrateError: If the run has no result or repeats of other finalists, or the machine fails.
        """
        from orchestrator.nesting.repeats import repeat_finalists
        from orchestrator.tuning.reopen import ResumeOptions

        return repeat_finalists(
            self._run,
            _unseen(address, callbacks),
            repeats=repeats,
            finalists=finalists,
            options=ResumeOptions(space=space, sampler=sampler, pruner=pruner),
        )

    def overtuning(self) -> "Overtuning":
        """Tell luck from gain: the best trial over time, and what choosing it is worth on other patients.

        Nothing runs, and no sealed patient is read.

        Returns:
            The curve, the scores beside it, and a `sentence` that says whether searching longer still pays.

        Raises:
            RunError: If no trial was completed.
            ScoreError: If there are too few patients of a class.
        """
        from orchestrator.api.overtuning import overtuning_of_run

        return overtuning_of_run(self._run)

    def nest(
        self,
        outer: int | None = None,
        *,
        space: str | None = None,
        sampler: str | None = None,
        pruner: str | None = None,
        address: str | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> "OuterResult | None":
        """Run the whole search once without each outer fold, and score what it ships on these folds.

        Nothing is printed, and the test part stays sealed. What is finished is kept in the run folder: an
        interrupted call goes on where it was, and one whose result is there returns it.

        Args:
            outer: Number of outer folds; None takes those that are there, or asked for by the search, or 5.
            space: The search's own space, `MODULE:FUNCTION`, said again for a run that was made elsewhere.
            sampler: Its own sampler, likewise.
            pruner: Its own pruner, likewise.
            address: A Ray cluster, as for `run_search`.
            callbacks: Callbacks for the events of the inner searches.

        Returns:
            Scores of what the search ships, of its best trial, its first point and the baseline, with what
            the search claims for them; None where the user ended it.

        Raises:
            OrchestrateError: If patients, classes or protocol allow no outer folds, or the machine fails.
        """
        from orchestrator.nesting.nested_search import run_nested_search
        from orchestrator.tuning.reopen import ResumeOptions

        return run_nested_search(
            self._run,
            _unseen(address, callbacks),
            outer=outer,
            by=f"open_run({str(self._run.path)!r}).nest()",
            options=ResumeOptions(space=space, sampler=sampler, pruner=pruner),
        ).result


def _unseen(address: str | None, callbacks: Sequence[Callback]) -> "Surroundings":
    """Surroundings in which nothing is shown."""
    from orchestrator.tuning.surroundings import Surroundings

    return Surroundings(
        notify=lambda _: None,
        open_view=lambda _: SearchView(),
        address=address,
        callbacks=tuple(callbacks),
        has_curves=False,
    )
