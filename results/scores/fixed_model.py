"""Scores of a model that stays as it is, with their intervals: on a sealed part as on other data."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from results.run.split_labels import GROUPED, SplitName
from results.scores.calibration_quality import CalibrationQuality, calibration_quality
from results.scores.cross_fitting import fewest_patients
from results.scores.decision_intervals import decision_intervals
from results.scores.decision_rule import DecisionRule
from results.scores.decisions import confusion, decisions
from results.scores.interval import Interval
from results.scores.metric import Metric
from results.scores.metric_interval import fixed_model_interval
from results.scores.metrics import STANDARD, majority_baseline
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.prevalence import rates_at_prevalence
from results.scores.triage import TriageShares, triage_shares
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray
from trainables.config.unit_config import UnitName
from trainables.data.group_names import GroupUnit, group_unit


class FixedModelScores(FrozenModel):
    """Scores of a model that stays as it is on labelled images that it never saw.

    Attributes:
        model: Name of the model.
        classes: Class names.
        threshold: Smallest calibrated positive probability that was called positive; None beyond two classes.
        thresholds: Metric -> the threshold of the decisions that it judges, where it has one of its own;
            empty in files of earlier versions.
        images: Number of images, or of units.
        groups: Number of patients, or of image groups where patients are unknown.
        group_unit: What a group is; `patient` in files of earlier versions, which did not say it.
        counts: Class -> number of images, or of units.
        fewest_patients: Number of patients of the smallest class; None in files of earlier versions.
        metrics: Metric -> value with its 95 % interval over patients; errors of probabilities are those at
            the prevalence of the data, whatever prevalence was asked for.
        expected: Metric -> value out of fold, on the training data.
        baseline: Metric -> value of a model that knows the class shares of the training data and nothing
            else.
        confusion: Counts; rows are the true class, columns the decided one.
        calibration: How far the probabilities can be believed, at the share of positives of these data where
            they are those at a prevalence that was asked for; None beyond two classes, and in files of
            earlier versions.
        split: Name of the kind of split that `expected` is of; with a `naive split` it is too high, and so is
            a score on the sealed part.
        operation: What was asked of the decisions.
        rates: At the prevalence that was asked for: positive and negative predictive value (`ppv`, `npv`) and
            `recall_rate`, each with its interval; empty where none was asked for.
        triage: What the rule of two thresholds does to the images; None without one.
        unit: What was scored: images, or the units that they make up, which `images` then counts.
        is_ordinal: True where the classes are in an order of degree.
    """

    model: str
    classes: tuple[str, ...]
    threshold: FiniteFloat | None
    thresholds: dict[str, FiniteFloat] = Field(default_factory=dict)
    images: int
    groups: int
    group_unit: GroupUnit = "patient"
    counts: dict[str, int]
    fewest_patients: int | None = None
    metrics: dict[str, Interval]
    expected: dict[str, FiniteFloat]
    baseline: dict[str, FiniteFloat]
    confusion: tuple[tuple[int, ...], ...]
    calibration: CalibrationQuality | None = None
    split: SplitName = GROUPED
    operation: Operation = NOTHING_ASKED
    rates: dict[str, Interval] = Field(default_factory=dict)
    triage: TriageShares | None = None
    unit: UnitName = "image"
    is_ordinal: bool = False


def score_fixed_model(  # noqa: PLR0913 - what was predicted, and what is known of the model
    labels: IntArray,
    probabilities: FloatArray,
    of_data: FloatArray,
    groups: NDArray[Any],
    *,
    classes: tuple[str, ...],
    rule: DecisionRule,
    training_shares: FloatArray,
    also: Sequence[Metric] = (),
    seed: int,
) -> dict[str, Any]:
    """Return the attributes of `FixedModelScores` that follow from predictions; nothing is fitted, and pure.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Calibrated probabilities in [0, 1] that decisions are taken on, shape (images,
            classes).
        of_data: The same at the prevalence of the data, which metrics of probabilities judge.
        groups: Patient of each image, shape (images,).
        classes: Class names.
        rule: Thresholds, triage and what was asked of them.
        training_shares: Share of each class in the training data, shape (classes,).
        also: Further metrics than `STANDARD`, which come first; those of cost are left out.
        seed: Random seed of the intervals.

    Raises:
        OneClassError: If `labels` holds a single class.
    """
    is_binary, decided = len(classes) == 2, decisions(probabilities, rule.threshold)
    prevalence = rule.operation.prevalence
    return {
        "classes": classes,
        "thresholds": dict(rule.thresholds),
        "images": len(labels),
        "groups": len(np.unique(groups)),
        "group_unit": group_unit(groups),
        "counts": {name: int((labels == index).sum()) for index, name in enumerate(classes)},
        "fewest_patients": fewest_patients(labels, groups),
        "metrics": fixed_model_metrics(
            labels, probabilities, of_data, groups, threshold_of=rule.threshold_of, also=also, seed=seed
        ),
        "baseline": majority_baseline(labels, len(classes), shares=training_shares, also=also),
        "confusion": tuple(map(tuple, confusion(labels, decided, len(classes)).tolist())),
        "calibration": calibration_quality(labels, of_data, groups, seed=seed) if is_binary else None,
        "operation": rule.operation,
        "rates": {}
        if prevalence is None
        else rates_at_prevalence(labels, decided, groups, prevalence, seed=seed),
        "triage": None
        if rule.triage is None
        else triage_shares(labels, rule.triage.outcomes(probabilities[:, 1]), groups),
    }


def fixed_model_metrics(
    labels: IntArray,
    probabilities: FloatArray,
    of_data: FloatArray,
    groups: NDArray[np.str_],
    *,
    threshold_of: Callable[[str], float],
    also: Iterable[Metric] = (),
    seed: int,
) -> dict[str, Interval]:
    """Return every metric of `STANDARD` with its interval over patients.

    Args:
        labels: Class indices, shape (images,); at least two classes.
        probabilities: Calibrated probabilities that decisions are taken on, shape (images, classes).
        of_data: The same at the prevalence of the data, which metrics of probabilities judge.
        groups: Patient of each image, shape (images,).
        threshold_of: Name of a metric -> the threshold of the decisions that it judges; beyond two classes it
            is not used.
        also: Further metrics, which come first; those of cost are left out.
        seed: Random seed of the intervals.
    """
    wanted = {one.name: one for one in (*also, *STANDARD.values()) if not one.is_cost}
    by_threshold = dict[float, list[Metric]]()
    for name, metric in wanted.items():
        if metric.judges_decisions:
            by_threshold.setdefault(threshold_of(name), []).append(metric)
    of_decisions = dict[str, Interval]()
    for threshold, judged in by_threshold.items():
        of_decisions |= decision_intervals(
            labels,
            decisions(probabilities, threshold),
            groups,
            classes=probabilities.shape[1],
            seed=seed,
            metrics=judged,
        )
    return {
        name: of_decisions[name]
        if metric.judges_decisions
        else fixed_model_interval(metric, labels, of_data, groups)
        for name, metric in wanted.items()
    }
