"""Average precision, the area under the precision-recall steps."""

import numpy as np

from results.scores.decisions import check_two_classes, counts_by_score, scored_classes
from results.scores.metric import Metric
from trainables.common.types import FloatArray, IntArray


def average_precision(labels: IntArray, probabilities: FloatArray) -> float:
    """Area under the precision-recall steps: sum of precision times the gain in recall.

    Raises:
        OneClassError: If `labels` holds a single class.
    """
    check_two_classes(labels, "average precision")
    values = []
    for index in scored_classes(probabilities.shape[-1]):
        counts = counts_by_score(labels == index, probabilities[:, index])
        found, called = np.cumsum(counts.positives[::-1]), np.cumsum(counts.total[::-1])
        gain = np.diff(found, prepend=0)
        values.append(float((gain * found / called).sum() / max(int(found[-1]), 1)))
    return float(np.mean(values))


AVERAGE_PRECISION = Metric(
    name="average_precision",
    kind="probabilities",
    function=average_precision,
    header="AP",
    within_folds=True,
    is_standard=True,
    place=10,
)
