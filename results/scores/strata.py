"""For whom a model fails: its scores in every stratum of the columns, and which differ from the rest.

Each stratum is compared with the other images of its column, by AUC, recall and specificity. All comparisons
of a set are corrected together by Holm's method, so that none is found in 95 % of sets without differences. A
score that counts a class of which a stratum has fewer patients than the minimum is not given.

A test asks how surprising the difference is if both parts had the same score, so its variance is that at the
common score: it does not vanish where a few decisions are all right. Patients with images in both parts are
taken as different ones, which makes the test cautious.

Source:
    Holm (1979), Scandinavian Journal of Statistics 6:65; Hanley and McNeil (1982), Radiology 143:29.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from results.run.records import OutOfFold
from results.scores.auc_interval import fold_inflation
from results.scores.decision_intervals import (
    average_precision_interval,
    decision_intervals,
    effective_number,
)
from results.scores.decision_rule import OWN_THRESHOLD
from results.scores.interval import QUANTILE, Interval
from results.scores.metric_interval import metric_interval, pooled_interval
from results.scores.metrics import STANDARD
from results.scores.metrics.probability_errors import IMAGE_ERRORS
from results.scores.multiple_tests import holm
from results.scores.strata_columns import SITES, BoolArray, Part, parts_of_columns
from results.scores.stratum_auc import BlockedAuc, blocked_auc
from trainables.common.frozen import FrozenModel
from trainables.common.text import count_text
from trainables.common.types import FloatArray, IntArray
from trainables.data.columns import Columns
from trainables.data.group_names import GroupUnit, group_unit

LEAST_PATIENTS: Final = 10  # of each class that a score of a stratum needs
_USUAL_AUC: Final = 0.75  # at which the weights of two AUCs are taken, so that a perfect one does not rule
ALPHA: Final = 0.05  # chance that any difference is found where there is none


@dataclass(frozen=True, slots=True)
class JudgedImages:
    """Images with what a model said of them, by itself or out of fold.

    Attributes:
        labels: Class indices, shape (images,).
        scores: Class probabilities that rank images of one block, shape (images, classes).
        probabilities: Calibrated class probabilities at the prevalence of these images, which are compared
            with their labels, shape (images, classes).
        decided: Decided classes, shape (images,).
        blocks: Fold of each image, shape (images,); all 0 for a model that saw none of them.
        groups: Patient of each image, shape (images,).
        varying_parts: Number of parts by which scores vary, see `OutOfFold.varying_parts`; 1 for none.
        decided_for: Metric -> decided classes, shape (images,), where it has a threshold of its own.
    """

    labels: IntArray
    scores: FloatArray
    probabilities: FloatArray
    decided: IntArray
    blocks: IntArray
    groups: NDArray[Any]
    varying_parts: int = 1
    decided_for: Mapping[str, IntArray] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.probabilities.shape[1])

    @property
    def inflation(self) -> float:
        """Factor by which other training parts widen a variance."""
        return fold_inflation(self.varying_parts)

    def decided_by(self, metric: str) -> IntArray | None:
        """Return the decisions that a metric judges, as in the model's own scores; None where not known."""
        found = self.decided_for.get(metric)
        is_another = found is None and metric in OWN_THRESHOLD and self.classes == 2
        return None if is_another else self.decided if found is None else found

    def auc(self, images: BoolArray, blocks: IntArray | None = None) -> BlockedAuc:
        """Return the AUC of some images, of shape (images,), within their folds or within other blocks."""
        own = self.blocks if blocks is None else blocks
        return blocked_auc(
            self.labels, self.scores, own, self.groups, images=images, inflation=self.inflation
        )

    def average_precision(self, images: BoolArray, seed: int) -> Interval:
        """Return the mean over folds of the average precision of some images, of shape (images,)."""
        labels, scores, groups = self.labels[images], self.scores[images], self.groups[images]
        if len(np.unique(self.blocks)) == 1:
            return average_precision_interval(labels, scores, groups)
        own = OutOfFold(
            np.arange(len(labels)), labels, self.blocks[images], groups, scores, self.varying_parts
        )
        return metric_interval(own, "average_precision", ["average_precision"], seed=seed)


class Difference(FrozenModel):
    """A score of a stratum minus that of the other images of its column.

    Attributes:
        metric: `auc`, `recall` or `specificity`.
        value: The difference; `low` and `high` are the ends of its 95 % interval, not corrected.
        p_value: Chance of a difference this large where there is none.
        adjusted: The same, corrected for all comparisons of the set.
    """

    metric: str
    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    p_value: FiniteFloat
    adjusted: FiniteFloat = 1.0

    @property
    def is_found(self) -> bool:
        """True if the data show a difference."""
        return self.adjusted <= ALPHA

    def turned(self) -> "Difference":
        """Return the same difference as the other part has it."""
        return self.model_copy(update={"value": -self.value, "low": -self.high, "high": -self.low})


class Stratum(FrozenModel):
    """The scores of one stratum.

    Attributes:
        column: Name of the column.
        value: Value of the column, or a range of it.
        images: Number of images.
        patients: Number of patients.
        counts: Class -> number of its images.
        fewest_patients: Patients of the smallest class of the task.
        metrics: Metric -> value with its interval, for those that enough patients tell.
        observed: Share of images of the positive class; None beyond two classes.
        expected: Mean probability of the positive class; None beyond two classes.
        differences: Comparisons with the other images of the column.
        reason: Why scores are missing; empty where none is.
    """

    column: str
    value: str
    images: int
    patients: int
    counts: dict[str, int]
    fewest_patients: int
    metrics: dict[str, Interval]
    observed: FiniteFloat | None = None
    expected: FiniteFloat | None = None
    differences: tuple[Difference, ...] = ()
    reason: str = ""

    @property
    def name(self) -> str:
        """Column and value."""
        return f"{self.column} {self.value}"


class WithinSites(FrozenModel):
    """The AUC of pairs from the same site, beside that of all pairs.

    Attributes:
        column: Column that names the sites.
        pooled: AUC of all pairs, with its interval.
        within: AUC of pairs from the same site.
        difference: The pooled one minus that within sites: what telling sites apart adds.
    """

    column: str
    pooled: Interval
    within: Interval
    difference: Interval


class StrataScores(FrozenModel):
    """The scores of all strata of a set.

    Attributes:
        strata: Strata, column by column.
        within_sites: AUC within the sites of each column that names some.
        comparisons: Number of comparisons that were corrected for.
        least_patients: Patients of each class that a score needs, or of what `group_unit` names.
        group_unit: `patient`; where patients are not known `image`, or `image group`.
        worst: Name of the stratum with the lowest AUC; None where no stratum has one.
        is_worst_different: True if the data show that its AUC is lower than that of the others.
        remarks: What cannot be said, and why, in sentences.
    """

    strata: tuple[Stratum, ...]
    within_sites: tuple[WithinSites, ...] = ()
    comparisons: int = 0
    least_patients: int = LEAST_PATIENTS
    group_unit: GroupUnit = "patient"
    worst: str | None = None
    is_worst_different: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def found(self) -> list[tuple[Stratum, Difference]]:
        """Strata whose score the data show to differ, with the difference."""
        return [(one, own) for one in self.strata for own in one.differences if own.is_found]


def score_strata(
    judged: JudgedImages,
    columns: Columns,
    class_names: Sequence[str],
    *,
    seed: int,
    least_patients: int = LEAST_PATIENTS,
) -> StrataScores:
    """Score every stratum of a set; pure.

    Args:
        judged: The images and what a model said of them.
        columns: What is known about each image: column -> values, shape (images,).
        class_names: Names of the classes.
        seed: Random seed of the intervals.
        least_patients: Patients of a class that a score which counts that class needs.
    """
    parts, unit = parts_of_columns(columns), group_unit(judged.groups)
    scored = [_scored(judged, part, class_names, least_patients, unit, seed) for part in parts]
    differences = _all_differences(judged, parts, least_patients)
    strata = tuple(
        one.model_copy(update={"differences": own}) for one, own in zip(scored, differences, strict=True)
    )
    worst = min(
        (one for one in strata if "auc" in one.metrics),
        key=lambda one: one.metrics["auc"].estimate,
        default=None,
    )
    return StrataScores(
        strata=strata,
        within_sites=_within_sites(judged, columns),
        comparisons=_number_of_tests(strata),
        least_patients=least_patients,
        worst=None if worst is None else worst.name,
        is_worst_different=worst is not None
        and any(one.is_found and one.metric == "auc" and one.value < 0 for one in worst.differences),
        remarks=_remarks(strata, columns, unit),
        group_unit=unit,
    )


def _scored(
    judged: JudgedImages, part: Part, class_names: Sequence[str], least: int, unit: GroupUnit, seed: int
) -> Stratum:
    own = part.images
    labels, groups, classes = judged.labels[own], judged.groups[own], judged.classes
    patients = [len(np.unique(groups[labels == label])) for label in range(classes)]
    is_binary = classes == 2
    return Stratum(
        column=part.column,
        value=part.value,
        images=int(own.sum()),
        patients=len(np.unique(groups)),
        counts={name: int((labels == index).sum()) for index, name in enumerate(class_names)},
        fewest_patients=min(patients),
        metrics=_metrics(judged, own, [count >= least for count in patients], seed),
        observed=float(labels.mean()) if is_binary else None,
        expected=float(judged.probabilities[own, 1].mean()) if is_binary else None,
        reason=_reason(patients, unit, class_names, least),
    )


def _metrics(
    judged: JudgedImages, own: BoolArray, has_enough: Sequence[bool], seed: int
) -> dict[str, Interval]:
    labels, groups = judged.labels[own], judged.groups[own]
    decided = _of_decisions(judged, own, seed)
    if not all(has_enough):
        if judged.classes != 2:
            return {}
        of_class = {"specificity": has_enough[0], "recall": has_enough[1]}
        return {name: decided[name] for name, is_enough in of_class.items() if is_enough}
    found: dict[str, Interval] = {}
    for name, metric in STANDARD.items():
        if name in decided:
            found[name] = decided[name]
        elif name == "auc":
            found[name] = judged.auc(own).interval
        elif name == "average_precision":
            found[name] = judged.average_precision(own, seed)
        elif name in IMAGE_ERRORS:
            found[name] = pooled_interval(
                metric, labels, judged.probabilities[own], groups, inflation=judged.inflation
            )
    return found


def _of_decisions(judged: JudgedImages, own: BoolArray, seed: int) -> dict[str, Interval]:
    """Metrics of some images, each by the decisions that it judges."""
    found: dict[str, Interval] = {}
    for name, metric in STANDARD.items():
        decided = judged.decided_by(name) if metric.judges_decisions else None
        if decided is not None:
            found |= decision_intervals(
                judged.labels[own],
                decided[own],
                judged.groups[own],
                classes=judged.classes,
                seed=seed,
                metrics=[metric],
                inflation=judged.inflation,
            )
    return found


def mean_interval(values: FloatArray, groups: NDArray[Any], *, inflation: float = 1.0) -> Interval:
    """Return a mean over images with its 95 % interval over patients.

    Args:
        values: Value of each image, shape (images,).
        groups: Patient of each image, shape (images,).
        inflation: Factor by which other training parts widen the variance.

    >>> print(mean_interval(np.array([0.0, 1.0, 0.0, 1.0]), np.array(list("abcd"))))
    0.50 [-0.07, 1.07]
    """
    mean = float(values.mean())
    sums = np.bincount(np.unique(groups, return_inverse=True)[1].reshape(-1), weights=values - mean)
    number = len(sums)
    error = np.sqrt((sums**2).sum() * number / max(number - 1, 1) * inflation) / len(values)
    return Interval(mean, mean - QUANTILE * float(error), mean + QUANTILE * float(error))


def _reason(patients: Sequence[int], unit: GroupUnit, class_names: Sequence[str], least: int) -> str:
    few = [
        f"{count_text(count, unit)} with {name}"
        for count, name in zip(patients, class_names, strict=True)
        if count < least
    ]
    return f"{' and '.join(few)}; scores need {least}" if few else ""


def _all_differences(judged: JudgedImages, parts: Sequence[Part], least: int) -> list[tuple[Difference, ...]]:
    """Comparisons of each stratum, corrected; two strata of a column are compared once."""
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


def _number_of_tests(strata: Sequence[Stratum]) -> int:
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


def _within_sites(judged: JudgedImages, columns: Columns) -> tuple[WithinSites, ...]:
    found = []
    for column in SITES:
        values = columns.get(column)
        if values is None or values.dtype.kind != "U":
            continue
        known = values != ""
        sites = np.unique(values, return_inverse=True)[1].reshape(-1)
        blocks = judged.blocks * (int(sites.max()) + 1) + sites
        of_site = [known & (sites == site) for site in np.unique(sites[known])]
        if sum(np.ptp(judged.labels[one]) > 0 for one in of_site) < 2:
            continue
        pooled, within = judged.auc(known), judged.auc(known, blocks)
        apart = pooled.influences - within.influences
        error = float(np.sqrt((apart**2).sum() * judged.inflation))
        value = pooled.estimate - within.estimate
        difference = Interval(value, value - QUANTILE * error, value + QUANTILE * error)
        found.append(
            WithinSites(column=column, pooled=pooled.interval, within=within.interval, difference=difference)
        )
    return tuple(found)


def _remarks(strata: Sequence[Stratum], columns: Columns, unit: GroupUnit) -> tuple[str, ...]:
    if not strata:
        have = f"its columns ({', '.join(sorted(columns))}) name none" if columns else "it has no columns"
        return (f"nothing can be said about subgroups of this set: {have}",)
    without = [one for one in strata if one.reason]
    if not without:
        return ()
    first = without[0]
    more = f", and of {len(without) - 1} more" if len(without) > 1 else ""
    return (f"too few {unit}s for all scores of {first.name} ({first.reason}){more}",)
