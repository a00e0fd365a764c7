"""The worst mistakes of a model: held-out images that it is surest of, and wrong about."""

import numpy as np

from trainables.common.types import FloatArray, IntArray


def worst_places(labels: IntArray, probabilities: FloatArray, number: int) -> IntArray:
    """Return the places of the images whose own class has the lowest probability.

    Misses and false alarms take turns, so that one class does not fill the list: the first image is the worst
    of the last class, the second the worst of the class before it, and so on.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Probabilities of images that the model did not train on, shape (images, classes).
        number: Number of images.

    Returns:
        Places, shape (at most `number`,).

    >>> p = np.array([0.9, 0.2, 0.6, 0.1])
    >>> worst_places(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), 3).tolist()
    [3, 0, 2]
    """
    own = probabilities[np.arange(len(labels)), labels]
    by_class = [
        places[np.argsort(own[places], kind="stable")]
        for label in reversed(range(probabilities.shape[1]))
        if len(places := np.flatnonzero(labels == label))
    ]
    turns = [
        int(places[turn])
        for turn in range(max(map(len, by_class)))
        for places in by_class
        if turn < len(places)
    ]
    return np.array(turns[:number], dtype=np.int64)
