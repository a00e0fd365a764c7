"""Collapse: a model that predicts one class for nearly every image, a failure that accuracy hides."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_NEARLY_ALL: Final = 0.99  # share of the images that are predicted as one class
_AT_MOST: Final = 0.95  # share of the images that truly belong to it


def is_collapsed(labels: NDArray[np.int64], called: NDArray[np.int64]) -> bool:
    """True if all images are predicted as one class, or 99 % are, of which at most 95 % belong to it.

    Args:
        labels: True class indices, shape (images,).
        called: Predicted class indices, shape (images,).

    >>> labels = np.array([0] * 700 + [1] * 300)
    >>> is_collapsed(labels, np.zeros(1000, dtype=int))
    True
    >>> is_collapsed(labels, (np.arange(1000) % 200 == 0).astype(int))
    True
    >>> is_collapsed(labels, labels)
    False
    """
    counts = np.bincount(called)
    most = int(counts.argmax())
    if counts[most] == len(called):
        return True
    is_nearly_all = counts[most] >= _NEARLY_ALL * len(called)
    return bool(is_nearly_all and np.mean(labels == most) <= _AT_MOST)
