"""Scores of a model that stays as it is on labelled data that it never saw, such as another hospital's.

Nothing is fitted here: calibration, threshold and triage are those that the model brings. A model whose
probabilities were moved to the prevalence where it will be used decides by these; what compares probabilities
with labels takes them as they are at the share of positives of these data, which often have more of them. All
intervals are over the patients of these data, and say nothing about a third hospital.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from results.scores.calibration_quality import CalibrationQuality, calibration_quality
from results.scores.cross_fitting import fewest_patients
from results.scores.decisions import check_predictions, check_two_classes, confusion, decisions
from results.scores.fixed_model import fixed_model_metrics
from results.scores.interval import Interval
from results.scores.metrics import majority_baseline, metric_named
from results.scores.operating_point import NOTHING_ASKED, Operation, to_share_of
from results.scores.prevalence import rates_at_prevalence
from results.scores.set_shift import SetShift
from results.scores.strata import JudgedImages, StrataScores, score_strata
from results.scores.triage import TriageRule, TriageShares, triage_shares
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray
from trainables.config.unit_config import UnitName
from trainables.data.columns import Columns


class OutsideEvaluation(FrozenModel):
    """Scores of a model on labelled data that it never saw.

    Attributes:
        model: Name of the model.
        data: Name of the data.
        classes: Class names.
        threshold: Smallest calibrated positive probability that was called positive; None beyond two classes.
        thresholds: Metric -> the threshold at which it is judged, where it has one of its own; empty for
            bundles of earlier versions.
        chosen_for: What the threshold was chosen for.
        look: Number of this look at these patients with any model, over all that share a store, from 1.
        images: Number of images, or of units.
        groups: Number of patients, or of images where patients are unknown.
        counts: Class -> number of images.
        fewest_patients: Number of patients of the smallest class.
        metrics: Metric -> value with its 95 % interval over patients.
        expected: Metric -> value out of fold, on the training data.
        baseline: Metric -> value of a model that knows nothing but the class shares of the training data.
        confusion: Counts; rows are the true class, columns the decided one.
        calibration: How far the probabilities can be believed, at the share of positives of these data where
            they are those at a prevalence that was asked for; None beyond two classes.
        strata: Scores of the strata of the data's columns.
        shift: Shift of pixels and features against the training images; None where these are not known.
        left_out: Images that were left out with their patients, since some were in the training set.
        notes: Sentences on what was left out or converted.
        main: Name of the metric that the search optimised.
        operation: What was asked of the decisions.
        rates: At the prevalence that was asked for: `ppv`, `npv` and `recall_rate`, with their intervals.
        triage: What the rule of two thresholds does to the images; None without one.
        unit: What was scored.
        is_synthetic: True where the images, or those of the training set, are generated.
        is_ordinal: True where the classes are in an order of degree.
    """

    model: str
    data: str
    classes: tuple[str, ...]
    threshold: FiniteFloat | None
    thresholds: dict[str, FiniteFloat] = Field(default_factory=dict)
    chosen_for: str
    look: int
    images: int
    groups: int
    counts: dict[str, int]
    fewest_patients: int
    metrics: dict[str, Interval]
    expected: dict[str, FiniteFloat]
    baseline: dict[str, FiniteFloat]
    confusion: tuple[tuple[int, ...], ...]
    calibration: CalibrationQuality | None
    strata: StrataScores
    shift: SetShift | None
    left_out: int = 0
    notes: tuple[str, ...] = ()
    main: str = "auc"
    operation: Operation = NOTHING_ASKED
    rates: dict[str, Interval] = Field(default_factory=dict)
    triage: TriageShares | None = None
    unit: UnitName = "image"
    is_synthetic: bool = False
    is_ordinal: bool = False


def score_outside(  # noqa: PLR0913 - the data, what the model said of them, and what is known about it
    labels: IntArray,
    probabilities: FloatArray,
    groups: NDArray[Any],
    columns: Columns,
    *,
    classes: tuple[str, ...],
    threshold: float | None,
    thresholds: Mapping[str, float] = MappingProxyType({}),
    training_shares: FloatArray,
    objectives: Sequence[str] = ("auc",),
    operation: Operation = NOTHING_ASKED,
    triage_rule: TriageRule | None = None,
    seed: int,
    **facts: Any,
) -> OutsideEvaluation:
    """Score predictions of a model that stays as it is; pure.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Calibrated probabilities, at the prevalence of `operation` if it names one, shape
            (images, classes).
        groups: Patient of each image, shape (images,).
        columns: Column -> values, shape (images,).
        classes: Class names.
        threshold: Smallest positive probability that is called positive; None beyond two classes.
        thresholds: Metric -> threshold of the decisions that it judges, where it has one of its own.
        training_shares: Share of each class in the training data, shape (classes,).
        objectives: Names of the metrics that the search optimised, the main one first.
        operation: What was asked of the decisions.
        triage_rule: Rule of two thresholds; None without one.
        seed: Random seed of the intervals.
        facts: The other attributes of `OutsideEvaluation`.

    Raises:
        DataError: If the shapes do not fit, or a probability is not a number in [0, 1].
        OneClassError: If `labels` holds a single class.
    """
    check_predictions(labels, probabilities)
    check_two_classes(labels, "an evaluation")
    decided = decisions(probabilities, 0.5 if threshold is None else threshold)
    also = [metric_named(name) for name in objectives]
    of_data = probabilities
    if operation.prevalence is not None:
        of_data = to_share_of(labels, operation.prevalence).apply(probabilities)
    own = {name: decisions(probabilities, value) for name, value in thresholds.items()}
    blocks = np.zeros_like(labels)
    judged = JudgedImages(
        labels, probabilities, of_data, decided, blocks, groups.astype(str), decided_for=own
    )
    return OutsideEvaluation(
        classes=classes,
        threshold=threshold,
        thresholds=dict(thresholds),
        images=len(labels),
        groups=len(np.unique(groups)),
        counts={name: int((labels == index).sum()) for index, name in enumerate(classes)},
        fewest_patients=fewest_patients(labels, groups),
        metrics=fixed_model_metrics(
            labels,
            probabilities,
            of_data,
            groups,
            threshold_of=lambda name: thresholds.get(name, 0.5 if threshold is None else threshold),
            also=also,
            seed=seed,
        ),
        baseline=majority_baseline(labels, len(classes), shares=training_shares, also=also),
        confusion=tuple(map(tuple, confusion(labels, decided, len(classes)).tolist())),
        calibration=calibration_quality(labels, of_data, groups, seed=seed) if len(classes) == 2 else None,
        strata=score_strata(judged, columns, classes, seed=seed),
        main=objectives[0],
        operation=operation,
        rates={}
        if operation.prevalence is None
        else rates_at_prevalence(labels, decided, groups, operation.prevalence, seed=seed),
        triage=None
        if triage_rule is None
        else triage_shares(labels, triage_rule.outcomes(probabilities[:, 1]), groups),
        **facts,
    )
