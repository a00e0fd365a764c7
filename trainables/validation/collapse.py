"""Collapse: a model that gives every image the same score, such as one whose units have all died."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_NEARLY_ALL: Final = 0.99  # share of the images that have one score
_AT_MOST: Final = 0.95  # share of the largest class up to which "nearly all" counts as all
_TOLERANCE: Final = 1e-4  # of logits: between dead nets and the flattest that rank, see docs/adr/0012
_SMALLEST: Final = 1e-38  # probability; about the smallest normal number in single precision


def is_collapsed(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> bool:
    """True if all images have the same score, or 99 % have while no class holds more than 95 % of them.

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
    return bool(is_same.all() or (is_mixed and is_same.mean() >= _NEARLY_ALL))
