"""The part of a `SearchResult` that ranks its trials and builds ensembles; torch, Ray and Optuna stay out."""

import functools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.api.run_view import RunView, silent
from results.ensembles.against_baseline import baseline_verdict
from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import BEST, BUILT, Ensemble, earlier_build, read_ensemble
from results.ensembles.later_trials import has_later_trials, said_of_later_trials
from results.ensembles.limits import DEFAULT_MEMBERS
from results.errors import EnsembleError, OutdatedEnsembleError
from results.scores.baseline import BaselineVerdict
from results.scores.leaderboard import Row, leaderboard
from results.scores.leaderboard_table import rows_as_csv
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.ranking import objectives_of
from trainables.common.files import write_atomically
from trainables.common.notify import Notify

if TYPE_CHECKING:
    from results.run.prediction_costs import PredictionTime


class RankedTrials(RunView):
    """The trials of a search ranked, and ensembles of the best; arguments are those of `RunView`.

    Attributes:
        is_told_of_later_trials: Whoever opened the result has shown `said_of_later_trials`, so that nothing
            warns of it.
    """

    is_told_of_later_trials = False

    def ranking(self) -> list[Row]:
        """Return the rows of the leaderboard as records."""
        return leaderboard(self._run)

    def keep_ranking(self, *, say: Notify = silent) -> list[Row]:
        """Return the rows of the leaderboard, and write them to `leaderboard.csv` of the run folder.

        Args:
            say: Function called with a sentence where they cannot be written, as on a full disk.
        """
        rows = self.ranking()
        try:
            write_atomically(self._run.leaderboard_file, rows_as_csv(rows))
        except OSError as error:  # a run folder that can only be read is ranked all the same
            say(f"{self._run.leaderboard_file} could not be written: {error.strerror}")
        return rows

    def build_ensembles(  # noqa: PLR0913 - the options of `orchestrate ensemble`
        self,
        *,
        trials: Sequence[int] | None = None,
        max_members: int = DEFAULT_MEMBERS,
        methods: Sequence[str] | None = None,
        seed: int | None = None,
        max_ms: float | None = None,
        measure: bool = False,
        operation: Operation = NOTHING_ASKED,
        say: Notify = silent,
    ) -> list[Ensemble]:
        """Build ensembles of the best trials of each kind, and keep them in the run folder.

        Args:
            trials: Numbers of the only trials that may be members; None allows the better half, 40 at most.
            max_members: Largest number of members.
            methods: Names of methods; None takes all that combine as many classes.
            seed: Seed of methods and comparisons; None takes that of the search.
            max_ms: Longest time of an image on one core of this machine, in milliseconds; None for any.
            measure: Measure what the ensembles cost on their exported graphs, which takes seconds for each
                structure that this machine has not measured yet; `max_ms` does so, too.
            operation: What is asked of the decisions of all ensembles.
            say: Function called with a sentence before what takes time.

        Raises:
            OrchestrateError: If no trial can be a member, or there is no such method.
        """
        self._forget_models()
        measured = functools.partial(self.measure_costs, say=say)
        return build_ensembles(
            self._run,
            trials=trials,
            max_members=max_members,
            methods=methods,
            seed=self.request.seed if seed is None else seed,
            measure=measured if measure or max_ms is not None else None,
            max_ms=max_ms,
            operation=operation,
        )

    def build_ensembles_as_before(self, *, say: Notify = silent) -> list[Ensemble]:
        """Build ensembles, asked for what an earlier build was asked for: decisions, time and members.

        Without an earlier build, and after one of trials that were named, nothing is asked.

        Args:
            say: Function called with a sentence on what is asked, and before what takes time.

        Raises:
            OrchestrateError: If no trial can be a member.
        """
        earlier = earlier_build(self._run)
        if earlier is None or earlier.is_named:
            return self.build_ensembles(say=say)
        if earlier.build_options:
            say(f"ensembles are built as before, with {' '.join(earlier.build_options)}")
        return self.build_ensembles(
            max_members=earlier.max_members or DEFAULT_MEMBERS,
            max_ms=earlier.max_ms,
            operation=earlier.operation,
            say=say,
        )

    def against_baseline(self) -> BaselineVerdict | None:
        """Compare what the search ships with a closed-form head on colour and intensity only.

        That is the chosen ensemble, by its nested predictions, if it knows all complete trials; else the best
        trial, chosen anew without each fold.

        Returns:
            None where there is no such head, as for a table, or nothing to compare it with.
        """
        try:
            chosen = read_ensemble(self._run) if self._built() else None
        except EnsembleError:  # a damaged file
            chosen = None
        return baseline_verdict(self._run, chosen)

    def measure_costs(
        self, models: Sequence[Sequence[int]], *, say: Notify = silent
    ) -> "dict[tuple[int, ...], PredictionTime]":
        """Measure what models cost on the graphs that an export would write, and keep it in the run folder.

        Args:
            models: Numbers of the members of each model.
            say: Function called with a sentence before what takes time.

        Returns:
            Ascending numbers of the members -> time of an image and size of the file; models that cannot be
            measured, such as those on a table, are left out.
        """
        if self.record.task_definition.takes_table:
            return {}
        from results.export.graph_cost import measure_models

        return measure_models(self._run, models, say=say)

    def measure_best(self, top: int, *, say: Notify = silent) -> None:
        """Measure what the best trials cost, each by itself, and keep it in the run folder.

        Args:
            top: Number of trials, the best first; those that kept no weights are left out.
            say: Function called with a sentence before what takes time.
        """
        best = objectives_of(self.record).rank(self.complete)[:top]
        self.measure_costs([(record.number,) for record in best if record.can_predict], say=say)

    def _forget_models(self) -> None:
        """Forget models that predicted already, since others come into their place."""

    def _built(self) -> list[Ensemble]:
        """The ensembles that are in the run folder; none if they do not know trials as they are now."""
        names = [name for name in BUILT if self._run.ensemble_file(name).is_file()]
        try:
            found = [read_ensemble(self._run, name) for name in names]
        except OutdatedEnsembleError:
            return []
        is_chosen = any(ensemble.is_chosen for ensemble in found)
        return found if is_chosen and not has_later_trials(self._run, found[0]) else []

    def said_of_later_trials(self, ensemble: str = BEST) -> str:
        """Return a sentence on complete trials that an ensemble does not know; empty where there are none.

        Args:
            ensemble: Name of the ensemble.
        """
        return said_of_later_trials(self._run, ensemble)

    def _build_if_none(self, trial: int | None, ensemble: str = BEST) -> None:
        """Build ensembles where none was; one that is there stays, and what it does not know is warned of.

        Others may have been built for an operating point, exported, refitted, or scored on the sealed part.
        """
        if trial is not None:
            return
        if not any(self._run.ensemble_file(name).is_file() for name in (BEST, ensemble)):
            self.build_ensembles()
        elif not self.is_told_of_later_trials and (said := self.said_of_later_trials(ensemble)):
            warnings.warn(said, stacklevel=3)
