"""The decision rule of a model: calibration and thresholds, fitted on out-of-fold predictions.

One function fits it, for trials and ensembles alike; scored is what it gives on parts that it was not fitted
on.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from results.run.records import OutOfFold
from results.scores.calibration import Platt, fit_platt, log_odds
from results.scores.cross_fitting import crossfit_parts
from results.scores.metrics import (
    METRICS,
    balanced_accuracy,
    best_threshold,
    confusion,
    decisions,
    decisions_by_threshold,
)
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray

OWN_THRESHOLD: Final = ("f1", "f2")  # metrics that are shown at the threshold that is best for them


class DecisionRule(FrozenModel):
    """Calibration and thresholds of a model.

    Attributes:
        calibration: Calibration of a single fold model's positive probability; None beyond two classes.
        mean_calibration: Calibration of the mean of the fold models, which is the model that predicts.
        threshold: Smallest calibrated probability that is called positive; 0.5 beyond two classes.
        thresholds: Metric of `OWN_THRESHOLD` -> the threshold at which it is shown; empty beyond two classes.
    """

    calibration: Platt | None = None
    mean_calibration: Platt | None = None
    threshold: FiniteFloat = 0.5
    thresholds: dict[str, FiniteFloat] = Field(default_factory=dict)

    def threshold_of(self, metric: str) -> float:
        """Return the threshold at which a metric is shown."""
        return self.thresholds.get(metric, self.threshold)


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """Predictions that were calibrated and decided by rules fitted without their own part.

    Attributes:
        probabilities: Calibrated probabilities, shape (images, classes).
        decided: Metric -> decided classes, shape (images,), at the threshold of that metric.
    """

    probabilities: FloatArray
    decided: MappingProxyType[str, IntArray]


def fit_decision_rule(predictions: OutOfFold, *, models: int | None = None) -> DecisionRule:
    """Fit calibration and thresholds to out-of-fold predictions.

    The threshold is the one for balanced accuracy; see `balanced_threshold`.

    Args:
        predictions: Out-of-fold predictions of a trial, or nested ones of an ensemble.
        models: Number of fold models whose mean predicts new images; None takes the number of folds.
    """
    if predictions.probabilities.shape[1] != 2:
        return DecisionRule()
    labels = predictions.labels
    calibration = fit_platt(labels, predictions.probabilities)
    calibrated = calibration.apply(predictions.probabilities)
    number = len(np.unique(predictions.folds)) if models is None else models
    return DecisionRule(
        calibration=calibration,
        mean_calibration=calibration.for_mean_of(number, float(log_odds(predictions.probabilities).mean())),
        threshold=balanced_threshold(labels, calibrated),
        thresholds={name: best_threshold(labels, calibrated, metric=name) for name in OWN_THRESHOLD},
    )


def cross_fit(predictions: OutOfFold) -> CrossFitted:
    """Calibrate and decide each fold by the rule that was fitted on the other folds.

    A single fold is cut into parts that take the place of folds; if it has too few patients for that, it is
    not calibrated, and decided at 0.5.
    """
    probabilities = predictions.probabilities.astype(np.float64)
    decided = {name: np.zeros_like(predictions.labels) for name in _DECISION_METRICS}
    parts = crossfit_parts(predictions)
    for part in np.unique(parts):
        own, others = parts == part, parts != part
        rule = fit_decision_rule(_only(predictions, others)) if others.any() else DecisionRule()
        if rule.calibration is not None:
            probabilities[own] = rule.calibration.apply(predictions.probabilities[own])
        for name, values in decided.items():
            values[own] = decisions(probabilities[own], rule.threshold_of(name))
    return CrossFitted(probabilities, MappingProxyType(decided))


_DECISION_METRICS: Final = tuple(name for name, metric in METRICS.items() if metric.needs_threshold)


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


def _only(predictions: OutOfFold, images: NDArray[Any]) -> OutOfFold:
    kept = {name: getattr(predictions, name)[images] for name in OutOfFold.__slots__}
    return OutOfFold(**kept)
