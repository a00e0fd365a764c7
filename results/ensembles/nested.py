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
from results.errors import EnsembleError
from results.run.records import OutOfFold
from results.scores.bootstrap import Interval, auc_difference, auc_interval
from results.scores.cross_fitting import fewest_patients, folds_or_drawn
from results.scores.fold_scores import fold_areas, out_of_fold_metrics
from trainables.common.types import FloatArray, IntArray

BEST_SINGLE: Final = "best_single"
TIE: Final = 0.002  # AUC; closer scores are equal and the simpler method is chosen

_FEWEST_TRIAL_FOLDS: Final = 3
_DRAWN_FOLDS: Final = 5  # at most, where the trials have fewer than that


@dataclass(frozen=True, slots=True)
class EnsembleScore:
    """Scores of a method on images that were used neither to choose its members nor to fit it.

    Attributes:
        method: Name in `METHODS`, or `best_single`: the best trial, chosen anew without each fold.
        out_of_fold: Nested predictions; the folds are those of this evaluation.
        auc: Mean over folds of the AUC within a fold, with its patient-clustered 95 % interval.
        fold_auc: AUC of each fold.
        difference: AUC minus that of `best_single`, paired; None for `best_single` itself.
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
    resamples: int = 1000,
    seed: int,
) -> list[EnsembleScore]:
    """Score methods, and the best single trial, by a cross-validation around every choice and fit.

    Args:
        pool: Out-of-fold predictions of all candidates.
        methods: Names in `METHODS`.
        max_members: Number of candidates to keep by mean fold AUC, chosen without each held-out fold.
        resamples: Number of bootstrap resamples of patients.
        seed: Random seed of methods, drawn folds and intervals.

    Returns:
        Scores: `best_single` first, then the methods as given.

    Raises:
        UnknownNameError: If there is no such method.
        EnsembleError: If too few patients are left to hold any out.
    """
    for method in methods:
        method_named(method)
    predictions = {
        method: nested_predictions(pool, method, max_members=max_members, seed=seed)
        for method in (BEST_SINGLE, *methods)
    }
    single = _scored(BEST_SINGLE, predictions.pop(BEST_SINGLE), None, resamples, seed)
    return [single] + [
        _scored(method, nested, single, resamples, seed) for method, nested in predictions.items()
    ]


def nested_predictions(pool: Members, method: str, *, max_members: int, seed: int) -> OutOfFold:
    """Predict each fold by members that were chosen, and a rule that was fitted, without it.

    Args:
        pool: Out-of-fold predictions of all candidates.
        method: Name in `METHODS`, or `best_single`.
        max_members: Number of candidates to keep by mean fold AUC, chosen without each held-out fold.
        seed: Random seed of method and drawn folds.

    Raises:
        EnsembleError: If too few patients are left to hold any out.
    """
    is_single = method == BEST_SINGLE
    rule, members = ("average", 1) if is_single else (method, max_members)
    outer = _outer_folds(pool, seed)
    predicted: FloatArray = np.zeros(pool.probabilities.shape[1:])
    for fold in np.unique(outer):
        chosen = pool.where(outer != fold).best(members)
        fitted = fit(rule, chosen, seed)
        positions = [pool.trials.index(trial) for trial in chosen.trials]
        predicted[outer == fold] = fitted.combine(pool.probabilities[positions][:, outer == fold])
    return replace(pool.out_of_fold(predicted), folds=outer)


def choose(scores: Sequence[EnsembleScore]) -> EnsembleScore:
    """Return the best method by nested AUC; within 0.002 of the best, the simplest.

    `best_single` is the reference, and is returned only if nothing else was scored.
    """
    ensembles = [score for score in scores if score.method != BEST_SINGLE]
    if not ensembles:
        return scores[0]
    best = max(score.auc.estimate for score in ensembles)
    simplicity = list(METHODS)
    tied = [score for score in ensembles if score.auc.estimate >= best - TIE]
    return min(tied, key=lambda score: simplicity.index(score.method))


def _outer_folds(pool: Members, seed: int) -> IntArray:
    """Fold of each image, shape (images,); drawn by patient if the trials have fewer than three."""
    outer = folds_or_drawn(
        pool.labels, pool.groups, pool.folds, fewest=_FEWEST_TRIAL_FOLDS, most=_DRAWN_FOLDS, seed=seed
    )
    if len(np.unique(outer)) < 2:
        raise EnsembleError(
            "scoring an ensemble needs at least two patients of each class, "
            f"found {fewest_patients(pool.labels, pool.groups)}; search with more data or more folds"
        )
    return outer


def _scored(
    method: str, nested: OutOfFold, single: EnsembleScore | None, resamples: int, seed: int
) -> EnsembleScore:
    return EnsembleScore(
        method=method,
        out_of_fold=nested,
        auc=auc_interval(nested, resamples=resamples, seed=seed),
        fold_auc=fold_areas(nested),
        difference=None
        if single is None
        else auc_difference(nested, single.out_of_fold, resamples=resamples, seed=seed),
        metrics=out_of_fold_metrics(nested),
    )
