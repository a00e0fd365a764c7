"""Threshold sweep: decisions at each threshold on calibrated out-of-fold predictions, not the test part."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from rich.table import Table

from results.ensembles.ensemble import BEST, read_ensemble
from results.ensembles.out_of_fold import out_of_fold_of
from results.errors import RunError
from results.run.run_folder import RunFolder
from results.run.split_labels import GROUPED, SplitName, caption_of, scored
from results.scores.calibration import Platt
from results.scores.decision_rule import BALANCED, cross_fit, fit_decision_rule, said_of_aim
from results.scores.decisions import check_predictions, confusion, decisions
from results.scores.metrics import decision_scores
from results.scores.operating_point import OperatingPoint, odds_shift
from results.tables import csv_text, result_table
from trainables.common.types import FloatArray, IntArray

STEPS: Final = tuple(round(0.05 * step, 2) for step in range(1, 20))
_SCORES: Final = ("accuracy", "recall", "precision", "specificity", "f1", "f2")
_HEADERS: Final = ("Acc", "Recall", "Prec", "Spec", "F1", "F2")
_COUNTS: Final = ("found", "missed", "alarms", "passed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Scores and counts of decisions at one threshold.

    Attributes:
        threshold: Smallest calibrated probability that is called positive, at `prevalence`.
        is_chosen: True for the threshold of the model.
        accuracy: Accuracy in [0, 1], like the other scores; a score without any case to count is 0.
        found: Number of positives that are called positive; `missed` counts the others.
        alarms: Number of negatives that are called positive; `passed` counts the others.
        split: Name of the kind of split; with a `naive split` patients lie in several folds, so that scores
            are too high.
        prevalence: Share of positives that the threshold is for, in (0, 1); None for that of the data. Scores
            and counts are those of the images of the data, whatever it is.
    """

    threshold: float
    is_chosen: bool
    accuracy: float
    recall: float
    precision: float
    specificity: float
    f1: float
    f2: float
    found: int
    missed: int
    alarms: int
    passed: int
    split: SplitName = GROUPED
    prevalence: float | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """The threshold sweep of one model.

    Attributes:
        model: Name of the model, such as `ensemble average` or `trial 7`.
        positive: Name of the positive class.
        decisions: Decisions by ascending threshold.
        best_for: Name of the metric that the model's threshold was chosen for.
        at: Operating point that it was chosen for instead; None for none.
        prevalence: Share of positives that all thresholds are for, in (0, 1); None for that of the data.
    """

    model: str
    positive: str
    decisions: tuple[Decision, ...]
    best_for: str = BALANCED
    at: OperatingPoint | None = None
    prevalence: float | None = None


def sweep(
    labels: IntArray,
    probabilities: FloatArray,
    *,
    chosen: float,
    split: SplitName = GROUPED,
    prevalence: float | None = None,
) -> list[Decision]:
    """Decide at 0.05, 0.10, ..., 0.95 and at the chosen threshold.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Calibrated probabilities of images that the calibration was not fitted on, at the
            prevalence of the data, shape (images, 2).
        chosen: Threshold of the model, at `prevalence`; if it is one of the steps it is marked there.
        split: Name of the kind of split, which the scores carry.
        prevalence: Share of positives where the model will be used, in (0, 1): the probabilities are moved
            there before they are compared with thresholds. None for that of the data.

    Returns:
        Decisions by ascending threshold.

    Raises:
        DataError: If the shapes do not fit, or a probability is not a number in [0, 1].

    >>> import numpy as np
    >>> labels, positive = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.3, 0.8])
    >>> found = sweep(labels, np.stack([1 - positive, positive], axis=1), chosen=0.3)
    >>> [(one.threshold, one.recall, one.precision) for one in found if one.is_chosen]
    [(0.3, 1.0, 0.6666666666666666)]
    """
    check_predictions(labels, probabilities)
    if prevalence is not None:
        shift = odds_shift(float(labels.mean()), prevalence)
        probabilities = Platt().moved(shift).apply(probabilities)
    near = [step for step in STEPS if abs(step - chosen) < 5e-7]
    thresholds = STEPS if near else sorted([*STEPS, chosen])
    return [
        replace(
            _decision(
                labels, probabilities, threshold, is_chosen=threshold in (near or [chosen]), split=split
            ),
            prevalence=prevalence,
        )
        for threshold in thresholds
    ]


def sweep_of(run: RunFolder, *, ensemble: str = BEST, trial: int | None = None) -> Sweep:
    """Sweep over the out-of-fold predictions of a model of a run.

    Each fold of a trial's predictions is calibrated on the other folds. An ensemble's are predicted again
    without each fold, as in its nested evaluation, and calibrated in the same way. Where it was built for
    another prevalence than that of the data, thresholds are probabilities at that one, as its own is.

    Args:
        run: Folder of the search.
        ensemble: Name of a method, `best_single` or `best`; not used if a trial is given.
        trial: Number of a single trial, or None; it needs no weights.

    Raises:
        EnsembleError: If the ensemble was not built.
        UnknownNameError: If no ensemble has such a name.
        RunError: If the trial is not complete, or the task has more than two classes.
    """
    search = run.search()
    if len(search.classes) != 2:
        raise RunError(
            f"thresholds belong to two classes; {search.task} has {len(search.classes)}, of which the most "
            "probable is called. Look at: orchestrate leaderboard"
        )
    predictions, name = out_of_fold_of(run, ensemble=ensemble, trial=trial, is_of_choice=False)
    rule = (
        read_ensemble(run, ensemble).rule
        if trial is None
        else fit_decision_rule(predictions, searched=search.metrics)
    )
    found = sweep(
        predictions.labels,
        cross_fit(predictions, metrics=()).probabilities,
        chosen=rule.threshold,
        split=search.split_name,
        prevalence=rule.operation.prevalence,
    )
    return Sweep(
        name,
        search.classes[1],
        tuple(found),
        rule.best_for,
        rule.operation.at,
        rule.operation.prevalence,
    )


def sweep_as_json(swept: Sweep) -> list[dict[str, Any]]:
    """Return one plain dictionary for each threshold."""
    return [{"model": swept.model, **asdict(decision)} for decision in swept.decisions]


def sweep_as_csv(swept: Sweep) -> str:
    """Return one row for each threshold, as CSV with a header."""
    return csv_text(sweep_as_json(swept), ["model", *(field.name for field in fields(Decision))])


def sweep_table(swept: Sweep) -> Table:
    """Return a table that fits 80 columns; the threshold of the model carries a star."""
    split = swept.decisions[0].split
    table = result_table(
        title=f"{scored(swept.model, split)}, out of fold: {swept.positive} from this threshold on",
        title_justify="left",
    )
    for header in ("threshold", *_HEADERS, *_COUNTS):
        table.add_column(header, justify="right", no_wrap=True)
    for decision in swept.decisions:
        table.add_row(*_cells(decision), style="bold" if decision.is_chosen else None)
    table.caption = caption_of(
        f"* the model's own threshold: {_said_of(swept)}. {_said_of_prevalence(swept)}Found and missed are "
        "positives, alarms and passed negatives. No probability was calibrated on its own fold."
        f"{_said_of_luck(swept)}",
        split,
    )
    return table


def _said_of(swept: Sweep) -> str:
    if swept.at is not None or swept.best_for != BALANCED:
        best = "" if swept.at is not None else "best "
        return f"the {best}one for {said_of_aim(swept.best_for, swept.at)}"
    return (
        "of those within one standard error of the best balanced accuracy, the nearest to the share of "
        "positives"
    )


def _said_of_luck(swept: Sweep) -> str:
    if swept.at is not None and swept.at.aim == "cost":  # the costs alone choose it
        return ""
    return (
        " The threshold * was chosen on these images, so its row is a little too good: in the model's scores "
        "each fold is decided at a threshold of the others."
    )


def _said_of_prevalence(swept: Sweep) -> str:
    if swept.prevalence is None:
        return ""
    return (
        f"All thresholds are probabilities at prevalence {swept.prevalence:g}; scores and counts are those "
        "of the images here. "
    )


def _decision(
    labels: IntArray, probabilities: FloatArray, threshold: float, *, is_chosen: bool, split: SplitName
) -> Decision:
    decided = decisions(probabilities, threshold)
    scores = decision_scores(labels, decided, 2)
    (passed, alarms), (missed, found) = confusion(labels, decided, 2).tolist()
    return Decision(
        threshold=threshold,
        is_chosen=is_chosen,
        **{name: scores[name] for name in _SCORES},
        found=found,
        missed=missed,
        alarms=alarms,
        passed=passed,
        split=split,
    )


def _cells(decision: Decision) -> Sequence[str]:
    threshold = f"* {decision.threshold:.3f}" if decision.is_chosen else f"{decision.threshold:.2f} "
    return [
        threshold,
        *(f"{getattr(decision, name):.2f}" for name in _SCORES),
        *(str(getattr(decision, name)) for name in _COUNTS),
    ]
