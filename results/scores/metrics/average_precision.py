"""Average precision, the area under the precision-recall steps."""

import numpy as np

from results.scores.decisions import check_two_classes, counts_by_score, ranking_scores, scored_classes
from results.scores.left_out import left_out_of_counts
from results.scores.metric import Metric
from trainables.common.types import FloatArray, IntArray


def average_precision(labels: IntArray, probabilities: FloatArray) -> float:
    """Area under the precision-recall steps: sum of precision times the gain in recall.

    Classes without a case are left out of the macro mean.

    Raises:
        OneClassError: If `labels` holds a single class.
    """
    check_two_classes(labels, "average precision")
    values = []
    for index in _classes_with_cases(labels, probabilities):
        counts = counts_by_score(labels == index, ranking_scores(probabilities, index))
        values.append(float(_of_counts(counts.positives, counts.total - counts.positives)))
    return float(np.mean(values))


def average_precision_influences(
    labels: IntArray, probabilities: FloatArray, patients: IntArray
) -> FloatArray:
    """Influence of each patient on the average precision, by leaving it out, shape (patients,).

    Args:
        labels: Class indices, shape (images,).
        probabilities: Class probabilities, shape (images, classes).
        patients: 0-based number of the patient of each image, shape (images,).
    """
    found = [
        left_out_of_counts(_of_counts, labels == index, ranking_scores(probabilities, index), patients)
        for index in _classes_with_cases(labels, probabilities)
    ]
    return np.asarray(np.mean(found, axis=0))


def _classes_with_cases(labels: IntArray, probabilities: FloatArray) -> list[int]:
    return [index for index in scored_classes(probabilities.shape[-1]) if (labels == index).any()]


def _of_counts(positives: IntArray, negatives: IntArray) -> FloatArray:
    """Average precision of counts at ascending scores, shape (..., scores) to (...)."""
    gain = positives[..., ::-1]
    found = np.cumsum(gain, axis=-1)
    called = found + np.cumsum(negatives[..., ::-1], axis=-1)
    precision = found / np.maximum(called, 1)
    return np.asarray((gain * precision).sum(axis=-1) / np.maximum(found[..., -1], 1))


AVERAGE_PRECISION = Metric(
    name="average_precision",
    kind="probabilities",
    function=average_precision,
    header="AP",
    within_folds=True,
    influences=average_precision_influences,
    is_standard=True,
    place=10,
)
