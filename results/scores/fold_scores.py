"""Scores of out-of-fold predictions: AUC of each fold and all metrics, each defined once."""

import numpy as np

from results.run.records import OutOfFold
from results.scores.decision_rule import cross_fit
from results.scores.metrics import METRICS, confusion, decisions, mean_fold_auc
from results.scores.ordinal import ORDINAL_METRICS


def fold_areas(predictions: OutOfFold) -> tuple[float, ...]:
    """Return the AUC of each fold that holds two classes, in order of the folds."""
    areas = []
    for fold in np.unique(predictions.folds):
        own = predictions.folds == fold
        labels = predictions.labels[own]
        if np.ptp(labels) > 0:
            areas.append(float(mean_fold_auc(labels, predictions.probabilities[own], predictions.folds[own])))
    return tuple(areas)


def out_of_fold_metrics(predictions: OutOfFold) -> dict[str, float]:
    """Return all of `METRICS`, the only numbers that any table, card or file shows of these predictions.

    Calibration and thresholds of each fold are fitted on the other folds; F1 and F2 have thresholds of their
    own.
    """
    classes, fitted = predictions.probabilities.shape[1], cross_fit(predictions)
    found = {}
    for name, metric in METRICS.items():
        if name == "auc":
            value = mean_fold_auc(predictions.labels, predictions.probabilities, predictions.folds)
        elif metric.needs_threshold:
            value = metric.function(confusion(predictions.labels, fitted.decided[name], classes))
        else:
            value = metric.function(predictions.labels, fitted.probabilities)
        found[name] = float(value)
    return found


def out_of_fold_ordinal_metrics(predictions: OutOfFold) -> dict[str, float]:
    """Return all of `ORDINAL_METRICS` of these predictions, whose classes are in an order."""
    decided = decisions(predictions.probabilities)
    matrix = confusion(predictions.labels, decided, predictions.probabilities.shape[1])
    return {name: float(metric.function(matrix)) for name, metric in ORDINAL_METRICS.items()}
