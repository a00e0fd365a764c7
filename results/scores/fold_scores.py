"""Scores of out-of-fold predictions, each defined once: the only numbers that any table, card or file shows.

What a metric judges decides how the folds are put together, see docs/adr/0017:

- AUC and other metrics of the ranking: the mean over folds of the score within each fold. The scores of two
  fold models cannot be compared, so they are never pooled.
- Log loss and Brier score: pooled over all images, each calibrated by what was fitted on the other folds.
- Decisions: pooled, each image decided at a threshold that was chosen on the other folds: the one that is
  best for the metric where it is searched (F1 and F2 always), else that of the model, which an operating
  point may set.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from results.run.records import OutOfFold
from results.scores.decision_rule import CrossFitted, cross_fit
from results.scores.decisions import confusion
from results.scores.metric import Metric
from results.scores.metrics import STANDARD, mean_fold_auc, metric_named
from results.scores.ranking import BY_AUC, Objectives
from trainables.common.errors import OneClassError
from trainables.common.types import FloatArray, IntArray
from trainables.validation.collapse import is_collapsed


def fold_areas(predictions: OutOfFold) -> tuple[float, ...]:
    """Return the AUC of each fold that holds two classes, in order of the folds."""
    areas = []
    for fold in np.unique(predictions.folds):
        own = predictions.folds == fold
        labels = predictions.labels[own]
        if np.ptp(labels) > 0:
            areas.append(float(mean_fold_auc(labels, predictions.probabilities[own], predictions.folds[own])))
    return tuple(areas)


def out_of_fold_metrics(predictions: OutOfFold, objectives: Objectives = BY_AUC) -> dict[str, float]:
    """Return the metrics of `STANDARD`, and those that a search optimises or requires something of.

    Metrics of cost are not among them: predictions do not hold them. Decisions are those that the user asked
    for; errors of probabilities are those at the prevalence of the data.
    """
    return _values(predictions, (*STANDARD, *objectives.shown), objectives)


def objective_values(predictions: OutOfFold, objectives: Objectives) -> dict[str, float]:
    """Return what a search optimises or requires something of, without metrics of cost.

    Raises:
        OneClassError: If a metric needs two classes within a fold, and no fold has them.
    """
    return _values(predictions, objectives.predicted, objectives)


def objective_value(predictions: OutOfFold, metric: str) -> float:
    """Return the value of a metric, as it is for a search that optimises it.

    Raises:
        OneClassError: If the metric needs two classes within a fold, and no fold has them.
        ConfigError: If it is a metric of cost.

    >>> rows, labels = np.arange(4), np.array([0, 0, 1, 1])
    >>> probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    >>> objective_value(OutOfFold(rows, labels, 0 * rows, rows.astype(str), probabilities), "auc")
    0.75
    """
    return objective_value_of(predictions, metric, Objectives((metric,)))


def objective_value_of(predictions: OutOfFold, metric: str, objectives: Objectives) -> float:
    """Return the value of one metric, as it is for a search with these objectives.

    Raises:
        OneClassError: If the metric needs two classes within a fold, and no fold has them.
        ConfigError: If it is a metric of cost.
    """
    return _values(predictions, (metric,), objectives)[metric]


def value_and_folds(
    predictions: OutOfFold, metric: str, objectives: Objectives
) -> tuple[float, tuple[float, ...]]:
    """Return the value of one metric, and that of each fold by the same calibration and thresholds.

    Folds are in order; one with a single class has no value where the metric needs two.

    Raises:
        OneClassError: If the metric needs two classes within a fold, and no fold has them.
        ConfigError: If it is a metric of cost.
    """
    found = metric_named(metric)
    fitted = _fitted(predictions, [found], objectives)
    by_fold = []
    for fold in np.unique(predictions.folds):
        own = predictions.folds == fold
        if not found.within_folds or np.ptp(predictions.labels[own]) > 0:
            by_fold.append(_value(found, predictions, fitted, images=own))
    return _value(found, predictions, fitted), tuple(by_fold)


def mean_over_folds(metric: Metric, labels: IntArray, probabilities: FloatArray, folds: IntArray) -> float:
    """Return the mean over folds of a metric within each fold; a fold with one class is left out.

    Args:
        metric: Metric of probabilities.
        labels: Class indices, shape (images,).
        probabilities: Class probabilities, shape (images, classes).
        folds: Fold of each image, shape (images,).

    Raises:
        OneClassError: If no fold holds two classes.
    """
    if metric.name == "auc":
        return float(mean_fold_auc(labels, probabilities, folds))
    parts = [folds == fold for fold in np.unique(folds)]
    found = [float(metric(labels[part], probabilities[part])) for part in parts if np.ptp(labels[part]) > 0]
    if not found:
        raise OneClassError(
            f"{metric.name} needs two classes within a fold; none of the {len(parts)} folds has them. "
            "Use fewer folds or more data"
        )
    return float(np.mean(found))


def collapsed_folds(out_of_fold: OutOfFold) -> tuple[int, ...]:
    """Return the folds that give every image the same score; see `trainables.validation.collapse`."""
    parts = {int(fold): out_of_fold.folds == fold for fold in np.unique(out_of_fold.folds)}
    return tuple(
        fold
        for fold, part in parts.items()
        if is_collapsed(out_of_fold.labels[part], out_of_fold.probabilities[part])
    )


def _values(predictions: OutOfFold, names: Iterable[str], objectives: Objectives) -> dict[str, float]:
    metrics = {name: metric_named(name) for name in dict.fromkeys(names)}
    fitted = _fitted(predictions, metrics.values(), objectives)
    return {name: _value(metric, predictions, fitted) for name, metric in metrics.items()}


def _fitted(predictions: OutOfFold, metrics: Iterable[Metric], objectives: Objectives) -> CrossFitted | None:
    """Calibrations and decisions that metrics need; None if none of them pools the folds."""
    pooled = [metric for metric in metrics if not metric.within_folds]
    if not pooled:
        return None
    return cross_fit(predictions, searched=objectives.metrics, metrics=pooled, operation=objectives.operation)


def _value(
    metric: Metric,
    predictions: OutOfFold,
    fitted: CrossFitted | None,
    *,
    images: NDArray[np.bool_] | slice = slice(None),
) -> float:
    """Value of a metric, of all images or of some."""
    labels, probabilities = predictions.labels[images], predictions.probabilities[images]
    if metric.within_folds or fitted is None:
        return mean_over_folds(metric, labels, probabilities, predictions.folds[images])
    if metric.judges_decisions:
        return float(metric(confusion(labels, fitted.decided[metric.name][images], probabilities.shape[1])))
    return float(metric(labels, fitted.probabilities[images]))
