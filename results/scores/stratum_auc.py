"""The AUC of a part of the images, and the AUC within blocks such as sites, with its variance over patients.

Only images of the same block are compared with each other: the same fold, since the scores of two fold models
cannot be compared; and for an AUC within sites the same site. Pairs of images weigh alike, whichever block
they lie in, so that a site of three patients does not count as much as one of three hundred.

Source:
    Obuchowski (1997), Biometrics 53:567, on clusters; Janes and Pepe (2009), Biometrika 96:371, on the AUC
    that is adjusted for a covariate; Newcombe (2006), Statistics in Medicine 25:559, on the interval.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.scores.auc_interval import cluster_size, drawn_effect, hanley_mcneil, score_interval
from results.scores.cross_fitting import fewest_patients
from results.scores.decisions import ranking_scores, scored_classes
from results.scores.interval import QUANTILE, Interval
from trainables.common.errors import OneClassError
from trainables.common.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class BlockedAuc:
    """An AUC of pairs within blocks.

    Attributes:
        estimate: The AUC; of more than two classes the mean of those of each class against the rest.
        influences: Influence of each patient, shape (patients,), in sorted order of all patients' names,
            also of those that have no image here; the sum of squares is the variance.
        effect: Design effect: by how much patients with several images widen the variance.
        sizes: For each class that is scored the positives and negatives of each block, shape (blocks, 2).
        inflation: Factor by which other training parts widen the variance.
    """

    estimate: float
    influences: FloatArray
    effect: float
    sizes: tuple[IntArray, ...]
    inflation: float

    def variance(self, area: float) -> float:
        """Return the variance of the estimate if the AUC were `area`; it does not vanish at 1."""
        errors = []
        for sizes in self.sizes:
            pairs = np.prod(sizes, axis=1)
            shares = pairs / pairs.sum()
            variances = [hanley_mcneil(area, *size) for size in sizes.tolist()]
            errors.append(np.sqrt((shares**2 * variances).sum()))
        return float(np.mean(errors)) ** 2 * self.effect * self.inflation

    @property
    def interval(self) -> Interval:
        """The AUC with its 95 % interval."""
        return score_interval(
            self.estimate,
            lambda area: abs(self.estimate - area) <= QUANTILE * np.sqrt(self.variance(area)),
        )


def blocked_auc(
    labels: IntArray,
    probabilities: FloatArray,
    blocks: IntArray,
    groups: NDArray[Any],
    *,
    images: NDArray[np.bool_] | None = None,
    inflation: float = 1.0,
) -> BlockedAuc:
    """Return the AUC of images that are compared within blocks.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Class probabilities, shape (images, classes).
        blocks: Block of each image, shape (images,).
        groups: Patient of each image, shape (images,).
        images: True for the images that count, shape (images,); None for all.
        inflation: Factor by which other training parts widen the variance, see `fold_inflation`.

    Raises:
        OneClassError: If no block holds two classes.

    >>> found = blocked_auc(np.array([0, 1, 0, 1]), np.array([[1, 0], [0.5, 0.5], [0.4, 0.6], [0, 1]]),
    ...     np.array([0, 0, 1, 1]), np.array(list("abcd")))
    >>> found.estimate
    1.0
    """
    patient = np.unique(groups, return_inverse=True)[1].reshape(-1)
    chosen = np.ones(len(labels), dtype=bool) if images is None else images
    classes = [one for one in scored_classes(probabilities.shape[1]) if (labels[chosen] == one).any()]
    parts = [np.flatnonzero(chosen & (blocks == block)) for block in np.unique(blocks[chosen])]
    found = [_of_class(labels == one, ranking_scores(probabilities, one), parts) for one in classes]
    found = [one for one in found if len(one[2])]
    if not found:
        raise OneClassError(
            "an AUC needs two classes within a block, such as a fold; "
            f"none of the {len(parts)} blocks of {int(chosen.sum())} images holds them"
        )
    estimate = float(np.mean([area for area, _, _ in found]))
    by_image = np.mean([own for _, own, _ in found], axis=0)
    number = int(patient.max()) + 1
    have = len(np.unique(patient[chosen]))
    correction = float(np.sqrt(have / (have - 1))) if have > 1 else 1.0
    influences: FloatArray = np.bincount(patient, weights=by_image, minlength=number).astype(np.float64)
    influences = influences * correction
    result = BlockedAuc(estimate, influences, 1.0, tuple(sizes for _, _, sizes in found), 1.0)
    return BlockedAuc(
        estimate, influences, _effect(result, labels[chosen], groups[chosen]), result.sizes, inflation
    )


def _of_class(
    is_positive: NDArray[np.bool_], scores: NDArray[Any], parts: list[IntArray]
) -> tuple[float, FloatArray, IntArray]:
    """AUC of a class against the rest, influence of each image, and sizes of the blocks that have pairs."""
    wins, pairs = np.zeros(len(scores)), np.zeros(len(scores))
    sizes = []
    for part in parts:
        positives, negatives = part[is_positive[part]], part[~is_positive[part]]
        if not len(positives) or not len(negatives):
            continue
        sizes.append((len(positives), len(negatives)))
        wins[positives] = _wins(np.sort(scores[negatives]), scores[positives])
        wins[negatives] = len(positives) - _wins(np.sort(scores[positives]), scores[negatives])
        pairs[positives], pairs[negatives] = len(negatives), len(positives)
    total = pairs[is_positive].sum()
    if not total:
        return 0.0, pairs, np.zeros((0, 2), dtype=np.int64)
    area = float(wins[is_positive].sum() / total)
    return area, (wins - area * pairs) / total, np.array(sizes)


def _wins(ordered: NDArray[Any], scores: NDArray[Any]) -> FloatArray:
    """Number of ordered values below each score; equal ones count one half."""
    left, right = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    return np.asarray((left + right) / 2.0)


def _effect(found: BlockedAuc, labels: IntArray, groups: NDArray[Any]) -> float:
    cluster, model = cluster_size(groups), found.variance(found.estimate)
    if model < 1e-12:
        return cluster
    measured = float((found.influences**2).sum()) / model
    return max(drawn_effect(measured, fewest_patients(labels, groups), cluster), 1.0 / len(found.sizes))
