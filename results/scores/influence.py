"""Influence of each patient on a metric: the basis of its variance, and of all comparisons.

The influence of a patient is the slope of the metric in the patient's weight. That of the AUC is known
(`auc_influence`), as are those of means over images. For decisions each patient is counted twice; other
metrics are computed without each patient once (`left_out`), but for single points of the ROC curve, which
move in steps (`roc_point_influence`). Calibrations and thresholds are taken as they are: a threshold lies
where the metric is flat.

Steps larger than a single patient, which suit metrics with steps, are too large where a fold holds four
positives: with 160 patients in 4 folds, a tenth of them positive, they gave a third of the standard error.

Source:
    Hampel (1974), "The influence curve and its role in robust estimation", JASA 69:383.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.run.records import OutOfFold
from results.scores.auc_influence import auc_influences, check_same_images, fold_parts
from results.scores.decision_rule import cross_fit
from results.scores.decisions import confusion_of_groups
from results.scores.left_out import left_out_influences
from results.scores.metric import Metric
from results.scores.metrics import metric_named
from results.scores.metrics.probability_errors import IMAGE_ERRORS
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.ranking import Objectives
from trainables.common.types import FloatArray, IntArray


def influences(
    predictions: OutOfFold, metric: str, searched: Sequence[str], *, operation: Operation = NOTHING_ASKED
) -> FloatArray:
    """Return the influence of each patient on a metric of out-of-fold predictions.

    Args:
        predictions: Out-of-fold predictions of one trial.
        metric: Name of the metric.
        searched: Names of the metrics that the search optimises; they decide the thresholds.
        operation: What is asked of the decisions.

    Returns:
        Shape (patients,), in sorted order of the patients' names; the sum of squares is the variance of the
        metric for fold models that stay as they are.
    """
    found = metric_named(metric)
    if found.name == "auc":
        return auc_influences(predictions)
    if found.within_folds:
        return _within_folds(predictions, found)
    fitted = cross_fit(predictions, searched=searched, metrics=[found], operation=operation)
    if found.judges_decisions:
        return decision_influences(
            found,
            predictions.labels,
            fitted.decided[found.name],
            predictions.groups,
            predictions.probabilities.shape[1],
        )
    return probability_influences(found, predictions.labels, fitted.probabilities, predictions.groups)


def stacked_influences(trials: Sequence[OutOfFold], objectives: Objectives) -> FloatArray:
    """Return the influences of several trials on the main metric, shape (trials, patients).

    Raises:
        DataError: If two trials do not hold the same images in the same folds.
    """
    for other in trials[1:]:
        check_same_images(trials[0], other)
    main, names = objectives.metrics[0], objectives.metrics
    return np.stack([influences(one, main, names, operation=objectives.operation) for one in trials])


def decision_influences(
    metric: Metric, labels: IntArray, decided: IntArray, groups: NDArray[Any], classes: int
) -> FloatArray:
    """Return the influence of each patient on a metric of decisions, shape (patients,).

    Args:
        metric: Metric that judges decisions.
        labels: Class indices, shape (images,).
        decided: Decided classes, shape (images,).
        groups: Patient of each image, shape (images,).
        classes: Number of classes.
    """
    names, matrices = confusion_of_groups(labels, decided, groups, classes)
    total = matrices.sum(axis=0)
    changes = np.asarray(metric(total + matrices)) - float(metric(total))
    return _corrected(changes * (len(names) + 1) / len(names))


def probability_influences(
    metric: Metric, labels: IntArray, probabilities: FloatArray, groups: NDArray[Any]
) -> FloatArray:
    """Return the influence of each patient on a metric of all images at once, shape (patients,).

    Args:
        metric: Metric that judges probabilities.
        labels: Class indices, shape (images,).
        probabilities: Class probabilities, shape (images, classes).
        groups: Patient of each image, shape (images,).
    """
    patients = np.unique(groups, return_inverse=True)[1].reshape(-1)
    if metric.name in IMAGE_ERRORS:  # means over images
        errors = IMAGE_ERRORS[metric.name](labels, probabilities)
        return _corrected(np.bincount(patients, weights=errors - errors.mean()) / len(errors))
    return _corrected(_of_images(metric, labels, probabilities, patients))


def _within_folds(predictions: OutOfFold, metric: Metric) -> FloatArray:
    labels, patients = predictions.labels, np.unique(predictions.groups, return_inverse=True)[1]
    found = np.zeros(int(patients.max()) + 1)
    parts = [part for part in fold_parts(predictions.folds) if np.ptp(labels[part]) > 0]
    for part in parts:
        names, own = np.unique(patients[part], return_inverse=True)
        found[names] += _of_images(metric, labels[part], predictions.probabilities[part], own) / len(parts)
    return _corrected(found)


def _of_images(metric: Metric, labels: IntArray, probabilities: FloatArray, patients: IntArray) -> FloatArray:
    """Influence of each patient; `patients` is the 0-based number of that of each image, shape (images,)."""
    if metric.influences is not None:
        return metric.influences(labels, probabilities, patients)
    return left_out_influences(
        lambda images: float(metric(labels[images], probabilities[images])), labels, patients
    )


def _corrected(found: FloatArray) -> FloatArray:
    number = len(found)
    return found * (np.sqrt(number / (number - 1)) if number > 1 else 1.0)
