"""Free-response ROC: lesions that are found, against false marks an image.

Source:
    Bandos, Rockette, Song and Gur (2009), Area under the free-response ROC curve, Biometrics 65.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from results.errors import ScoreError
from results.relevance.frame import Frame
from results.relevance.method import FoundBox
from trainables.common.types import Float64Array

AT: Final = (0.25, 0.5, 1.0, 2.0, 4.0)  # false marks an image at which sensitivity is told


@dataclass(frozen=True, slots=True)
class Froc:
    """A free-response curve over some images.

    Attributes:
        lesions: Number of lesions.
        images: Number of images.
        false_marks: False marks an image at each threshold, ascending, shape (thresholds,).
        sensitivity: Share of the lesions that are marked, shape (thresholds,).
    """

    lesions: int
    images: int
    false_marks: Float64Array
    sensitivity: Float64Array

    def sensitivity_at(self, false_marks: float) -> float:
        """Return the share of lesions that are marked at no more than so many false marks an image."""
        reached = self.sensitivity[self.false_marks <= false_marks]
        return float(reached.max()) if len(reached) else 0.0


def froc(marks: Sequence[Sequence[FoundBox]], lesions: Sequence[Sequence[Frame]]) -> Froc:
    """Compute the curve; a lesion is marked by a box that holds its centre, or whose centre it holds.

    Args:
        marks: Boxes with their scores, for each image.
        lesions: Lesions of each image; an image without one is healthy.

    Raises:
        ScoreError: If no image has a lesion.

    >>> lesion, elsewhere = Frame(10, 10, 10, 10), Frame(60, 60, 10, 10)
    >>> marks = [[FoundBox(elsewhere, 0.9), FoundBox(lesion, 0.8)], []]
    >>> curve = froc(marks, [[lesion], []])
    >>> curve.sensitivity_at(0.25), curve.sensitivity_at(0.5)
    (0.0, 1.0)
    """
    number = sum(map(len, lesions))
    if number == 0:
        raise ScoreError("a free-response curve needs images with boxes of lesions, found none")
    false = [
        mark.score
        for own, known in zip(marks, lesions, strict=True)
        for mark in own
        if not any(_is_marked(lesion, mark.box) for lesion in known)
    ]
    best = [
        max((mark.score for mark in own if _is_marked(lesion, mark.box)), default=-np.inf)
        for own, known in zip(marks, lesions, strict=True)
        for lesion in known
    ]
    thresholds = np.unique(np.array([*false, *(score for score in best if np.isfinite(score))]))[::-1]
    wrong = np.array([sum(score >= one for score in false) for one in thresholds], dtype=np.float64)
    right = np.array([sum(score >= one for score in best) for one in thresholds], dtype=np.float64)
    return Froc(number, len(marks), wrong / len(marks), right / number)


def _is_marked(lesion: Frame, box: Frame) -> bool:
    middle = (lesion.top + lesion.height / 2, lesion.left + lesion.width / 2)
    own = (box.top + box.height / 2, box.left + box.width / 2)
    return box.holds(*middle) or lesion.holds(*own)
