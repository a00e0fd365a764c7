"""Metrics of the ROC curve: its area, the part of it at high specificity, and single points of it."""

from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.scores.decisions import (
    BoolArray,
    check_two_classes,
    counts_by_score,
    matrices_by_threshold,
    ranking_scores,
    scored_classes,
)
from results.scores.left_out import left_out_of_counts
from results.scores.metric import Metric, Parameter
from results.scores.roc_point_influence import point_influences
from trainables.common.errors import OneClassError
from trainables.common.types import FloatArray, IntArray

WANTED_SPECIFICITY: Final = 0.9
WANTED_RECALL: Final = 0.9


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
    check_two_classes(labels, "an AUC")
    areas = [
        _areas(labels == index, ranking_scores(probabilities, index))
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
            "Use fewer folds or more data"
        )
    return np.mean(areas, axis=0)


def partial_auc(
    labels: IntArray, probabilities: FloatArray, specificity: float = WANTED_SPECIFICITY
) -> float:
    """Area under the ROC curve where the specificity is at least as wanted, standardised to [0, 1].

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Probabilities of the two classes, shape (images, 2).
        specificity: Lowest specificity that counts, in (0, 1).

    Returns:
        1 for a perfect score and 0.5 for one that knows nothing, whatever part of the curve counts.

    Raises:
        OneClassError: If `labels` holds a single class.

    Source:
        McClish (1989), "Analyzing a portion of the ROC curve", Medical Decision Making 9:190.

    >>> perfect = np.array([[0.9, 0.1], [0.6, 0.4], [0.4, 0.6], [0.2, 0.8]])
    >>> labels, unknowing = np.array([0, 0, 1, 1]), np.full((4, 2), 0.5)
    >>> partial_auc(labels, perfect), round(partial_auc(labels, unknowing), 12)
    (1.0, 0.5)
    """
    check_two_classes(labels, "a partial AUC")
    counts = counts_by_score(labels == 1, ranking_scores(probabilities, 1))
    return float(_partial_area(counts.positives, counts.total - counts.positives, specificity))


def partial_auc_influences(
    labels: IntArray, probabilities: FloatArray, patients: IntArray, specificity: float = WANTED_SPECIFICITY
) -> FloatArray:
    """Influence of each patient on the partial AUC, by leaving it out, shape (patients,).

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Probabilities of the two classes, shape (images, 2).
        patients: 0-based number of the patient of each image, shape (images,).
        specificity: Lowest specificity that counts, in (0, 1).
    """
    return left_out_of_counts(
        partial(_partial_area, specificity=specificity),
        labels == 1,
        ranking_scores(probabilities, 1),
        patients,
    )


def recall_at_specificity(
    labels: IntArray, probabilities: FloatArray, specificity: float = WANTED_SPECIFICITY
) -> float:
    """Highest recall that a threshold reaches at or above a specificity.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Probabilities of the two classes, shape (images, 2).
        specificity: Lowest acceptable specificity, in (0, 1).

    Raises:
        OneClassError: If `labels` holds a single class.

    >>> scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    >>> recall_at_specificity(np.array([0, 0, 1, 1]), scores, 0.9)
    0.5
    """
    false_alarms, found = _curve(labels, probabilities, "a recall at a specificity")
    return float(found[1.0 - false_alarms >= specificity - 1e-12].max())


def specificity_at_recall(
    labels: IntArray, probabilities: FloatArray, recall: float = WANTED_RECALL
) -> float:
    """Highest specificity that a threshold reaches at or above a recall.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Probabilities of the two classes, shape (images, 2).
        recall: Lowest acceptable recall, in (0, 1).

    Raises:
        OneClassError: If `labels` holds a single class.

    >>> scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    >>> specificity_at_recall(np.array([0, 0, 1, 1]), scores, 0.9)
    0.5
    """
    false_alarms, found = _curve(labels, probabilities, "a specificity at a recall")
    return float(1.0 - false_alarms[found >= recall - 1e-12].min())


def recall_at_specificity_influences(
    labels: IntArray, probabilities: FloatArray, patients: IntArray, specificity: float = WANTED_SPECIFICITY
) -> FloatArray:
    """Influence of each patient on the recall at a specificity; arguments as of `partial_auc_influences`."""
    return point_influences(labels == 1, ranking_scores(probabilities, 1), patients, 1.0 - specificity)


def specificity_at_recall_influences(
    labels: IntArray, probabilities: FloatArray, patients: IntArray, recall: float = WANTED_RECALL
) -> FloatArray:
    """Influence of each patient on the specificity at a recall: with both classes in each other's place."""
    return point_influences(labels == 0, ranking_scores(probabilities, 0), patients, 1.0 - recall)


def _curve(labels: IntArray, probabilities: FloatArray, what: str) -> tuple[FloatArray, FloatArray]:
    """False-alarm rates, ascending, and recalls of the ROC curve, both of shape (scores + 1,)."""
    check_two_classes(labels, what)
    matrices = matrices_by_threshold(counts_by_score(labels == 1, ranking_scores(probabilities, 1)))
    negatives, positives = matrices[0, 0].sum(), matrices[0, 1].sum()
    return matrices[::-1, 0, 1] / negatives, matrices[::-1, 1, 1] / positives


def _partial_area(positives: IntArray, negatives: IntArray, specificity: float) -> FloatArray:
    """Standardised partial area of counts at ascending scores, shape (..., scores) to (...)."""
    most = 1.0 - specificity
    called, total = np.cumsum(negatives[..., ::-1], axis=-1), negatives.sum(axis=-1, keepdims=True)
    alarms = called / total
    before = np.concatenate([np.zeros_like(alarms[..., :1]), alarms[..., :-1]], axis=-1)
    left = slice(int((before < most).sum(axis=-1).max()))  # steps that begin to the left of the edge
    alarm_gain = (alarms - before)[..., left]
    recall_gain = positives[..., ::-1][..., left] / positives.sum(axis=-1, keepdims=True)
    inside = np.clip(most - before[..., left], 0.0, alarm_gain)
    share = np.divide(inside, alarm_gain, out=np.zeros_like(inside), where=alarm_gain > 0)
    area = (inside * (np.cumsum(recall_gain, axis=-1) - recall_gain * (1.0 - share / 2))).sum(axis=-1)
    least = most**2 / 2
    return np.asarray(0.5 * (1.0 + (area - least) / (most - least)))


def _areas(positive: BoolArray, values: NDArray[Any]) -> FloatArray:
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


AUC = Metric(
    name="auc",
    kind="probabilities",
    function=auc,
    header="AUC",
    within_folds=True,
    is_standard=True,
    place=0,
)
PARTIAL_AUC = Metric(
    name="partial_auc",
    kind="probabilities",
    function=partial_auc,
    header="pAUC",
    classes="two",
    within_folds=True,
    influences=partial_auc_influences,
    parameter=Parameter(name="specificity", default=WANTED_SPECIFICITY),
)
RECALL_AT_SPECIFICITY = Metric(
    name="recall_at_specificity",
    kind="probabilities",
    function=recall_at_specificity,
    header="Rec@Spec",
    classes="two",
    within_folds=True,
    influences=recall_at_specificity_influences,
    parameter=Parameter(name="specificity", default=WANTED_SPECIFICITY),
)
SPECIFICITY_AT_RECALL = Metric(
    name="specificity_at_recall",
    kind="probabilities",
    function=specificity_at_recall,
    header="Spec@Rec",
    classes="two",
    within_folds=True,
    influences=specificity_at_recall_influences,
    parameter=Parameter(name="recall", default=WANTED_RECALL),
)
