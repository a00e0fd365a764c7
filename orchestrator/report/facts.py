"""All that a report says about a run, read from its folder; nothing is computed again that a file holds."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from results.ensembles.against_baseline import baseline_verdict
from results.ensembles.ensemble import BEST, BUILT, Ensemble, read_ensemble
from results.ensembles.judged import JudgedModel
from results.ensembles.nested import BASELINE, BEST_SINGLE
from results.ensembles.out_of_fold import nested_of
from results.errors import EnsembleError, RunError, ScoreError
from results.novelty.neighbours import FeatureSpace
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.test_accesses import TestAccess, read_accesses
from results.scores.baseline import BaselineVerdict
from results.scores.decision_rule import CrossFitted, cross_fit, metrics_with_own_threshold
from results.scores.interval import Interval
from results.scores.leaderboard import Row, leaderboard
from results.scores.metric_interval import metric_interval
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.outer_result import read_outer
from results.scores.ranking import MOST_COMPARED, Objectives, objectives_of
from results.scores.repeats import read_repeats
from results.scores.selection import best_again
from results.scores.strata_records import StrataScores
from trainables.common.errors import DataError, OneClassError, SplitError
from trainables.common.text import trials_text
from trainables.config.baseline import BASELINE_TEXT
from trainables.config.unit_config import PLURALS
from trainables.data.columns import take_rows
from trainables.data.group_names import GroupUnit, group_unit
from trainables.data.patches import PatchSet
from trainables.data.split_record import TEST_PART, Split, read_split


@dataclass(frozen=True, slots=True)
class Headline:
    """The score that a search may claim.

    Attributes:
        model: The model that it is of, in words, such as `ensemble stack_logistic of trials 3 and 7`.
        how: How its predictions were made, as a sentence.
        is_honest: False where the best trial's own score had to be taken, which its selection raises.
        predictions: Predictions that nothing about them was fitted on, or those of the best trial.
        interval: Value of the metric that the search optimises, with its interval; None where it has none.
        operation: What the user asked of the decisions of the model.
    """

    model: str
    how: str
    is_honest: bool
    predictions: OutOfFold
    interval: Interval | None
    operation: Operation = NOTHING_ASKED

    @property
    def said_of_calls(self) -> str:
        """A sentence on what the calls of the model are for; empty where nothing was asked of them."""
        return f"Calls are those for {self.operation}." if self.operation.is_asked else ""


def unreadable_results(run: RunFolder) -> list[str]:
    """Return a sentence for each result of a run that is damaged, which a report then goes without."""
    names = [name for name in (BEST, *BUILT) if run.ensemble_file(name).is_file()]
    reads: list[Callable[[], object]] = [lambda: read_outer(run), lambda: read_repeats(run)]
    reads += [functools.partial(read_ensemble, run, name) for name in names]
    found = []
    for read in reads:
        try:
            read()
        except (RunError, EnsembleError) as error:
            found.append(str(error))
    return found


class RunFacts:
    """What a report is made of; each part is read when it is first asked for.

    Args:
        run: The run folder.
        with_pictures: Small copies of images may be shown.

    Raises:
        RunError: If it is no run folder.
    """

    def __init__(self, run: RunFolder, *, with_pictures: bool = True) -> None:
        self.run = run
        self.search: SearchRecord = run.search()
        self.records: list[TrialRecord] = run.records()
        self.objectives: Objectives = objectives_of(self.search)
        self.with_pictures = with_pictures and self.search.request.pictures

    @cached_property
    def rows(self) -> list[Row]:
        """The leaderboard."""
        return leaderboard(self.run)

    @property
    def complete(self) -> list[TrialRecord]:
        """Records of the trials that ran to their end, best first."""
        return self.objectives.rank([one for one in self.records if one.state == "complete"])

    @property
    def compared(self) -> list[TrialRecord]:
        """The best of the complete trials, all of which are compared unless there are very many."""
        return self.complete[:MOST_COMPARED]

    @cached_property
    def readable(self) -> list[tuple[TrialRecord, OutOfFold]]:
        """The complete trials that are compared and whose predictions can be read, best first."""
        return list(self.run.readable_predictions(self.compared))

    @cached_property
    def ensembles(self) -> list[Ensemble]:
        """The ensembles that were built, the best single trial first; none where they are damaged."""
        names = [name for name in BUILT if self.run.ensemble_file(name).is_file()]
        try:
            return [read_ensemble(self.run, name) for name in names]
        except EnsembleError:
            return []

    @cached_property
    def chosen(self) -> Ensemble | None:
        """The ensemble that is shipped unless another one is named; None where none was built."""
        if not self.run.ensemble_file(BEST).is_file():
            return None
        try:
            return read_ensemble(self.run, BEST)
        except EnsembleError:
            return None

    @cached_property
    def headline(self) -> Headline | None:
        """The score that the search may claim; None without a complete trial."""
        if not self.readable:
            return None
        if self.chosen is not None:
            try:
                return self._of_ensemble(self.chosen)
            except (EnsembleError, ScoreError, DataError, KeyError):
                pass  # trials of it are gone or damaged; the best trial is told instead
        return self._of_best_trial()

    @cached_property
    def fitted(self) -> CrossFitted | None:
        """Predictions of the headline's model, calibrated and called as it calls, without their own fold.

        None without a complete trial.
        """
        found = self.headline
        if found is None:
            return None
        return cross_fit(
            found.predictions,
            searched=self.objectives.metrics,
            metrics=metrics_with_own_threshold(self.objectives.metrics),
            operation=found.operation,
        )

    @cached_property
    def against_baseline(self) -> BaselineVerdict | None:
        """What is shipped against a head on colour and intensity only; None where there is none."""
        return baseline_verdict(self.run, self.chosen)

    @cached_property
    def members(self) -> list[tuple[int, OutOfFold]]:
        """Number and predictions of the members of the model that is told about, best first."""
        numbers = self.chosen.trials if self.chosen is not None else ()
        records = [record for record in self.complete if record.number in numbers]
        known = {record.number: own for record, own in self.run.readable_predictions(records)}
        found = [(number, known[number]) for number in numbers if number in known]
        return found or [(record.number, own) for record, own in self.readable[:1]]

    @property
    def member_records(self) -> list[TrialRecord]:
        """Records of the members."""
        known = {record.number: record for record in self.complete}
        return [known[number] for number, _ in self.members]

    @cached_property
    def space(self) -> FeatureSpace | None:
        """The images as a member of the model sees them; None where the store holds no such features."""
        if self.search.request.unit != "image" or self.patch_set is None or self.patch_set.is_table:
            return None
        from results.predictors.stored_space import stored_space  # it imports torch

        return stored_space(self.run, self.member_records)

    @cached_property
    def group_unit(self) -> GroupUnit:
        """What intervals are over: patients, or images and groups of them where patients are not known."""
        found = self.headline
        if found is not None:
            return group_unit(found.predictions.groups)
        return "patient" if self.split is None else self.split.unit

    @property
    def units(self) -> str:
        """What is predicted, in the plural, such as `images`."""
        return PLURALS[self.search.request.unit]

    @property
    def sealed(self) -> dict[str, int]:
        """Class -> number of images in the sealed test part; empty without one, or without the split."""
        counts = {} if self.split is None else self.split.counts.get(TEST_PART, {})
        return {name: counts[name] for name in self.search.classes if name in counts}

    @property
    def member_file(self) -> str:
        """The records of the members, as files below the run folder."""
        return ", ".join(f"trials/{number:04d}/record.json" for number, _ in self.members)

    def setting(self, name: str) -> str:
        """Return a setting of the members, such as `optimizer.name`; empty where none has it."""
        found = [record.config[name] for record in self.member_records if record.config.get(name) is not None]
        return ", ".join(dict.fromkeys(map(str, found)))

    @cached_property
    def accesses(self) -> list[TestAccess]:
        """The times that this run opened the sealed test part, oldest first."""
        return read_accesses(self.run)

    @cached_property
    def split(self) -> Split | None:
        """The manifest of the split; None where it cannot be read."""
        try:
            return read_split(self.run.split_file)
        except (SplitError, OSError):
            return None

    @cached_property
    def patch_set(self) -> PatchSet | None:
        """The data; None where the store is not within reach."""
        try:
            return self.run.patch_set()
        except (DataError, OSError):
            return None

    @cached_property
    def strata(self) -> StrataScores | None:
        """Scores of the headline's model for every value of every column; None without model or data."""
        found, fitted, patch_set = self.headline, self.fitted, self.patch_set
        if found is None or fitted is None or patch_set is None:
            return None
        judged = JudgedModel(
            name=found.model,
            predictions=found.predictions,
            fitted=fitted,
            classes=self.search.classes,
            columns=take_rows(patch_set.columns, found.predictions.rows) or {},
            split=self.search.split_name,
            seed=self.search.request.seed,
            operation=found.operation,
        )
        return judged.strata()

    def _of_ensemble(self, chosen: Ensemble) -> Headline:
        kinds = {BEST_SINGLE: "the best trial", BASELINE: f"the baseline on {BASELINE_TEXT}"}
        kind = kinds.get(chosen.method, f"ensemble {chosen.method}")
        has_threshold = len(self.search.classes) == 2
        fitted = "Members, weights, calibration and threshold" if has_threshold else "Members and weights"
        return Headline(
            model=f"{kind} ({trials_text(chosen.trials)})",
            how=f"{fitted} were chosen anew without each fold before that fold was scored, out of "
            f"{chosen.said_of_pool}.",
            is_honest=True,
            predictions=nested_of(self.run, chosen),
            interval=chosen.nested.interval,
            operation=chosen.operation,
        )

    def _of_best_trial(self) -> Headline:
        best, own = self.readable[0]
        model, is_honest, found = f"the best trial ({best.number})", True, own
        try:
            found = best_again(self.readable, self.objectives, seed=self.search.request.seed)
            how = "The best trial was chosen anew without each fold before that fold was scored."
        except (ScoreError, OneClassError):
            is_honest = False
            how = (
                "It was selected by this score, which is therefore too high; too few "
                f"{group_unit(own.groups)}s are left to correct it."
            )
        return Headline(model, how, is_honest, found, self._interval(found))

    def _interval(self, predictions: OutOfFold) -> Interval | None:
        main = self.objectives.metrics[0]
        try:
            return metric_interval(predictions, main, self.objectives.metrics, seed=self.search.request.seed)
        except (OneClassError, ScoreError):
            return None
