"""Nested cross-validation of ensembles: members are chosen and fitted again without each held-out fold.

The folds are those of the trials, so patients stay together, the classes stay balanced, and an ensemble's
score is the same statistic as a trial's on the leaderboard: the mean over folds of the AUC within a fold.
Trials of a hold-out, or of two folds, have too few folds: their predictions are cut into parts that take
the place of folds. The result is an out-of-fold prediction of the ensemble itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from results.ensembles.members import Members
from results.ensembles.methods import METHODS, fit, method_named
from results.run.records import OutOfFold
from results.scores.auc_interval import auc_interval
from results.scores.comparison import confidence_set, differences_to
from results.scores.fold_scores import fold_areas, out_of_fold_metrics
from results.scores.interval import Interval
from results.scores.selection import selection_folds
from trainables.common.types import FloatArray

BEST_SINGLE: Final = "best_single"


@dataclass(frozen=True, slots=True)
class EnsembleScore:
    """Scores of a method on images that were used neither to choose its members nor to fit it.

    Attributes:
        method: Name in `METHODS`, or `best_single`: the best trial, chosen anew without each fold.
        out_of_fold: Nested predictions; the folds are those of this evaluation.
        auc: Mean over folds of the AUC within a fold, with its 95 % interval.
        fold_auc: AUC of each fold.
        difference: AUC minus that of `best_single`, paired; the intervals of all methods hold together in 95
            % of data sets. None for `best_single` itself.
        metrics: Value of every metric in `METRICS`, with cross-fitted thresholds and calibrations.
    """

    method: str
    out_of_fold: OutOfFold
    auc: Interval
    fold_auc: tuple[float, ...]
    difference: Interval | None
    metrics: dict[str, float]


def nested_evaluation(
    pool: Members,
    methods: Sequence[str] = tuple(METHODS),
    *,
    max_members: int,
    seed: int,
) -> list[EnsembleScore]:
    """Score methods, and the best single trial, by a cross-validation around every choice and fit.

    Args:
        pool: Out-of-fold predictions of all trials that members could have been chosen from.
        methods: Names in `METHODS`.
        max_members: Number of trials to keep by mean fold AUC, chosen without each held-out fold.
        seed: Random seed of methods, drawn folds and comparisons.

    Returns:
        Scores: `best_single` first, then the methods as given.

    Raises:
        UnknownNameError: If there is no such method.
        ScoreError: If too few patients are left to hold any out.
    """
    for method in methods:
        method_named(method)
    predictions = {
        method: nested_predictions(pool, method, max_members=max_members, seed=seed)
        for method in (BEST_SINGLE, *methods)
    }
    single = predictions[BEST_SINGLE]
    differences = differences_to(single, [predictions[method] for method in methods], seed=seed)
    return [
        _scored(method, predictions[method], difference)
        for method, difference in zip((BEST_SINGLE, *methods), (None, *differences), strict=True)
    ]


def nested_predictions(pool: Members, method: str, *, max_members: int, seed: int) -> OutOfFold:
    """Predict each fold by members that were chosen, and a rule that was fitted, without it.

    Args:
        pool: Out-of-fold predictions of all trials that members could have been chosen from.
        method: Name in `METHODS`, or `best_single`.
        max_members: Number of trials to keep by mean fold AUC, chosen without each held-out fold.
        seed: Random seed of method and drawn folds.

    Raises:
        ScoreError: If too few patients are left to hold any out.
    """
    is_single = method == BEST_SINGLE
    rule, members = ("average", 1) if is_single else (method, max_members)
    outer = selection_folds(pool.labels, pool.groups, pool.folds, seed=seed)
    predicted: FloatArray = np.zeros(pool.probabilities.shape[1:])
    for fold in np.unique(outer):
        chosen = pool.where(outer != fold).best(members)
        fitted = fit(rule, chosen, seed)
        positions = [pool.trials.index(trial) for trial in chosen.trials]
        predicted[outer == fold] = fitted.combine(pool.probabilities[positions][:, outer == fold])
    return replace(pool.out_of_fold(predicted), folds=outer)


def choose(scores: Sequence[EnsembleScore], *, seed: int) -> EnsembleScore:
    """Return the simplest method that may be the best: the first of the model confidence set at 95 %.

    The highest of several nested scores is too high, since it is the highest. The simplest one that the data
    cannot tell from the best is hardly chosen by its score at all, so its nested score stands.

    `best_single` is the reference, and is returned only if nothing else was scored.
    """
    ensembles = [score for score in scores if score.method != BEST_SINGLE]
    if not ensembles:
        return scores[0]
    may_be_best = confidence_set([score.out_of_fold for score in ensembles], seed=seed)
    simplicity = list(METHODS)
    tied = [score for score, is_in in zip(ensembles, may_be_best, strict=True) if is_in]
    return min(tied, key=lambda score: simplicity.index(score.method))


def _scored(method: str, nested: OutOfFold, difference: Interval | None) -> EnsembleScore:
    return EnsembleScore(
        method=method,
        out_of_fold=nested,
        auc=auc_interval(nested),
        fold_auc=fold_areas(nested),
        difference=difference,
        metrics=out_of_fold_metrics(nested),
    )
