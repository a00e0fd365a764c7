"""For whom a model fails: its scores in every stratum of the columns, and which differ from the rest.

Each stratum is compared with the other images of its column, by AUC, recall and specificity. A score that
counts a class of which a stratum has fewer patients than the minimum is not given.
"""

import contextlib
from collections.abc import Sequence

import numpy as np

from results.scores.decision_intervals import decision_intervals
from results.scores.interval import QUANTILE, Interval
from results.scores.judged_images import JudgedImages
from results.scores.metric_interval import pooled_interval
from results.scores.metrics import STANDARD
from results.scores.metrics.probability_errors import IMAGE_ERRORS
from results.scores.strata_columns import BoolArray, Part, parts_of_columns
from results.scores.strata_differences import differences_of_parts, number_of_tests
from results.scores.strata_records import LEAST_PATIENTS, StrataScores, Stratum, WithinSites
from trainables.common.errors import OneClassError
from trainables.common.text import count_text
from trainables.data.columns import SITES, Columns, names_of
from trainables.data.group_names import GroupUnit, group_unit


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
    differences = differences_of_parts(judged, parts, least_patients)
    strata = tuple(
        one.model_copy(update={"differences": own}) for one, own in zip(scored, differences, strict=True)
    )
    worst = min(
        (one for one in strata if "auc" in one.metrics),
        key=lambda one: one.metrics["auc"].estimate,
        default=None,
    )
    within_sites, apart = _within_sites(judged, columns)
    return StrataScores(
        strata=strata,
        within_sites=within_sites,
        comparisons=number_of_tests(strata),
        least_patients=least_patients,
        worst=None if worst is None else worst.name,
        is_worst_different=worst is not None
        and any(one.is_found and one.metric == "auc" and one.value < 0 for one in worst.differences),
        remarks=(*_remarks(strata, columns, unit), *apart),
        group_unit=unit,
    )


def _scored(
    judged: JudgedImages, part: Part, class_names: Sequence[str], least: int, unit: GroupUnit, seed: int
) -> Stratum:
    own = part.images
    labels, groups, classes = judged.labels[own], judged.groups[own], judged.classes
    patients = [len(np.unique(groups[labels == label])) for label in range(classes)]
    is_binary = classes == 2
    metrics = _metrics(judged, own, [count >= least for count in patients], seed)
    reason = _reason(patients, unit, class_names, least)
    if not reason and "auc" not in metrics:
        reason = "no fold has images of two of its classes, and an AUC compares images of one fold"
    return Stratum(
        column=part.column,
        value=part.value,
        images=int(own.sum()),
        patients=len(np.unique(groups)),
        counts={name: int((labels == index).sum()) for index, name in enumerate(class_names)},
        fewest_patients=min(patients),
        metrics=metrics,
        observed=float(labels.mean()) if is_binary else None,
        expected=float(judged.probabilities[own, 1].mean()) if is_binary else None,
        reason=reason,
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
            with contextlib.suppress(OneClassError):
                found[name] = judged.auc(own).interval
        elif name == "average_precision":
            with contextlib.suppress(OneClassError):
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


def _reason(patients: Sequence[int], unit: GroupUnit, class_names: Sequence[str], least: int) -> str:
    few = [
        f"{count_text(count, unit)} with {name}"
        for count, name in zip(patients, class_names, strict=True)
        if count < least
    ]
    return f"{' and '.join(few)}; scores need {least}" if few else ""


def _within_sites(judged: JudgedImages, columns: Columns) -> tuple[tuple[WithinSites, ...], tuple[str, ...]]:
    """AUC within the sites of each column that names some, and a sentence for each that has none."""
    found, remarks = [], []
    for column in SITES:
        if column not in columns:
            continue
        values = names_of(columns[column])
        known = values != ""
        sites = np.unique(values, return_inverse=True)[1].reshape(-1)
        blocks = judged.blocks * (int(sites.max()) + 1) + sites
        of_site = [known & (sites == site) for site in np.unique(sites[known])]
        if sum(np.ptp(judged.labels[one]) > 0 for one in of_site) < 2:
            continue
        try:
            pooled, within = judged.auc(known), judged.auc(known, blocks)
        except OneClassError:
            remarks.append(
                f"no AUC within each {column} is known: no fold has images of two classes of one {column}"
            )
            continue
        apart = pooled.influences - within.influences
        error = float(np.sqrt((apart**2).sum() * judged.inflation))
        value = pooled.estimate - within.estimate
        difference = Interval(value, value - QUANTILE * error, value + QUANTILE * error)
        found.append(
            WithinSites(column=column, pooled=pooled.interval, within=within.interval, difference=difference)
        )
    return tuple(found), tuple(remarks)


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
