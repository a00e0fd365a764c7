"""Intervals of the metrics that judge decisions, for a model that stays as it is.

Shares of one class, such as recall, have Wilson's interval on the effective number of images: images of a
patient are not independent. All other metrics are functions of several shares: theirs is the middle 95 % of
confusion matrices, drawn for each true class from its posterior on effective numbers too. How common the
classes are is drawn as well: F1, kappa and others depend on it, and other patients would bring other numbers.
Neither collapses to a point where a few decisions are all right, and a class with two patients is as
uncertain as it should be.

Source:
    Wilson (1927); Brown, Cai and DasGupta (2001), Statistical Science 16:101; Goutte and Gaussier (2005),
    ECIR.
"""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.scores.auc_interval import cluster_size
from results.scores.decisions import confusion, scored_classes
from results.scores.interval import QUANTILE, Interval
from results.scores.metric import Metric
from results.scores.metrics import STANDARD, average_precision
from trainables.common.types import FloatArray, IntArray

_DRAWS: Final = 2000
_PRIOR_PATIENTS: Final = 3  # at which the measured design effect of a share counts half
_IMAGINED: Final = 1.0  # cases of each true class, of which half are right; of two classes Jeffreys' prior


def wilson_interval(share: float, effective_number: float) -> Interval:
    """Return a share with its 95 % score interval.

    Args:
        share: Share that was found, in [0, 1].
        effective_number: Number of independent cases, positive; need not be whole.

    >>> print(wilson_interval(1.0, 5))
    1.00 [0.57, 1.00]
    """
    squared = QUANTILE**2
    middle = (share + squared / (2 * effective_number)) / (1 + squared / effective_number)
    spread = share * (1 - share) / effective_number + squared / (4 * effective_number**2)
    margin = QUANTILE * np.sqrt(spread) / (1 + squared / effective_number)
    low, high = max(0.0, middle - margin), min(1.0, middle + margin)
    # Rounding must not put an end on the wrong side of the share itself.
    return Interval(share, min(float(low), share), max(float(high), share))


def effective_number(is_right: NDArray[np.bool_], groups: NDArray[Any]) -> float:
    """Return how many independent images a share is worth.

    Args:
        is_right: What the share counts, for each of its images, shape (images,), at least one.
        groups: Patient of each image, shape (images,).

    Returns:
        Number of images divided by the design effect of patients, which lies between 1 and the mean number of
        images of a patient. What is measured is drawn towards the latter by the weight of three patients,
        since few patients tell little; the latter holds where all images agree and nothing can be measured.
    """
    share, cluster, number = float(is_right.mean()), cluster_size(groups), len(is_right)
    if share in (0.0, 1.0):
        return number / cluster
    patients = np.unique(groups, return_inverse=True)[1]
    residuals = np.bincount(patients, weights=is_right - share)
    count = len(residuals)
    variance = (residuals**2).sum() * count / max(count - 1, 1)
    measured = float(np.clip(variance / (number * share * (1 - share)), 1.0, cluster))
    telling = number / cluster  # patients of equal size that tell as much
    effect = (telling * measured + _PRIOR_PATIENTS * cluster) / (telling + _PRIOR_PATIENTS)
    return number / effect


def drawn_share(
    is_right: NDArray[np.bool_],
    groups: NDArray[Any],
    random: np.random.Generator,
    *,
    draws: int,
    inflation: float = 1.0,
) -> FloatArray:
    """Return draws of a share from its posterior on the effective number of images, by Jeffreys' prior.

    Args:
        is_right: What the share counts, for each of its images, shape (images,), at least one.
        groups: Patient of each image, shape (images,).
        random: Source of randomness.
        draws: Number of draws.
        inflation: Factor by which other training parts widen a variance, see `fold_inflation`.

    Returns:
        Shares in [0, 1], shape (draws,).

    Source:
        Brown, Cai and DasGupta (2001), Statistical Science 16:101.
    """
    share, number = float(is_right.mean()), effective_number(is_right, groups) / inflation
    return random.beta(share * number + 0.5, (1 - share) * number + 0.5, size=draws)


def middle_interval(estimate: float, draws: FloatArray) -> Interval:
    """Return an estimate with the middle 95 % of its draws, widened to hold the estimate itself.

    Args:
        estimate: The estimate.
        draws: Draws of it, shape (draws,).

    >>> print(middle_interval(0.5, np.linspace(0.0, 1.0, 201)))
    0.50 [0.03, 0.97]
    """
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(estimate, min(float(low), estimate), max(float(high), estimate))


def decision_intervals(
    labels: IntArray,
    decided: IntArray,
    groups: NDArray[Any],
    *,
    classes: int,
    seed: int,
    metrics: Iterable[Metric] = tuple(STANDARD.values()),
    inflation: float = 1.0,
) -> dict[str, Interval]:
    """Return metrics that judge decisions with their 95 % intervals.

    Args:
        labels: Class indices, shape (images,).
        decided: Decided classes, shape (images,).
        groups: Patient of each image, shape (images,).
        classes: Number of classes.
        seed: Random seed of the drawn matrices.
        metrics: Metrics; those that do not judge decisions are left out.
        inflation: Factor by which a variance is larger than that of a model that stays as it is; see
            `fold_inflation`.
    """
    matrix = confusion(labels, decided, classes)
    drawn = _drawn_matrices(labels, decided, groups, classes, seed, inflation)
    found = {}
    for metric in metrics:
        if metric.judges_decisions:
            name, estimate = metric.name, float(metric(matrix))
            counted = _SHARES[name](labels, decided) if classes == 2 and name in _SHARES else None
            if counted is not None and counted[0].any():
                base, is_right = counted
                number = effective_number(is_right[base], groups[base]) / inflation
                found[name] = wilson_interval(estimate, number)
            else:
                found[name] = middle_interval(estimate, metric(drawn))
    return found


def average_precision_interval(labels: IntArray, probabilities: FloatArray, groups: NDArray[Any]) -> Interval:
    """Return the average precision with its 95 % interval: a share of the positive patients.

    More than two classes count as the smallest of them.

    Source:
        Boyd, Eng and Page (2013), ECML PKDD: a binomial interval covers best.
    """
    classes = scored_classes(probabilities.shape[1])
    patients = [len(np.unique(groups[labels == one])) for one in classes if (labels == one).any()]
    return wilson_interval(average_precision(labels, probabilities), min(patients))


# Each gives the images that a share is taken of, and which of them it counts.
_SHARES: Final = {
    "accuracy": lambda labels, decided: (np.ones_like(labels, dtype=bool), labels == decided),
    "recall": lambda labels, decided: (labels == 1, decided == 1),
    "precision": lambda labels, decided: (decided == 1, labels == 1),
    "specificity": lambda labels, decided: (labels == 0, decided == 0),
}


def _drawn_matrices(
    labels: IntArray,
    decided: IntArray,
    groups: NDArray[Any],
    classes: int,
    seed: int,
    inflation: float,
) -> FloatArray:
    """Drawn confusion matrices, shape (draws, classes, classes).

    Drawn are the shares of the decisions within each true class that has images, and those of these classes.
    """
    random = np.random.default_rng(seed)
    drawn = np.zeros((_DRAWS, classes, classes))
    found = np.unique(labels)
    for label in found:
        own = labels == label
        counts = np.bincount(decided[own], minlength=classes)
        number = effective_number(decided[own] == label, groups[own]) / inflation
        imagined = _imagined(label, classes)
        drawn[:, label] = random.dirichlet(counts * number / own.sum() + imagined, size=_DRAWS)
    # How common a class is does not depend on the training parts.
    number = min(effective_number(labels == label, groups) for label in found)
    shares = np.bincount(labels, minlength=classes)[found] / len(labels)
    drawn_shares = random.dirichlet(shares * number + _IMAGINED / len(found), size=_DRAWS)
    drawn[:, found] *= drawn_shares[:, :, None] * len(labels)
    return drawn


def _imagined(label: int, classes: int) -> FloatArray:
    """Imagined cases of a true class by their decision, shape (classes,): half right, the others spread."""
    found = np.full(classes, _IMAGINED / 2 / max(classes - 1, 1))
    found[label] = _IMAGINED / 2
    return found
