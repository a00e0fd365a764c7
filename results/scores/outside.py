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

from results.scores.decision_rule import OUT_OF_FOLD, DecisionRule
from results.scores.decisions import check_predictions, check_two_classes, decisions
from results.scores.fixed_model import FixedModelScores, score_fixed_model
from results.scores.judged_images import JudgedImages
from results.scores.metrics import metric_named
from results.scores.operating_point import NOTHING_ASKED, Operation, to_share_of
from results.scores.set_shift import SetShift
from results.scores.strata import score_strata
from results.scores.strata_records import StrataScores
from results.scores.triage import TriageRule
from trainables.common.types import FloatArray, IntArray
from trainables.data.columns import Columns


class OutsideEvaluation(FixedModelScores):
    """Scores of a model on labelled data that it never saw.

    Attributes:
        data: Name of the data.
        chosen_for: What the threshold was chosen for.
        decided_on: Where the threshold was chosen: out of fold, or on the local data of a recalibration. Of
            the latter `expected` is what it was before.
        look: Number of this look at these patients with any model, over all that share a store, from 1.
        strata: Scores of the strata of the data's columns.
        shift: Shift of pixels and features against the training images; None where these are not known.
        left_out: Images that were left out with their patients, since some were in the training set.
        notes: Sentences on what was left out or converted.
        main: Name of the metric that the search optimised.
        is_synthetic: True where the images, or those of the training set, are generated.
    """

    data: str
    chosen_for: str
    decided_on: str = OUT_OF_FOLD
    look: int
    strata: StrataScores
    shift: SetShift | None
    left_out: int = 0
    notes: tuple[str, ...] = ()
    main: str = "auc"
    is_synthetic: bool = False


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
    rule = DecisionRule(
        threshold=0.5 if threshold is None else threshold,
        thresholds=dict(thresholds),
        operation=operation,
        triage=triage_rule,
    )
    of_data = probabilities
    if operation.prevalence is not None:
        of_data = to_share_of(labels, operation.prevalence).apply(probabilities)
    scores = score_fixed_model(
        labels,
        probabilities,
        of_data,
        groups,
        classes=classes,
        rule=rule,
        training_shares=training_shares,
        also=[metric_named(name) for name in objectives],
        seed=seed,
    )
    decided = decisions(probabilities, rule.threshold)
    own = {name: decisions(probabilities, value) for name, value in rule.thresholds.items()}
    blocks = np.zeros_like(labels)
    judged = JudgedImages(
        labels, probabilities, of_data, decided, blocks, groups.astype(str), decided_for=own
    )
    return OutsideEvaluation(
        **scores,
        threshold=threshold,
        strata=score_strata(judged, columns, classes, seed=seed),
        main=objectives[0],
        **facts,
    )
