"""Interval of any metric, out of fold for a configuration and on a test part for a model that stays as it is.

AUC and decisions have intervals of their own, which hold with few patients. Other metrics have one that moves
with their variance over patients: within a range a score interval as of a share, on the number of cases that
has this variance; without an upper end one on the logarithm. Out of fold the variance is multiplied by what
other training parts add, as measured for the AUC (`fold_inflation`).

Source:
    Brown, Cai and DasGupta (2001), Statistical Science 16:101, on score intervals.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.run.records import OutOfFold
from results.scores.auc_interval import auc_interval, fixed_model_auc_interval, fold_inflation
from results.scores.cross_fitting import fewest_patients
from results.scores.decision_intervals import (
    average_precision_interval,
    decision_intervals,
    wilson_interval,
)
from results.scores.decision_rule import cross_fit
from results.scores.fold_scores import objective_value
from results.scores.influence import influences, probability_influences
from results.scores.interval import QUANTILE, Interval
from results.scores.metric import Metric
from results.scores.metrics import metric_named
from results.scores.operating_point import NOTHING_ASKED, Operation
from trainables.common.types import FloatArray, IntArray


def metric_interval(
    predictions: OutOfFold,
    metric: str,
    searched: Sequence[str],
    *,
    operation: Operation = NOTHING_ASKED,
    seed: int,
) -> Interval:
    """Return a metric of out-of-fold predictions with its 95 % interval.

    Args:
        predictions: Out-of-fold predictions of a trial, or nested ones of an ensemble.
        metric: Name of the metric; it is not one of cost.
        searched: Names of the metrics that the search optimises; they decide the thresholds.
        operation: What is asked of the decisions.
        seed: Random seed of the interval.

    Raises:
        OneClassError: If the metric needs two classes within a fold, and no fold has them.
    """
    found, inflation = metric_named(metric), fold_inflation(predictions.varying_parts)
    if found.name == "auc":
        return auc_interval(predictions)
    if found.judges_decisions:
        fitted = cross_fit(predictions, searched=searched, metrics=[found], operation=operation)
        return decision_intervals(
            predictions.labels,
            fitted.decided[found.name],
            predictions.groups,
            classes=predictions.probabilities.shape[1],
            seed=seed,
            metrics=[found],
            inflation=inflation,
        )[found.name]
    estimate = objective_value(predictions, metric)
    variance = float((influences(predictions, metric, searched) ** 2).sum()) * inflation
    return _interval(found, estimate, variance, fewest_patients(predictions.labels, predictions.groups))


def fixed_model_interval(
    metric: Metric, labels: IntArray, probabilities: FloatArray, groups: NDArray[Any]
) -> Interval:
    """Return a metric of the probabilities of a model that stays as it is, with its interval over patients.

    Args:
        metric: Metric that judges probabilities.
        labels: Class indices, shape (images,).
        probabilities: Calibrated class probabilities, shape (images, classes).
        groups: Patient of each image, shape (images,).

    Raises:
        OneClassError: If there is a single class, and the metric needs two.
    """
    if metric.name == "auc":
        return fixed_model_auc_interval(labels, probabilities, groups)
    if metric.name == "average_precision":
        return average_precision_interval(labels, probabilities, groups)
    return pooled_interval(metric, labels, probabilities, groups)


def pooled_interval(
    metric: Metric,
    labels: IntArray,
    probabilities: FloatArray,
    groups: NDArray[Any],
    *,
    inflation: float = 1.0,
) -> Interval:
    """Return a metric of all images at once with its interval over patients.

    Args:
        metric: Metric that judges probabilities.
        labels: Class indices, shape (images,).
        probabilities: Calibrated class probabilities, shape (images, classes).
        groups: Patient of each image, shape (images,).
        inflation: Factor by which a variance is larger than that of a model that stays as it is; see
            `fold_inflation`.
    """
    estimate = float(metric(labels, probabilities))
    variance = inflation * float((probability_influences(metric, labels, probabilities, groups) ** 2).sum())
    return _interval(metric, estimate, variance, fewest_patients(labels, groups))


def least_known_error(metric: Metric, value: float, labels: IntArray, groups: NDArray[Any]) -> float:
    """Return the standard error of a difference of two values of a metric where no patient tells it.

    A perfect and a reversed ranking, or one without any order, vary with no patient, yet differ. An AUC of
    one value varies at most as a share of the patients of the smaller class does; other metrics are taken to.

    Args:
        metric: Metric that is compared.
        value: What both would have in common if they did not differ.
        labels: Class indices, shape (images,).
        groups: Patient of each image, shape (images,).

    Returns:
        That of two independent values; 0 for a metric without an upper end.

    Source:
        Birnbaum and Klose (1957), "Bounds for the variance of the Mann-Whitney statistic", Annals of
        Mathematical Statistics 28:933.
    """
    if not np.isfinite(metric.high):
        return 0.0
    width = metric.high - metric.low
    share = min(max((value - metric.low) / width, 0.0), 1.0)
    return float(width * np.sqrt(2 * share * (1 - share) / max(fewest_patients(labels, groups), 1)))


def _interval(metric: Metric, estimate: float, variance: float, patients: int) -> Interval:
    """Interval by the variance; where nothing varies, that of a share of the smallest class's patients."""
    if not np.isfinite(metric.high):
        margin = QUANTILE * np.sqrt(variance)
        above = estimate - metric.low
        if above <= 0:
            return Interval(estimate, estimate, estimate + float(margin))
        factor = float(np.exp(margin / above))
        return Interval(estimate, metric.low + above / factor, metric.low + above * factor)
    width = metric.high - metric.low
    share = min(max((estimate - metric.low) / width, 0.0), 1.0)
    spread = variance / width**2
    number = share * (1 - share) / spread if spread > 0 and 0 < share < 1 else float(max(patients, 1))
    found = wilson_interval(share, max(number, 1.0))
    return Interval(estimate, metric.low + width * found.low, metric.low + width * found.high)
