"""The score of a trial that was selected by its score, corrected by selecting it again without each fold.

The best of many trials owes a part of its score to luck. Here the best trial is chosen by the folds other
than each one, and predicts that one: the result is an out-of-fold prediction of the choice itself, which no
luck of its own fold has helped to choose.

Source:
    Cawley and Talbot (2010), JMLR 11:2079; Varma and Simon (2006), BMC Bioinformatics 7:91.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.errors import ScoreError
from results.run.records import OutOfFold, TrialRecord
from results.scores.auc_influence import check_same_images
from results.scores.cross_fitting import fewest_patients, folds_or_drawn
from results.scores.fold_scores import objective_values
from results.scores.metrics import mean_fold_auc
from results.scores.ranking import BY_AUC, Objectives
from trainables.common.types import FloatArray, IntArray
from trainables.data.group_names import group_unit

_FEWEST_TRIAL_FOLDS: Final = 3
_DRAWN_FOLDS: Final = 5  # at most, where the trials have fewer than that
_DRAWN_IN_A_FOLD: Final = 3  # at most, of each of two


def selection_folds(labels: IntArray, groups: NDArray[Any], folds: IntArray, *, seed: int) -> IntArray:
    """Return the folds that take turns in having no part in a selection.

    They are the folds of the trials. A hold-out, or two folds, are too few: stratified parts that keep the
    images of a patient together take their place. Each lies in one fold, since scores of two fold models
    cannot be compared; only where a fold has too few patients parts are drawn across both.

    Args:
        labels: Class indices, shape (images,).
        groups: Patient of each image, shape (images,).
        folds: Fold of each image, shape (images,).
        seed: Random seed of drawn parts.

    Raises:
        ScoreError: If too few patients are left to hold any out.
    """
    outer = _drawn_within(labels, groups, folds, seed) if len(np.unique(folds)) == 2 else None
    if outer is None:
        outer = folds_or_drawn(
            labels, groups, folds, fewest=_FEWEST_TRIAL_FOLDS, most=_DRAWN_FOLDS, seed=seed
        )
    if len(np.unique(outer)) < 2:
        raise ScoreError(
            f"scoring a selection needs at least two {group_unit(groups)}s of each class, "
            f"found {fewest_patients(labels, groups)}; search with more data or more folds"
        )
    return outer


def _drawn_within(labels: IntArray, groups: NDArray[Any], folds: IntArray, seed: int) -> IntArray | None:
    """Parts of each fold by itself; None where a fold has too few patients."""
    outer, drawn = np.zeros_like(folds), 0
    for fold in np.unique(folds):
        own = folds == fold
        parts = folds_or_drawn(
            labels[own], groups[own], np.zeros_like(folds[own]), most=_DRAWN_IN_A_FOLD, seed=seed
        )
        if len(np.unique(parts)) < 2:
            return None
        outer[own] = drawn + parts
        drawn += int(parts.max()) + 1
    return outer


def best_by(
    labels: IntArray,
    probabilities: FloatArray,
    folds: IntArray,
    number: int,
    *,
    groups: NDArray[Any] | None = None,
    objectives: Objectives = BY_AUC,
    costs: Sequence[Mapping[str, float]] = (),
) -> list[int]:
    """Return the positions of the best trials, best first; of equals, the earlier.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Class probabilities, shape (trials, images, classes).
        folds: Fold of each image, shape (images,).
        number: Number of trials to return, at most.
        groups: Patient of each image, shape (images,); None takes each image as one.
        objectives: What the trials are ranked by.
        costs: Metric -> value of each trial, for metrics that predictions do not tell; may be empty.
    """
    if objectives.needed == ("auc",) and not objectives.requirements:
        areas = mean_fold_auc(labels, probabilities, folds)
        best: list[int] = np.argsort(-areas, kind="stable")[:number].tolist()
        return best
    rows = np.arange(len(labels))
    patients = rows.astype(str) if groups is None else groups
    trials = [OutOfFold(rows, labels, folds, patients, own) for own in probabilities]
    return objectives.order(values_with_costs(trials, objectives, costs))[:number]


def values_with_costs(
    trials: Sequence[OutOfFold], objectives: Objectives, costs: Sequence[Mapping[str, float]] = ()
) -> list[dict[str, float | None]]:
    """Return the value of every metric that is optimised or required, of each trial.

    Args:
        trials: Out-of-fold predictions of each trial.
        objectives: What the trials are ranked by.
        costs: Metric -> value of each trial, for metrics that predictions do not tell; may be empty.
    """
    return [
        {**(costs[place] if costs else {}), **objective_values(own, objectives)}
        for place, own in enumerate(trials)
    ]


def selected_again(
    trials: Sequence[OutOfFold],
    *,
    seed: int,
    objectives: Objectives = BY_AUC,
    costs: Sequence[Mapping[str, float]] = (),
) -> OutOfFold:
    """Return the predictions of the best trial, chosen anew without each fold.

    Args:
        trials: Out-of-fold predictions of all trials that could have been selected; at least one.
        seed: Random seed of drawn parts.
        objectives: What the trials are selected by.
        costs: Metric -> value of each trial, for metrics that predictions do not tell; may be empty.

    Raises:
        DataError: If two trials do not hold the same images in the same folds.
        ScoreError: If too few patients are left to hold any out.
    """
    first = trials[0]
    for other in trials[1:]:
        check_same_images(first, other)
    outer = selection_folds(first.labels, first.groups, first.folds, seed=seed)
    given = np.stack([one.probabilities for one in trials]).astype(np.float64)
    predicted = np.zeros(given.shape[1:])
    for fold in np.unique(outer):
        own, others = outer == fold, outer != fold
        (chosen,) = best_by(
            first.labels[others],
            given[:, others],
            first.folds[others],
            1,
            groups=first.groups[others],
            objectives=objectives,
            costs=costs,
        )
        predicted[own] = given[chosen, own]
    return replace(first, probabilities=predicted).in_parts(outer)


def best_again(
    trials: Sequence[tuple[TrialRecord, OutOfFold]], objectives: Objectives, *, seed: int
) -> OutOfFold:
    """Return the predictions of the best trial of a search, chosen anew without each fold.

    A cost that a search asks for and a record lacks counts as infinite.

    Args:
        trials: Record and out-of-fold predictions of each trial that could have been selected; at least one.
        objectives: What the trials are selected by.
        seed: Random seed of drawn parts.

    Raises:
        DataError: If two trials do not hold the same images in the same folds.
        ScoreError: If too few patients are left to hold any out.
        OneClassError: If a metric needs two classes within a fold, and no other fold has them.
    """
    costs = [{name: record.values.get(name, np.inf) for name in objectives.costs} for record, _ in trials]
    return selected_again([own for _, own in trials], seed=seed, objectives=objectives, costs=costs)
