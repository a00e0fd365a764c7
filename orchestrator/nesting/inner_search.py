"""The searches inside a nested one: each is a run of its own in the run folder of the outer search.

They are the outer search again, setting by setting: its space, points to try first, sampler, pruner, seed
and budget. What the outer search has found out about data and machine is taken over, not measured again, and
so is its store, in which the features of all images lie already.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.background import Connector
from orchestrator.nesting.within import record_within
from orchestrator.preflight.gpus_and_slots import slots_for
from orchestrator.tuning.reopen import DEFAULT_OPTIONS, ResumeOptions, reopen_search
from orchestrator.tuning.session import Begin
from orchestrator.tuning.setup import Prepared, write_run
from results.errors import RunError
from results.run.records import OuterPlace, SearchRecord
from results.run.run_folder import RunFolder
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import Space
from trainables.common.notify import Notify
from trainables.data.split_record import Split, read_split


@dataclass(frozen=True, slots=True)
class InnerSearch:
    """A search that does not see an outer fold.

    Attributes:
        outer: Run folder of the outer search.
        record: Request and facts of the outer search.
        fold: Outer fold that it does not see, 1-based.
        folds: Number of outer folds.
        trials: Number of trials that it is to run.
        split: Its split; the test part is what it may not see.
        points: Points to try first.
        space: Search space.
        options: What the user has said of code that is run, for one that goes on.
    """

    outer: RunFolder
    record: SearchRecord
    fold: int
    folds: int
    trials: int
    split: Split
    points: Sequence[InitialPoint]
    space: Space
    options: ResumeOptions = DEFAULT_OPTIONS

    @property
    def run(self) -> RunFolder:
        """Its run folder."""
        return self.outer.outer_run(self.fold)

    def check(self) -> None:
        """Make sure that what lies in its folder belongs to this nested search.

        Raises:
            RunError: If it has other outer folds.
        """
        if not self.run.path.exists():
            return
        place = self.run.search().outer
        folder = self.run.path.parent
        if place is None or place.folds != self.folds:
            found = "another search" if place is None else f"a nested search of {place.folds} folds"
            raise RunError(
                f"{self.run.path} holds {found}, and {self.folds} outer folds are asked for; go on with "
                f"--outer {place.folds if place else self.folds}, or move {folder} away"
            )
        if read_split(self.run.split_file).fold_of_group != self.split.fold_of_group:
            raise RunError(
                f"{self.run.path} has other outer folds than the search would be cut into now, as by another "
                f"version: what is there and what is missing do not fit together. Move {folder} away"
            )

    def begin(self, notify: Notify) -> Begin:
        """Return how it begins: anew, or where it was interrupted."""
        if not self.run.path.exists():
            return Begin(self._prepare)
        known = self.run.search()
        trials = max(self.trials, known.request.most_trials)
        changed = known.with_options(trials=trials, keep_weights=max(trials, known.request.keep_weights))

        def go_on(connect: Connector) -> Prepared:
            return reopen_search(self.run, connect, notify, self.options, record=changed)

        return Begin(go_on, self.run)

    def _prepare(self, connect: Connector) -> Prepared:
        record = self.search_record()
        study = write_run(self.run, record, self.split, self.points, self.space)
        for known in self.outer.records():  # what heads take is the same on fewer patients, or less
            study.allowance.learn(known)
        return Prepared(self.run, record, study, slots_for(record.request, record.gpus_per_trial, connect()))

    def search_record(self) -> SearchRecord:
        """Return request and facts of the inner search."""
        outer = self.record
        return record_within(
            outer,
            f"outer/{self.fold}",
            request={
                "trials": self.trials,
                # The first point predicts the outer fold however low it ranks.
                "keep_weights": max(outer.request.keep_weights, self.trials),
            },
            folds=self.split.folds,
            split_digest=self.split.digest,
            outer=OuterPlace(run=str(self.outer.path.resolve()), fold=self.fold, folds=self.folds),
        )
