"""All metrics of predictions: every `Metric` that a module of this folder defines, and those of users.

Pure functions of arrays; no result is ever NaN. Probabilities have shape (images, classes), labels (images,)
are class indices, and the last class is the finding. With two classes precision, recall, F1, F2, average
precision and specificity are those of class 1; with more they are macro means, each class that has cases
against the rest.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import numpy as np

from results.scores.decisions import check_predictions, confusion, decisions
from results.scores.metric import Metric
from results.scores.metrics.average_precision import average_precision
from results.scores.metrics.balanced import balanced_accuracy, mcc
from results.scores.metrics.f_scores import f1, f2
from results.scores.metrics.probability_errors import brier, log_loss
from results.scores.metrics.roc import (
    auc,
    mean_fold_auc,
    partial_auc,
    recall_at_specificity,
    specificity_at_recall,
)
from results.scores.metrics.shares import accuracy, precision, recall, specificity
from trainables.common.discovery import constants_of
from trainables.common.errors import ConfigError, OrchestrateError, UnknownNameError
from trainables.common.imports import object_named
from trainables.common.registered import register, registered
from trainables.common.types import FloatArray, IntArray

__all__ = [
    "METRICS",
    "ORDINAL",
    "STANDARD",
    "Metric",
    "accuracy",
    "auc",
    "average_precision",
    "balanced_accuracy",
    "brier",
    "decision_scores",
    "f1",
    "f2",
    "log_loss",
    "majority_baseline",
    "mcc",
    "mean_fold_auc",
    "metric_named",
    "partial_auc",
    "precision",
    "recall",
    "recall_at_specificity",
    "register_metric",
    "scores",
    "shown_metric",
    "specificity",
    "specificity_at_recall",
]

METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        metric.name: metric
        for metric in sorted(constants_of(sys.modules[__name__], Metric), key=lambda metric: metric.place)
    }
)
STANDARD: Final[Mapping[str, Metric]] = MappingProxyType(
    {name: metric for name, metric in METRICS.items() if metric.is_standard}
)
ORDINAL: Final[Mapping[str, Metric]] = MappingProxyType(
    {name: metric for name, metric in METRICS.items() if metric.classes == "ordinal"}
)


def metric_named(name: str) -> Metric:
    """Return a metric by its name.

    Args:
        name: Name in `METRICS` or of a metric that was registered; `NAME@NUMBER` for one with a parameter,
            such as `partial_auc@0.8`; or `MODULE:NAME`, a `Metric` in a module of the user, which may also be
            a file in the working folder.

    Raises:
        UnknownNameError: If there is none; the message holds the nearest one.
        ConfigError: If the number is not allowed, or the module cannot be imported or holds no such metric.

    >>> metric_named("partial_auc@0.8").header, metric_named("log_loss").higher_is_better
    ('pAUC@0.8', False)
    """
    known = {**METRICS, **registered("metric")}
    if name in known:
        return known[name]
    if ":" in name:
        return _of_user(name)
    stem, _, number = name.partition("@")
    if stem not in known:
        raise UnknownNameError("metric", name, known, own="MODULE:NAME")
    return known[stem].at(_number(name, number))


def shown_metric(name: str) -> Metric:
    """Return a metric by its name, to show values that are known; of one that is not known here its name.

    A bundle may have been searched by a metric of the user's own, and be read where that module is not.

    Args:
        name: As for `metric_named`.

    Returns:
        The metric; for one that is not known here a metric whose header is its name, whose direction and
        range mean nothing, and which raises `ConfigError` where it is computed.

    >>> shown_metric("f2").header, shown_metric("module_of_elsewhere:COST").header
    ('F2', 'module_of_elsewhere:COST')
    """
    try:
        return metric_named(name)
    except OrchestrateError as error:
        reason = str(error)

    def refuse(*_: object) -> float:
        raise ConfigError(f"metric {name} is not known here: {reason}")

    return Metric(name=name, kind="probabilities", function=refuse, header=name)


def register_metric(metric: Metric, *, replace: bool = False) -> None:
    """Make a metric known by its name, in this process and in the workers of searches that it starts.

    Args:
        metric: The metric.
        replace: Take the place of a metric that was registered under the same name.

    Raises:
        ConfigError: If the name is that of a metric of this package, is registered already, or cannot be
            typed.
    """
    if not metric.name.replace("_", "").isalnum():
        raise ConfigError(f"a metric's name holds letters, digits and _ only, found {metric.name!r}")
    register("metric", metric.name, metric, own=METRICS, replace=replace)


def scores(
    labels: IntArray,
    probabilities: FloatArray,
    *,
    threshold: float = 0.5,
    also: Iterable[Metric] = (),
) -> dict[str, float]:
    """Compute every metric of `STANDARD`, on all images at once and at one threshold.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Class probabilities in [0, 1], shape (images, classes); rows sum to 1.
        threshold: Smallest positive probability that is called positive; unused beyond two classes.
        also: Further metrics; those of cost are left out.

    Raises:
        DataError: If the shapes do not fit, or a probability is not a number in [0, 1].
        OneClassError: If `labels` holds a single class, since an AUC needs two.

    >>> found = scores(np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]]))
    >>> found["auc"], found["recall"], found["precision"]
    (1.0, 0.5, 1.0)
    """
    check_predictions(labels, probabilities)
    matrix = confusion(labels, decisions(probabilities, threshold), probabilities.shape[1])
    wanted = {**STANDARD, **{metric.name: metric for metric in also if not metric.is_cost}}
    return {
        name: float(metric(matrix) if metric.judges_decisions else metric(labels, probabilities))
        for name, metric in wanted.items()
    }


def decision_scores(labels: IntArray, decided: IntArray, classes: int) -> dict[str, float]:
    """Compute the metrics of `STANDARD` that judge decisions; `labels` and `decided` have shape (images,)."""
    matrix = confusion(labels, decided, classes)
    return {name: float(metric(matrix)) for name, metric in STANDARD.items() if metric.judges_decisions}


def majority_baseline(
    labels: IntArray,
    n_classes: int,
    *,
    shares: FloatArray | None = None,
    also: Iterable[Metric] = (),
    threshold: float = 0.5,
) -> dict[str, float]:
    """Return the metrics of a model that knows the class shares and nothing else.

    It decides the most common class for every image (of two equal ones, the positive) and gives every image
    the class shares as probabilities, so its AUC is 0.5. At threshold 0 it calls every image positive.

    Args:
        labels: Class indices, shape (images,).
        n_classes: Number of classes.
        shares: Share of each class in the training part, shape (n_classes,); None takes those of `labels`.
        also: Metrics besides those of `STANDARD`; those of cost are left out.
        threshold: Smallest positive share that is called positive; unused beyond two classes.

    Raises:
        OneClassError: If `labels` holds a single class.
    """
    if shares is None:
        shares = np.bincount(labels, minlength=n_classes) / max(len(labels), 1)
    return scores(labels, np.tile(shares, (len(labels), 1)), also=also, threshold=threshold)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"metric {name!r} needs a number behind @, such as partial_auc@0.9") from error


def _of_user(name: str) -> Metric:
    found = object_named(name, "--metric")
    if not isinstance(found, Metric):
        raise ConfigError(
            f"--metric {name} must be a Metric (results.scores.metric), found {type(found).__name__}"
        )
    return replace(found, name=name)  # the name by which it is found again
