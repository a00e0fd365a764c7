"""Labels that are likely wrong, by confident learning on out-of-fold predictions, for a person to read.

An image is counted as of class j where its probability of j is at least the mean probability of j among the
images labelled j. An image that is confidently of another class than its label says is on the list, worst
first. The rule is that of cleanlab's `confident_joint` with off-diagonal images.

Source:
    Northcutt, Jiang and Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", JAIR
    70:1373.
"""

from dataclasses import dataclass

import numpy as np

from trainables.common.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """An image whose label may be wrong.

    Attributes:
        place: Place of the image among the predictions.
        label: Class that it is labelled as.
        suggested: Class that the model is confident of.
        margin: Probability of the suggested class less that of the label, in [-1, 1].
    """

    place: int
    label: int
    suggested: int
    margin: float


def label_issues(labels: IntArray, probabilities: FloatArray) -> list[LabelIssue]:
    """Return the images whose label the model confidently disagrees with, the largest margin first.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Out-of-fold probabilities in [0, 1], shape (images, classes); rows sum to 1.

    >>> sure = np.array([[0.9, 0.1]] * 3 + [[0.1, 0.9]] * 4)
    >>> [(one.place, one.suggested) for one in label_issues(np.array([0, 0, 0, 1, 1, 1, 0]), sure)]
    [(6, 1)]
    """
    classes = probabilities.shape[1]
    means = [
        float(probabilities[labels == one, one].mean()) if (labels == one).any() else np.inf
        for one in range(classes)
    ]
    confident = np.where(probabilities >= np.array(means), probabilities, -1.0)
    suggested = confident.argmax(axis=1)
    is_sure = confident.max(axis=1) >= 0.0
    own = probabilities[np.arange(len(labels)), labels]
    margins = probabilities[np.arange(len(labels)), suggested] - own
    places = np.flatnonzero(is_sure & (suggested != labels))
    order = places[np.argsort(-margins[places], kind="stable")]
    return [
        LabelIssue(int(place), int(labels[place]), int(suggested[place]), float(margins[place]))
        for place in order
    ]
