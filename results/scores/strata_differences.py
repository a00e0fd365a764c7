"""Which strata differ from the rest of their column, with all comparisons of a set corrected together.

A test asks how surprising the difference is if both parts had the same score, so its variance is that at the
common score: it does not vanish where a few decisions are all right. Patients with images in both parts are
taken as different ones, which makes the test cautious. The correction is Holm's: no difference is found in
95 % of sets that have none.

Source:
    Holm (1979), Scandinavian Journal of Statistics 6:65; Hanley and McNeil (1982), Radiology 143:29.
"""

import contextlib
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np

from results.scores.decision_intervals import effective_number
from results.scores.interval import QUANTILE
from results.scores.judged_images import JudgedImages
from results.scores.multiple_tests import holm
from results.scores.strata_columns import BoolArray, Part
from results.scores.strata_records import Difference, Stratum
from results.scores.stratum_auc import BlockedAuc
from trainables.common.errors import OneClassError

_USUAL_AUC: Final = 0.75  # at which the weights of two AUCs are taken, so that a perfect one does not rule


def differences_of_parts(
    judged: JudgedImages, parts: Sequence[Part], least: int
) -> list[tuple[Difference, ...]]:
    """Compare each stratum with the other images of its column; two strata of a column are compared once.

    Args:
        judged: The images and what a model said of them.
        parts: All strata of the set, column by column.
        least: Patients of a class, of both sides, that a score which counts that class needs.

    Returns:
        Differences of each part, in order of the parts.
    """
    tested = [
        [] if _is_mirror(parts, place) else _differences(judged, part, _rest(part, parts), least)
        for place, part in enumerate(parts)
    ]
    adjusted = iter(holm([one.p_value for own in tested for one in own]))
    found: list[tuple[Difference, ...]] = []
    for place, own in enumerate(tested):
        if _is_mirror(parts, place):
            found.append(tuple(one.turned() for one in found[-1]))
        else:
            found.append(tuple(one.model_copy(update={"adjusted": next(adjusted)}) for one in own))
    return found


def _is_mirror(parts: Sequence[Part], place: int) -> bool:
    """True for the second of two strata: its differences are those of the first with the other sign."""
    own = [one for one in parts if one.column == parts[place].column]
    return len(own) == 2 and own[1] is parts[place]


def number_of_tests(strata: Sequence[Stratum]) -> int:
    """Return how many comparisons were corrected for: one of the two of a column of two strata."""
    by_column: dict[str, list[int]] = {}
    for one in strata:
        by_column.setdefault(one.column, []).append(len(one.differences))
    return sum(own[0] if len(own) == 2 else sum(own) for own in by_column.values())


def _rest(part: Part, parts: Sequence[Part]) -> BoolArray:
    """The images of the other strata of a column."""
    others = [one.images for one in parts if one.column == part.column and one.value != part.value]
    return np.asarray(np.any(others, axis=0) & ~part.images)


def _differences(judged: JudgedImages, part: Part, rest: BoolArray, least: int) -> list[Difference]:
    """Comparisons of a stratum with the rest, for the scores that enough patients of both tell."""
    sides, found = (part.images, rest), []
    patients = [
        [len(np.unique(judged.groups[side & (judged.labels == label)])) for label in range(judged.classes)]
        for side in sides
    ]
    if min(map(min, patients)) >= least:
        with contextlib.suppress(OneClassError):  # no fold of a side has images of two classes
            found.append(_auc_difference(*map(judged.auc, sides)))
    if judged.classes == 2:
        for metric, label in (("recall", 1), ("specificity", 0)):
            if min(counts[label] for counts in patients) >= least:
                own, other = (side & (judged.labels == label) for side in sides)
                found.append(_share_difference(judged, metric, label, own, other))
    return found


def _auc_difference(own: BlockedAuc, rest: BlockedAuc) -> Difference:
    weights = [1 / one.variance(_USUAL_AUC) for one in (own, rest)]
    common = (weights[0] * own.estimate + weights[1] * rest.estimate) / sum(weights)
    value = own.estimate - rest.estimate
    at_common = float(np.sqrt(own.variance(common) + rest.variance(common)))
    return _difference("auc", value, at_common)


def _share_difference(
    judged: JudgedImages, metric: str, label: int, own: BoolArray, rest: BoolArray
) -> Difference:
    """Difference of two shares; the variance is at the common share, drawn a little towards one half."""
    is_right = judged.decided == label
    numbers = [effective_number(is_right[one], judged.groups[one]) / judged.inflation for one in (own, rest)]
    shares = [float(is_right[one].mean()) for one in (own, rest)]
    hits = sum(share * number for share, number in zip(shares, numbers, strict=True))
    common = (hits + 1) / (sum(numbers) + 2)
    error = float(np.sqrt(common * (1 - common) * sum(1 / number for number in numbers)))
    return _difference(metric, shares[0] - shares[1], error)


def _difference(metric: str, value: float, error: float) -> Difference:
    p_value = 2 * NormalDist().cdf(-abs(value) / error) if error > 0 else 1.0
    margin = QUANTILE * error
    return Difference(metric=metric, value=value, low=value - margin, high=value + margin, p_value=p_value)
