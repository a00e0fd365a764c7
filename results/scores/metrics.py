"""Metrics of predictions, and decisions by thresholds. Pure functions of arrays; no result is ever NaN.

Probabilities have shape (images, classes), labels (images,) are class indices, and the last class is the
finding. With two classes precision, recall, F1, F2, average precision and specificity are those of class 1;
with more they are macro means, each class against the rest. A ratio without cases, such as the precision of a
model that never predicts the positive class, counts 0 (sklearn's `zero_division=0`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.run.records import OutOfFold
from trainables.common.errors import DataError, OneClassError, UnknownNameError
from trainables.common.types import FloatArray, IntArray
from trainables.validation.collapse import is_collapsed

BoolArray = NDArray[np.bool_]


def auc(labels: IntArray, probabilities: FloatArray) -> Any:
    """Area under the ROC curve; the macro one-against-rest mean for more than two classes.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Class probabilities, shape (..., images, classes); leading axes are scored one by one.

    Returns:
        Area in [0, 1], shape (...); a tie between a positive and a negative counts one half. Classes
        without a case are left out of the macro mean.

    Raises:
        OneClassError: If `labels` holds a single class.

    >>> float(auc(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])))
    0.75
    """
    _check_two_classes(labels, "an AUC")
    areas = [
        _areas(labels == index, probabilities[..., index])
        for index in scored_classes(probabilities.shape[-1])
        if (labels == index).any()
    ]
    return np.mean(areas, axis=0)


def mean_fold_auc(labels: IntArray, probabilities: FloatArray, folds: IntArray) -> Any:
    """Mean over folds of the AUC within each fold.

    Pooling all folds would compare the scores of different models, each with a calibration of its own; this
    statistic never does.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Class probabilities, shape (..., images, classes); leading axes are scored one by one.
        folds: Fold of each image, shape (images,). A fold with a single class is left out of the mean.

    Raises:
        OneClassError: If no fold holds two classes.
    """
    parts = [folds == fold for fold in np.unique(folds)]
    areas = [auc(labels[part], probabilities[..., part, :]) for part in parts if np.ptp(labels[part]) > 0]
    if not areas:
        raise OneClassError(
            f"an AUC needs two classes within a fold; none of the {len(parts)} folds has them. "
            "Use fewer folds or more patients"
        )
    return np.mean(areas, axis=0)


def average_precision(labels: IntArray, probabilities: FloatArray) -> float:
    """Area under the precision-recall steps: sum of precision times the gain in recall.

    Raises:
        OneClassError: If `labels` holds a single class.
    """
    _check_two_classes(labels, "average precision")
    values = []
    for index in scored_classes(probabilities.shape[-1]):
        counts = _counts_by_score(labels == index, probabilities[:, index])
        found, called = np.cumsum(counts.positives[::-1]), np.cumsum(counts.total[::-1])
        gain = np.diff(found, prepend=0)
        values.append(float((gain * found / called).sum() / max(int(found[-1]), 1)))
    return float(np.mean(values))


def log_loss(labels: IntArray, probabilities: FloatArray) -> float:
    """Mean negative natural logarithm of the true class's probability, clipped away from 0 and 1."""
    tiny = np.finfo(np.float64).eps
    given = np.clip(probabilities.astype(np.float64), tiny, 1 - tiny)
    return float(-np.log(given[np.arange(len(labels)), labels]).mean())


def brier(labels: IntArray, probabilities: FloatArray) -> float:
    """Mean squared distance from the truth: of the positive probability, or summed over more classes."""
    truth = np.eye(probabilities.shape[-1])[labels]
    return float(((probabilities - truth) ** 2)[:, list(scored_classes(truth.shape[1]))].sum(axis=1).mean())


def accuracy(matrices: NDArray[Any]) -> FloatArray:
    """Share of right decisions, from confusion matrices of shape (..., classes, classes)."""
    return _ratio(np.trace(matrices, axis1=-2, axis2=-1), matrices.sum(axis=(-2, -1)))


def recall(matrices: NDArray[Any]) -> FloatArray:
    """Share of the positives that were found, from confusion matrices of shape (..., classes, classes)."""
    hits, _, missed, _ = _one_against_rest(matrices)
    return _positive_or_macro(_ratio(hits, hits + missed))


def precision(matrices: NDArray[Any]) -> FloatArray:
    """Share of the positive decisions that are right, from matrices of shape (..., classes, classes)."""
    hits, alarms, _, _ = _one_against_rest(matrices)
    return _positive_or_macro(_ratio(hits, hits + alarms))


def specificity(matrices: NDArray[Any]) -> FloatArray:
    """Share of the negatives that were decided negative, from matrices of shape (..., classes, classes)."""
    _, alarms, _, rest = _one_against_rest(matrices)
    return _positive_or_macro(_ratio(rest, rest + alarms))


def f1(matrices: NDArray[Any]) -> FloatArray:
    """Harmonic mean of precision and recall, from matrices of shape (..., classes, classes)."""
    return _f_beta(matrices, beta=1.0)


def f2(matrices: NDArray[Any]) -> FloatArray:
    """F-beta with recall counted twice as much as precision, from matrices (..., classes, classes).

    >>> hits, alarms, missed = 726, 554, 274  # precision 0.567, recall 0.726
    >>> round(float(f2(np.array([[1000, alarms], [missed, hits]]))), 3)
    0.688
    """
    return _f_beta(matrices, beta=2.0)


def balanced_accuracy(matrices: NDArray[Any]) -> FloatArray:
    """Mean recall over the classes that have cases, from matrices of shape (..., classes, classes)."""
    support = matrices.sum(axis=-1)
    recalls = _ratio(np.diagonal(matrices, axis1=-2, axis2=-1), support)
    return _ratio(recalls.sum(axis=-1), (support > 0).sum(axis=-1))


def mcc(matrices: NDArray[Any]) -> FloatArray:
    """Matthews' correlation coefficient in [-1, 1], from matrices of shape (..., classes, classes).

    Source:
        Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    matrices = matrices.astype(np.float64)
    true, called = matrices.sum(axis=-1), matrices.sum(axis=-2)
    total = matrices.sum(axis=(-2, -1))
    covariance = np.trace(matrices, axis1=-2, axis2=-1) * total - (true * called).sum(axis=-1)
    spread = (total**2 - (called**2).sum(axis=-1)) * (total**2 - (true**2).sum(axis=-1))
    return _ratio(covariance, np.sqrt(spread))


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table of metrics.

    Attributes:
        function: Function of confusion matrices of shape (..., classes, classes) if `needs_threshold`, else
            of labels and probabilities.
        needs_threshold: True if the metric judges decisions, False if it judges probabilities.
        header: Short name for tables.
    """

    function: Callable[..., Any]
    needs_threshold: bool
    higher_is_better: bool
    header: str


METRICS: Final = MappingProxyType(
    {
        "auc": Metric(auc, False, True, "AUC"),
        "average_precision": Metric(average_precision, False, True, "AP"),
        "f2": Metric(f2, True, True, "F2"),
        "f1": Metric(f1, True, True, "F1"),
        "accuracy": Metric(accuracy, True, True, "Acc"),
        "balanced_accuracy": Metric(balanced_accuracy, True, True, "BAcc"),
        "recall": Metric(recall, True, True, "Recall"),
        "precision": Metric(precision, True, True, "Prec"),
        "specificity": Metric(specificity, True, True, "Spec"),
        "mcc": Metric(mcc, True, True, "MCC"),
        "log_loss": Metric(log_loss, False, False, "LogLoss"),
        "brier": Metric(brier, False, False, "Brier"),
    }
)


def metric_named(name: str) -> Metric:
    """Return the metric of that name, or raise `UnknownNameError` with the nearest one."""
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    return METRICS[name]


def scores(labels: IntArray, probabilities: FloatArray, *, threshold: float = 0.5) -> dict[str, float]:
    """Compute every metric of `METRICS`.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Class probabilities in [0, 1], shape (images, classes); rows sum to 1.
        threshold: Smallest positive probability that is called positive; unused beyond two classes.

    Raises:
        DataError: If the shapes do not fit, or a probability is not a number in [0, 1].
        OneClassError: If `labels` holds a single class, since an AUC needs two.

    >>> found = scores(np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]]))
    >>> found["auc"], found["recall"], found["precision"]
    (1.0, 0.5, 1.0)
    """
    check_predictions(labels, probabilities)
    matrix = confusion(labels, decisions(probabilities, threshold), probabilities.shape[1])
    return {
        name: float(
            metric.function(matrix) if metric.needs_threshold else metric.function(labels, probabilities)
        )
        for name, metric in METRICS.items()
    }


def decision_scores(labels: IntArray, decided: IntArray, classes: int) -> dict[str, float]:
    """Compute the metrics that judge decisions; `labels` and `decided` have shape (images,)."""
    matrix = confusion(labels, decided, classes)
    return {
        name: float(metric.function(matrix)) for name, metric in METRICS.items() if metric.needs_threshold
    }


def decisions(probabilities: FloatArray, threshold: float = 0.5) -> IntArray:
    """Decide a class for each image, shape (images,).

    Two classes: 1 where the positive probability reaches `threshold`. More: the most probable class.
    """
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= threshold).astype(np.int64)
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)


def confusion(labels: IntArray, decided: IntArray, classes: int) -> IntArray:
    """Count cases, shape (classes, classes): rows are the true class, columns the decided one.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
    array([[1, 0],
           [1, 1]])
    """
    counts = np.bincount(labels * classes + decided, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def best_threshold(
    labels: IntArray, probabilities: FloatArray, *, metric: str = "balanced_accuracy"
) -> float:
    """Return the threshold at which a metric is highest; of several, the one nearest 0.5.

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
    known = [name for name, entry in METRICS.items() if entry.needs_threshold]
    if metric not in known:
        raise UnknownNameError("threshold metric", metric, known)
    if probabilities.shape[1] != 2:
        return 0.5
    thresholds, matrices = decisions_by_threshold(labels, probabilities)
    values = METRICS[metric].function(matrices)
    best = thresholds[values >= values.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])


def decisions_by_threshold(labels: IntArray, probabilities: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return every distinct set of decisions of two classes, one threshold for each.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Class probabilities, shape (images, 2).

    Returns:
        Ascending thresholds, through the midpoints between neighbouring scores, shape (scores + 1,), and the
        confusion matrix of each, shape (scores + 1, 2, 2).
    """
    counts = _counts_by_score(labels == 1, probabilities[:, 1].astype(np.float64))
    return _between(counts.scores), _matrices_by_threshold(counts)


def collapsed_folds(out_of_fold: OutOfFold) -> tuple[int, ...]:
    """Return the folds that give every image the same score; see `trainables.validation.collapse`."""
    parts = {int(fold): out_of_fold.folds == fold for fold in np.unique(out_of_fold.folds)}
    return tuple(
        fold
        for fold, part in parts.items()
        if is_collapsed(out_of_fold.labels[part], out_of_fold.probabilities[part])
    )


def majority_baseline(
    labels: IntArray, n_classes: int, *, shares: FloatArray | None = None
) -> dict[str, float]:
    """Return all metrics of a model that knows the class shares and nothing else.

    It decides the most common class for every image (of two equal ones, the positive) and gives every image
    the class shares as probabilities, so its AUC is 0.5.

    Args:
        labels: Class indices, shape (images,).
        n_classes: Number of classes.
        shares: Share of each class in the training part, shape (n_classes,); None takes those of `labels`.

    Raises:
        OneClassError: If `labels` holds a single class.
    """
    if shares is None:
        shares = np.bincount(labels, minlength=n_classes) / max(len(labels), 1)
    return scores(labels, np.tile(shares, (len(labels), 1)))


def check_predictions(labels: IntArray, probabilities: FloatArray) -> None:
    """Raise `DataError` unless labels and probabilities belong together and are numbers in range."""
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise DataError(
            "predictions need labels of shape (images,) and probabilities of shape (images, classes); "
            f"found {labels.shape} and {probabilities.shape}"
        )
    outside = int((~((probabilities >= 0) & (probabilities <= 1))).any(axis=1).sum())
    if outside:
        raise DataError(f"probabilities lie in [0, 1]; {outside} of {len(labels)} rows hold others or NaN")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise DataError(
            f"labels are 0 to {probabilities.shape[1] - 1}; found {int(labels.min())} to {int(labels.max())}"
        )


def scored_classes(classes: int) -> range:
    """Return the classes whose one-against-rest scores count: the positive one of two, or all of more."""
    return range(1, 2) if classes == 2 else range(classes)


@dataclass(frozen=True, slots=True)
class _Counts:
    """Cases at each distinct score, ascending; every array has shape (scores,)."""

    scores: FloatArray
    positives: IntArray
    total: IntArray


def _counts_by_score(positive: BoolArray, values: FloatArray) -> _Counts:
    distinct, place, total = np.unique(values, return_inverse=True, return_counts=True)
    return _Counts(distinct, np.bincount(place[positive], minlength=len(distinct)), total)


def _matrices_by_threshold(counts: _Counts) -> IntArray:
    """Confusion matrices when the lowest 0, 1, 2 ... scores are called negative, shape (scores + 1, 2, 2)."""
    missed = np.concatenate([[0], np.cumsum(counts.positives)])
    rejected = np.concatenate([[0], np.cumsum(counts.total - counts.positives)])
    return np.stack(
        [
            np.stack([rejected, rejected[-1] - rejected], axis=-1),
            np.stack([missed, missed[-1] - missed], axis=-1),
        ],
        axis=-2,
    )


def _between(values: FloatArray) -> FloatArray:
    """Thresholds below, between and above ascending distinct scores, shape (scores + 1,)."""
    middle = (values[:-1] + values[1:]) / 2
    # Between adjacent floating-point numbers there is no midpoint: the upper one separates them as well.
    middle = np.where(middle > values[:-1], middle, values[1:])
    above = max((values[-1] + 1) / 2, np.nextafter(values[-1], 2.0))
    return np.concatenate([[values[0] / 2], middle, [above]])


def _areas(positive: BoolArray, values: FloatArray) -> FloatArray:
    """Mann-Whitney areas of scores of shape (..., images) by mid-ranks, shape (...)."""
    order = np.argsort(values, axis=-1, kind="stable")
    ranked = np.take_along_axis(values, order, axis=-1)
    index = np.broadcast_to(np.arange(values.shape[-1]), ranked.shape)
    edge = np.ones((*ranked.shape[:-1], 1), dtype=bool)
    changes = ranked[..., 1:] != ranked[..., :-1]
    first = np.maximum.accumulate(np.where(np.concatenate([edge, changes], axis=-1), index, 0), axis=-1)
    ends = np.where(np.concatenate([changes, edge], axis=-1), index, values.shape[-1])
    last = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    positives = int(positive.sum())
    twice_ranks = ((first + last) * positive[order]).sum(axis=-1)
    wins = (twice_ranks - positives * (positives - 1)) / 2
    return np.asarray(wins / (positives * (len(positive) - positives)))


def _one_against_rest(matrices: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Hits, false alarms, misses and the rest of each class, each of shape (..., classes)."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    missed = matrices.sum(axis=-1) - hits
    alarms = matrices.sum(axis=-2) - hits
    return hits, alarms, missed, matrices.sum(axis=(-2, -1))[..., None] - hits - alarms - missed


def _f_beta(matrices: NDArray[Any], beta: float) -> FloatArray:
    hits, alarms, missed, _ = _one_against_rest(matrices)
    weighted = (1 + beta**2) * hits
    return _positive_or_macro(_ratio(weighted, weighted + beta**2 * missed + alarms))


def _positive_or_macro(values: FloatArray) -> FloatArray:
    return values[..., list(scored_classes(values.shape[-1]))].mean(axis=-1)


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> FloatArray:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _check_two_classes(labels: IntArray, what: str) -> None:
    if not len(labels) or np.ptp(labels) == 0:
        only = f"only class {int(labels[0])}" if len(labels) else "no image"
        raise OneClassError(
            f"{what} needs two classes, found {only} in {len(labels)} labels; "
            "use fewer folds or more patients"
        )
