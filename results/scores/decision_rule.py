"""The decision rule of a model: calibration and thresholds, fitted on out-of-fold predictions.

One function fits it, for trials and ensembles alike; scored is what it gives on parts that it was not fitted
on. What a search optimises decides where the model calls an image positive: at the threshold that is best for
the first of its metrics that has one, else at one of good balanced accuracy.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from pydantic import Field, FiniteFloat

from results.errors import ScoreError
from results.run.records import OutOfFold
from results.scores.calibration import Platt, fit_platt, log_odds, sigmoid
from results.scores.cross_fitting import crossfit_parts
from results.scores.decisions import confusion, decisions, decisions_by_threshold
from results.scores.metric import Metric
from results.scores.metrics import METRICS, balanced_accuracy, metric_named, shown_metric
from results.scores.operating_point import NOTHING_ASKED, OperatingPoint, Operation, odds_shift, threshold_at
from results.scores.triage import UNSURE, TriageRule, fit_triage
from trainables.common.errors import UnknownNameError
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray

OWN_THRESHOLD: Final = ("f1", "f2")  # metrics that are always shown at the threshold that is best for them
BALANCED: Final = "balanced_accuracy"
OUT_OF_FOLD: Final = "out of fold"  # where thresholds are chosen, unless on local data after an export
MOST_PROBABLE: Final = "probabilities are not calibrated, and the most probable class is called"
OUT_OF_FOLD_DECISIONS: Final = "out of fold each fold is decided at thresholds of the others"


class DecisionRule(FrozenModel):
    """Calibration and thresholds of a model.

    Attributes:
        calibration: Calibration of a single fold model's positive probability; None beyond two classes.
        mean_calibration: Calibration of the mean of the fold models, which is the model that predicts.
        threshold: Smallest calibrated probability that is called positive; 0.5 beyond two classes.
        thresholds: Metric -> the threshold at which it is shown, for `OWN_THRESHOLD` and the metrics that the
            search optimises and that have one; empty beyond two classes.
        best_for: Name of the metric that `threshold` was chosen for.
        operation: What the user asked of the decisions; `at` goes before `best_for`, and the calibrations are
            those at its prevalence.
        triage: Rule of two thresholds; None where none was asked for.
    """

    calibration: Platt | None = None
    mean_calibration: Platt | None = None
    threshold: FiniteFloat = 0.5
    thresholds: dict[str, FiniteFloat] = Field(default_factory=dict)
    best_for: str = BALANCED
    operation: Operation = NOTHING_ASKED
    triage: TriageRule | None = None

    def threshold_of(self, metric: str) -> float:
        """Return the threshold at which a metric is shown."""
        return self.thresholds.get(metric, self.threshold)


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """Predictions that were calibrated and decided by rules fitted without their own part.

    Attributes:
        probabilities: Calibrated probabilities at the prevalence of the data, whatever prevalence decisions
            are for, shape (images, classes).
        decided: Metric -> decided classes, shape (images,), at the threshold of that metric.
        called: Decided classes at the threshold of the model, which an operating point may set, shape
            (images,).
        outcomes: Outcome of each image by the rule of two thresholds, shape (images,); None without one.
    """

    probabilities: FloatArray
    decided: MappingProxyType[str, IntArray]
    called: IntArray
    outcomes: IntArray | None = None


def said_of_decisions(classes: int, of_two: str) -> str:
    """Return what is said of calibration or thresholds, which models of two classes alone have.

    Args:
        classes: Number of classes.
        of_two: What is said of a model of two classes.

    >>> said_of_decisions(2, "probabilities are calibrated"), said_of_decisions(3, "")
    ('probabilities are calibrated', 'probabilities are not calibrated, and the most probable ...')
    """
    return of_two if classes == 2 else MOST_PROBABLE


def deciding_metric(searched: Sequence[str]) -> str:
    """Return the metric that the threshold of a model is chosen for.

    Args:
        searched: Names of the metrics that the search optimises, the main one first.

    >>> deciding_metric(("auc",)), deciding_metric(("auc", "f2"))
    ('balanced_accuracy', 'f2')
    """
    return next((name for name in searched if metric_named(name).has_own_threshold), BALANCED)


def said_of_aim(best_for: str, at: OperatingPoint | None) -> str:
    """Return what a threshold was chosen for, in words.

    Args:
        best_for: Name of the metric that it is best for; it need not be known here.
        at: Operating point that the user asked for, which goes before the metric.

    >>> said_of_aim("f2", None), said_of_aim("balanced_accuracy", None)
    ('F2', 'balanced accuracy')
    """
    if at is not None:
        return str(at)
    return "balanced accuracy" if best_for == BALANCED else shown_metric(best_for).header


def metrics_with_own_threshold(searched: Sequence[str]) -> list[Metric]:
    """Return the metrics that judge decisions at a threshold that is best for them, not at the model's.

    Args:
        searched: Names of the metrics that the search optimises, the main one first.
    """
    names = (*OWN_THRESHOLD, *(name for name in searched if metric_named(name).has_own_threshold))
    return [metric_named(name) for name in dict.fromkeys(names)]


def fit_decision_rule(
    predictions: OutOfFold,
    *,
    searched: Sequence[str] = (),
    operation: Operation = NOTHING_ASKED,
) -> DecisionRule:
    """Fit calibration and thresholds to out-of-fold predictions.

    The threshold of the model is that of the operating point that was asked for, else that of
    `deciding_metric`; for balanced accuracy see `balanced_threshold`.

    Args:
        predictions: Out-of-fold predictions of a trial, or nested ones of an ensemble.
        searched: Names of the metrics that the search optimises, the main one first.
        operation: What the user asks of the decisions.

    Raises:
        ScoreError: If no threshold keeps what is asked for, or there are more classes than two.
    """
    needed = (*(metric.name for metric in metrics_with_own_threshold(searched)), deciding_metric(searched))
    return _fitted_rule(predictions, predictions.training_parts, searched, needed, operation)


def cross_fit(
    predictions: OutOfFold,
    *,
    searched: Sequence[str] = (),
    metrics: Iterable[Metric] | None = None,
    operation: Operation = NOTHING_ASKED,
) -> CrossFitted:
    """Calibrate and decide each fold by the rule that was fitted on the other folds.

    A single fold is cut into parts that take the place of folds; if it has too few patients for that, it is
    not calibrated, and decided at 0.5.

    Args:
        predictions: Out-of-fold predictions of a trial, or nested ones of an ensemble.
        searched: Names of the metrics that the search optimises, the main one first.
        metrics: Metrics that decisions are wanted for; None takes all of `METRICS`. Those that do not judge
            decisions are left out.
        operation: What the user asks of the decisions; a fold whose other folds do not reach it takes the
            threshold that is nearest.

    Raises:
        ScoreError: If anything is asked of the decisions, and there are more classes than two.
    """
    asked = METRICS.values() if metrics is None else metrics
    wanted = [metric.name for metric in asked if metric.judges_decisions]
    probabilities = predictions.probabilities.astype(np.float64)
    decided = {name: np.zeros_like(predictions.labels) for name in wanted}
    has_own = {metric.name for metric in metrics_with_own_threshold(searched)}
    needed = (deciding_metric(searched), *(name for name in wanted if name in has_own))
    called = np.zeros_like(predictions.labels)
    outcomes = None if operation.triage is None else np.full_like(predictions.labels, UNSURE)
    parts = crossfit_parts(predictions)
    for part in np.unique(parts):
        own, others = parts == part, parts != part
        rule, shift = DecisionRule(), 0.0
        if others.any():
            rest = predictions.where(others)
            rule = _fitted_rule(rest, 1, searched, needed, operation, is_strict=False)
            shift = odds_shift(float(rest.labels.mean()), operation.prevalence)
        moved = probabilities[own]
        if rule.calibration is not None:
            moved = rule.calibration.apply(predictions.probabilities[own])
            probabilities[own] = rule.calibration.moved(-shift).apply(predictions.probabilities[own])
        for name, values in decided.items():
            values[own] = decisions(moved, rule.threshold_of(name))
        called[own] = decisions(moved, rule.threshold)
        if outcomes is not None and rule.triage is not None:
            outcomes[own] = rule.triage.outcomes(moved[:, 1])
    return CrossFitted(probabilities, MappingProxyType(decided), called, outcomes)


def best_threshold(labels: IntArray, probabilities: FloatArray, *, metric: str = BALANCED) -> float:
    """Return the threshold at which a metric is best; of several, the one nearest 0.5.

    Every distinct set of decisions is tried, through the midpoints between neighbouring scores.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Class probabilities in [0, 1], shape (images, classes).
        metric: Name of a metric that judges decisions.

    Returns:
        Threshold in [0, 1]; the next number above 1 if calling nothing positive is best and a score is 1.
        More than two classes are decided without a threshold; the answer is then 0.5.

    Raises:
        UnknownNameError: If `metric` is not one that judges decisions.

    >>> best_threshold(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]))
    0.25
    """
    found = metric_named(metric)
    if not found.judges_decisions:
        known = [name for name, entry in METRICS.items() if entry.judges_decisions]
        raise UnknownNameError("threshold metric", metric, known)
    if probabilities.shape[1] != 2:
        return 0.5
    return _best_of(found, *decisions_by_threshold(labels, probabilities))


def _fitted_rule(
    predictions: OutOfFold,
    models: int,
    searched: Sequence[str],
    needed: Collection[str],
    operation: Operation = NOTHING_ASKED,
    *,
    is_strict: bool = True,
) -> DecisionRule:
    """The rule with the thresholds that are needed, that of `deciding_metric` being the model's."""
    deciding = deciding_metric(searched)
    if predictions.probabilities.shape[1] != 2:
        if operation.is_asked:
            raise ScoreError(
                f"{operation} needs two classes, found {predictions.probabilities.shape[1]}; the most "
                "probable of several classes is called"
            )
        return DecisionRule(best_for=deciding)
    labels = predictions.labels
    shift = odds_shift(float(labels.mean()), operation.prevalence)
    fitted = fit_platt(labels, predictions.probabilities)
    centre = float(log_odds(predictions.probabilities).mean())
    calibration = fitted.moved(shift)
    calibrated = calibration.apply(predictions.probabilities)
    swept = decisions_by_threshold(labels, calibrated) if needed else None
    found = {
        name: _moved(balanced_threshold(labels, fitted.apply(predictions.probabilities)), shift)
        if name == BALANCED
        else _best_of(metric_named(name), *swept)
        for name in dict.fromkeys(needed)
        if swept is not None
    }
    threshold = found.get(deciding, 0.5)
    if operation.at is not None and 0 < labels.sum() < len(labels):
        threshold = threshold_at(
            labels, calibrated, operation.at, prevalence=operation.prevalence, is_strict=is_strict
        )
    mean = fitted.for_mean_of(models, centre).moved(shift)
    return DecisionRule(
        calibration=calibration,
        mean_calibration=mean,
        threshold=threshold,
        thresholds={name: value for name, value in found.items() if name in {*OWN_THRESHOLD, *searched}},
        best_for=deciding,
        operation=operation,
        triage=_triage(
            predictions, calibrated[:, 1], operation, threshold, (calibration, mean), is_strict=is_strict
        ),
    )


def _triage(
    predictions: OutOfFold,
    positive: FloatArray,
    operation: Operation,
    threshold: float,
    calibrations: tuple[Platt, Platt],
    *,
    is_strict: bool,
) -> TriageRule | None:
    """The rule of two thresholds that is asked for; None where none is, or a part has too few patients."""
    if operation.triage is None:
        return None
    try:
        return fit_triage(
            predictions.labels,
            positive,
            predictions.groups,
            operation.triage,
            threshold=threshold,
            calibrations=calibrations,
        )
    except ScoreError:
        if is_strict:
            raise
        return None


def _moved(threshold: float, shift: float) -> float:
    """A threshold whose logit is moved as all logits are."""
    if shift == 0 or not 0 < threshold < 1:
        return threshold
    return float(sigmoid(np.array(np.log(threshold / (1 - threshold)) + shift)))


def _best_of(metric: Metric, thresholds: FloatArray, matrices: IntArray) -> float:
    """Of ascending thresholds with their confusion matrices the best for a metric, nearest to 0.5."""
    values = np.asarray(metric(matrices)) * (1 if metric.higher_is_better else -1)
    best = thresholds[values >= values.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])


def balanced_threshold(labels: IntArray, probabilities: FloatArray) -> float:
    """Return a threshold of good balanced accuracy that a few patients cannot move.

    The best threshold of a calibrated score is the share of positives, whatever its distribution. The data
    may say otherwise where the calibration is off: of all thresholds whose balanced accuracy lies within one
    standard error of the best, the one nearest to the share of positives is taken. On new patients that is
    better than the best threshold itself, and it keeps its recall (`python -m benchmarks.calibration`).

    Args:
        labels: Labels, 0 or 1, shape (images,); both occur.
        probabilities: Calibrated probabilities, shape (images, 2).

    >>> balanced_threshold(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.2, 0.8]]))
    0.5
    """
    share = float(labels.mean())
    if not 0 < share < 1:
        return 0.5
    thresholds, matrices = decisions_by_threshold(labels, probabilities)
    values = balanced_accuracy(matrices)
    best = int(values.argmax())
    good_enough = values[best] - _standard_error(matrices[best])
    at_share = confusion(labels, decisions(probabilities, share), 2)
    if balanced_accuracy(at_share) >= good_enough:
        return share
    near = thresholds[values >= good_enough]
    distance = np.abs(np.log(near / (1 - near)) - np.log(share / (1 - share)))
    return float(near[distance.argmin()])


def _standard_error(matrix: IntArray) -> float:
    """Standard error of a balanced accuracy, with one case added on each side so that it is never 0."""
    cases = matrix.sum(axis=1)
    recalls = (np.diagonal(matrix) + 1) / (cases + 2)
    return float(np.sqrt((recalls * (1 - recalls) / cases).sum()) / 2)
