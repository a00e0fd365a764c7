"""Shares that depend on how common the finding is, at another prevalence than that of the images."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.scores.decision_intervals import drawn_share, middle_interval
from results.scores.interval import Interval
from trainables.common.types import FloatArray, IntArray

_DRAWS: Final = 4000


def rates_at_prevalence(
    labels: IntArray, decided: IntArray, groups: NDArray[Any], prevalence: float, *, seed: int
) -> dict[str, Interval]:
    """Return predictive values and recall rate at a prevalence, with their 95 % intervals over patients.

    Sensitivity and specificity are taken as they are here. Their uncertainty is that of a share of the
    effective number of images, by Jeffreys' prior.

    Args:
        labels: Labels, 0 or 1, shape (images,); both occur.
        decided: Decided classes, 0 or 1, shape (images,).
        groups: Patient of each image, shape (images,).
        prevalence: Share of positives, in (0, 1).
        seed: Random seed of the intervals.

    Returns:
        `ppv`, `npv` and `recall_rate`.

    Source:
        Brown, Cai and DasGupta (2001), Statistical Science 16:101.

    >>> labels, decided = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    >>> round(rates_at_prevalence(labels, decided, np.arange(4), 0.01, seed=0)["ppv"].estimate, 4)
    0.0198
    """
    random = np.random.default_rng(seed)
    shares, drawn = [], []
    for label in (1, 0):
        own = labels == label
        is_right = decided[own] == label
        shares.append(float(is_right.mean()))
        drawn.append(drawn_share(is_right, groups[own], random, draws=_DRAWS))
    estimates = _rates(np.array([shares[0]]), np.array([shares[1]]), prevalence)
    spread = _rates(drawn[0], drawn[1], prevalence)
    return {name: middle_interval(float(estimates[name][0]), values) for name, values in spread.items()}


def _rates(sensitivity: FloatArray, specificity: FloatArray, prevalence: float) -> dict[str, FloatArray]:
    found, alarms = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
    passed, missed = (1 - prevalence) * specificity, prevalence * (1 - sensitivity)
    called, rest = found + alarms, passed + missed
    return {
        "ppv": np.divide(found, called, out=np.zeros_like(found), where=called > 0),
        "npv": np.divide(passed, rest, out=np.zeros_like(found), where=rest > 0),
        "recall_rate": called,
    }
