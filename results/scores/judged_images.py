"""Images with what a model said of them, whose scores are asked for part by part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.run.records import OutOfFold
from results.scores.auc_interval import fold_inflation
from results.scores.decision_intervals import average_precision_interval
from results.scores.decision_rule import OWN_THRESHOLD
from results.scores.interval import Interval
from results.scores.metric_interval import metric_interval
from results.scores.strata_columns import BoolArray
from results.scores.stratum_auc import BlockedAuc, blocked_auc
from trainables.common.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class JudgedImages:
    """Images with what a model said of them, by itself or out of fold.

    Attributes:
        labels: Class indices, shape (images,).
        scores: Class probabilities that rank images of one block, shape (images, classes).
        probabilities: Calibrated class probabilities at the prevalence of these images, which are compared
            with their labels, shape (images, classes).
        decided: Decided classes, shape (images,).
        blocks: Fold of each image, shape (images,); all 0 for a model that saw none of them.
        groups: Patient of each image, shape (images,).
        varying_parts: Number of parts by which scores vary, see `OutOfFold.varying_parts`; 1 for none.
        decided_for: Metric -> decided classes, shape (images,), where it has a threshold of its own.
    """

    labels: IntArray
    scores: FloatArray
    probabilities: FloatArray
    decided: IntArray
    blocks: IntArray
    groups: NDArray[Any]
    varying_parts: int = 1
    decided_for: Mapping[str, IntArray] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.probabilities.shape[1])

    @property
    def inflation(self) -> float:
        """Factor by which other training parts widen a variance."""
        return fold_inflation(self.varying_parts)

    def decided_by(self, metric: str) -> IntArray | None:
        """Return the decisions that a metric judges, as in the model's own scores; None where not known."""
        found = self.decided_for.get(metric)
        is_another = found is None and metric in OWN_THRESHOLD and self.classes == 2
        return None if is_another else self.decided if found is None else found

    def auc(self, images: BoolArray, blocks: IntArray | None = None) -> BlockedAuc:
        """Return the AUC of some images, of shape (images,), within their folds or within other blocks."""
        own = self.blocks if blocks is None else blocks
        return blocked_auc(
            self.labels, self.scores, own, self.groups, images=images, inflation=self.inflation
        )

    def average_precision(self, images: BoolArray, seed: int) -> Interval:
        """Return the mean over folds of the average precision of some images, of shape (images,)."""
        labels, scores, groups = self.labels[images], self.scores[images], self.groups[images]
        if len(np.unique(self.blocks)) == 1:
            return average_precision_interval(labels, scores, groups)
        own = OutOfFold(
            np.arange(len(labels)), labels, self.blocks[images], groups, scores, self.varying_parts
        )
        return metric_interval(own, "average_precision", ["average_precision"], seed=seed)
