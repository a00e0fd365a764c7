"""Collapse: a model that gives every image the same score and ranks none, as one whose units have died."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_NEARLY_ALL: Final = 0.99  # share of the images that have one score
_AT_MOST: Final = 0.95  # share of the largest class up to which "nearly all" counts as all
_TOLERANCE: Final = 1e-4  # of logits: between dead nets and the flattest that rank, see docs/adr/0012
_BY_CHANCE: Final = 2.0  # standard errors above 0.5 that the AUC of scores without meaning reaches
_ROUNDING: Final = 2e-6  # of logits: dead folds spread by up to 5e-7, which ranks nothing
_SMALLEST: Final = 1e-38  # probability; about the smallest normal number in single precision


def is_collapsed(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> bool:
    """True if all images have the same score and it ranks none of them better than chance.

    99 % of the images are enough where no class holds more than 95 % of them. Scores that differ by next to
    nothing may still rank: a head with a strong penalty stays near the prevalence of each class.

    Scores are the same if their logits lie within 0.0001 of the middle one, in every class. Which side of one
    half they lie on does not matter: a model of a rare class can rank well, and be calibrated, while it calls
    no image positive. Where one class holds nearly all images, the few others may rightly differ.

    Args:
        labels: True class indices, shape (images,).
        probabilities: Class probabilities, shape (images, classes); with numbers that are not finite, which
            are another fault, the answer is False.

    >>> labels, calibrated = np.array([0] * 54 + [1] * 6), np.linspace(0.02, 0.45, 60)
    >>> is_collapsed(labels, np.stack([1 - calibrated, calibrated], axis=1))
    False
    >>> is_collapsed(labels, np.full((60, 2), 0.5))
    True
    """
    if not np.isfinite(probabilities).all():
        return False
    logs = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    logits = logs - logs.mean(axis=1, keepdims=True)
    is_same = (np.abs(logits - np.median(logits, axis=0)) <= _TOLERANCE).all(axis=1)
    is_mixed = np.bincount(labels).max() <= _AT_MOST * len(labels)
    is_flat = is_same.all() or (is_mixed and is_same.mean() >= _NEARLY_ALL)
    if not is_flat:
        return False
    return not ranks_beyond_chance(labels, np.round((logits - np.median(logits, axis=0)) / _ROUNDING))


def ranks_beyond_chance(labels: NDArray[np.int64], scores: NDArray[np.floating]) -> bool:
    """True if the scores of some class rank its images above the others by more than chance allows.

    The AUC of one class against the rest is compared with 0.5 and two standard errors of scores that know
    nothing of the labels, sqrt((n + 1) / (12 n1 n0)), without a correction for ties.

    Args:
        labels: True class indices, shape (images,).
        scores: Scores of each class, larger for more likely ones, shape (images, classes).

    Source:
        Mann and Whitney (1947), "On a test of whether one of two random variables is stochastically larger".

    >>> labels = np.array([0] * 30 + [1] * 30)
    >>> ranks_beyond_chance(labels, np.stack([-labels, labels], axis=1) * 1e-6)
    True
    >>> ranks_beyond_chance(labels, np.zeros((60, 2)))
    False
    """
    images = len(labels)
    for index in range(scores.shape[1]):
        is_own = labels == index
        own = int(is_own.sum())
        others = images - own
        if own == 0 or others == 0:
            continue
        _, places, counts = np.unique(scores[:, index], return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # the mean rank of ties, 1-based
        area = (ranks[is_own].sum() - own * (own + 1) / 2) / (own * others)
        if area > 0.5 + _BY_CHANCE * np.sqrt((images + 1) / (12 * own * others)):
            return True
    return False
