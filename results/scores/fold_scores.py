"""Scores of out-of-fold predictions: AUC of each fold, decision rule and all metrics, each defined once."""

from dataclasses import replace

import numpy as np

from results.run.records import OutOfFold
from results.scores.calibration import Platt, cross_fitted_calibration, fit_platt
from results.scores.metrics import (
    METRICS,
    best_threshold,
    cross_fitted_decisions,
    decision_scores,
    mean_fold_auc,
)


def fold_areas(predictions: OutOfFold) -> tuple[float, ...]:
    """Return the AUC of each fold that holds two classes, in order of the folds."""
    areas = []
    for fold in np.unique(predictions.folds):
        own = predictions.folds == fold
        labels = predictions.labels[own]
        if np.ptp(labels) > 0:
            areas.append(float(mean_fold_auc(labels, predictions.probabilities[own], predictions.folds[own])))
    return tuple(areas)


def decision_rule(predictions: OutOfFold) -> tuple[Platt | None, float]:
    """Return the calibration of out-of-fold predictions, and the threshold of best balanced accuracy.

    Returns:
        The calibration of the positive probability, None beyond two classes, and the smallest calibrated
        probability that is called positive, 0.5 beyond two classes.
    """
    if predictions.probabilities.shape[1] != 2:
        return None, 0.5
    calibration = fit_platt(predictions.labels, predictions.probabilities[:, 1])
    positive = calibration.apply(predictions.probabilities[:, 1])
    return calibration, best_threshold(predictions.labels, np.stack([1 - positive, positive], axis=1))


def out_of_fold_metrics(predictions: OutOfFold) -> dict[str, float]:
    """Return all of `METRICS`; calibration and threshold of each fold are fitted on the other folds."""
    classes, given = predictions.probabilities.shape[1], predictions.probabilities
    probabilities = cross_fitted_calibration(predictions) if classes == 2 else given
    decided = cross_fitted_decisions(replace(predictions, probabilities=probabilities))
    found = {
        "auc": float(mean_fold_auc(predictions.labels, given, predictions.folds)),
        **decision_scores(predictions.labels, decided, classes),
    }
    for name in ("average_precision", "log_loss", "brier"):
        found[name] = float(METRICS[name].function(predictions.labels, probabilities))
    return {name: found[name] for name in METRICS}
