"""Influence of each patient on a single point of the ROC curve: a recall at a specificity, or the reverse.

A patient moves the point along the curve, by the threshold that keeps the specificity, and off it, by the
recall at that threshold. How far along depends on the slope of the curve, which has steps: it is taken over
the range in which the specificity is uncertain, one standard error to both sides. Leaving out one patient
would measure the height of a single step in place of the slope, and gives up to four times the standard
error.

Source:
    Woodruff (1952), "Confidence intervals for medians and other position measures", JASA 47:635, on the
    range; Pepe (2003), "The Statistical Evaluation of Medical Tests", section 5.2, on the variance.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.scores.decisions import BoolArray
from trainables.common.types import FloatArray, IntArray

_ROUNDING: Final = 1e-12


def point_influences(
    positive: BoolArray, scores: NDArray[Any], patients: IntArray, most_alarms: float
) -> FloatArray:
    """Return the influence of each patient on the recall at the most false alarms that are allowed.

    Args:
        positive: True for images of the class that is looked for, shape (images,); both kinds occur.
        scores: Score of each image, shape (images,); higher is more positive.
        patients: 0-based number of the patient of each image, shape (images,).
        most_alarms: Largest share of the negatives that may be called, in (0, 1).

    Returns:
        Shape (patients,); the sum of squares is the variance over patients.
    """
    scores = np.unique(scores, return_inverse=True)[1].reshape(-1)  # places in the ranking
    thresholds = np.arange(int(scores.max()) + 1, -1, -1)  # the first is beyond all
    alarms, recalls = (_share_reaching(thresholds, scores[own]) for own in (~positive, positive))

    def place_at(most: float) -> int:
        """Place of the lowest threshold with that many false alarms at most."""
        return int(np.searchsorted(alarms, most + _ROUNDING, side="right")) - 1

    spread = np.sqrt(most_alarms * (1 - most_alarms) / len(np.unique(patients[~positive])))
    reach = max(float(spread), 1.0 / (~positive).sum())
    low, high = place_at(max(most_alarms - reach, 0.0)), place_at(most_alarms + reach)
    high = max(high, int((alarms <= alarms[low]).sum()))  # equal scores may leave a single step to both sides
    slope = (recalls[high] - recalls[low]) / (alarms[high] - alarms[low])
    found = scores >= thresholds[place_at(most_alarms)]
    # Where so few negatives allow no false alarm, the highest of them stands for the threshold's place.
    alarm = scores >= thresholds[max(place_at(most_alarms), int((alarms == 0).sum()))]
    by_image = np.where(
        positive,
        (found - found[positive].mean()) / positive.sum(),
        -slope * (alarm - alarm[~positive].mean()) / (~positive).sum(),
    )
    return np.bincount(patients, weights=by_image, minlength=int(patients.max()) + 1).astype(np.float64)


def _share_reaching(thresholds: IntArray, scores: NDArray[Any]) -> FloatArray:
    """Share of scores that reach each threshold, shape (thresholds,)."""
    below = np.searchsorted(np.sort(scores), thresholds, side="left")
    return np.asarray(1.0 - below / len(scores))
