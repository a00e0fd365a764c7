"""What a search ships against its baseline, a closed-form head on colour and intensity alone."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from results.run.baseline_record import read_baseline
from results.run.records import OutOfFold, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.interval import Interval
from results.scores.joint_comparison import differences_to
from results.scores.metrics import metric_named
from results.scores.ranking import Objective, Objectives
from trainables.config.baseline import BASELINE_TEXT, REFERENCE_TEXT, is_baseline
from trainables.data.group_names import GroupUnit


@dataclass(frozen=True, slots=True)
class Baseline:
    """The baseline of a run.

    Attributes:
        trial: Number of the best trial on colour and intensity only; None for the reference of a search that
            has no such trial.
        predictions: Its out-of-fold predictions.
    """

    trial: int | None
    predictions: OutOfFold

    @property
    def name(self) -> str:
        """Words such as `colour and intensity only (trial 0)`."""
        which = REFERENCE_TEXT if self.trial is None else f"trial {self.trial}"
        return f"{BASELINE_TEXT} ({which})"


@dataclass(frozen=True, slots=True)
class BaselineVerdict:
    """Comparison of the model that a search ships with its baseline.

    Attributes:
        model: The model in words, such as `trial 7` or `ensemble average`.
        baseline: The baseline in words.
        difference: Metric of the model minus that of the baseline with its 95 % interval, paired by patient;
            None where the model is a baseline itself.
        metric: Name of the metric that the search optimises.
        is_chosen_anew: The predictions of each fold are those of what was chosen without it; False where too
            few patients are left for that, so that the model owes a part of the difference to luck.
        group_unit: What the difference is paired by.
    """

    model: str
    baseline: str
    difference: Interval | None
    metric: str = "auc"
    is_chosen_anew: bool = True
    group_unit: GroupUnit = "patient"

    @property
    def is_better(self) -> bool:
        """True if the whole interval of the difference is on the better side of 0."""
        if self.difference is None:
            return False
        is_higher = Objective(self.metric).higher_is_better
        return self.difference.low > 0.0 if is_higher else self.difference.high < 0.0

    def message(self) -> str:
        """Say in one sentence that the model is not better; empty where it is."""
        return "" if self.is_better else self.sentence()

    def sentence(self) -> str:
        """Say in one sentence how the model compares with the baseline."""
        if self.difference is None:
            return f"nothing did better than {self.baseline}"
        metric = metric_named(self.metric)
        apart = f"{metric.header} {self.difference.estimate:+.3f} [{self.difference.low:+.3f}, "
        apart += f"{self.difference.high:+.3f}], paired by {self.group_unit} and "
        apart += (
            "chosen anew without each fold"
            if self.is_chosen_anew
            else f"selected by this score, which is therefore too high: too few {self.group_unit}s are left "
            "to correct it"
        )
        if self.is_better:
            return f"{self.model} is better than {self.baseline}: {apart}"
        return f"{self.model} is not better than {self.baseline} by more than chance: {apart}"


def baseline_of(run: RunFolder, complete: Iterable[TrialRecord]) -> Baseline | None:
    """Return the best trial on colour and intensity only, or else the reference; None without both.

    Args:
        run: Folder of the search.
        complete: Its complete trials, best first; one whose predictions are damaged is passed over.

    Raises:
        RunError: If such a trial has no predictions at all.
    """
    trials = (record for record in complete if is_baseline(record.config))
    for record, predictions in run.readable_predictions(trials):
        return Baseline(record.number, predictions)
    reference = read_baseline(run)
    if reference is None or reference[1] is None:
        return None
    return Baseline(None, reference[1])


def difference_from(baseline: OutOfFold, model: OutOfFold, *, objectives: Objectives, seed: int) -> Interval:
    """Return the metric of a model minus that of a baseline, paired by patient, with its 95 % interval.

    Args:
        baseline: Out-of-fold predictions of the baseline.
        model: Those of the model on the same images, in any order; nested ones may have folds of their own,
            in which both are scored then.
        objectives: What the search optimises; its first metric is compared.
        seed: Random seed of the interval.

    Raises:
        DataError: If the two do not hold the same images.
    """
    base, own = (one.where(np.argsort(one.rows, kind="stable")) for one in (baseline, model))
    if np.array_equal(base.rows, own.rows):
        base = base.in_parts(own.folds)
    (difference,) = differences_to(base, [own], seed=seed, objectives=objectives)
    return difference
