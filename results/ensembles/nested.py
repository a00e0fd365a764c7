"""Nested cross-validation of ensembles: members are chosen and fitted again without each held-out fold.

The folds are those of the trials, so patients stay together, the classes stay balanced, and an ensemble's
score is the same statistic as a trial's on the leaderboard. Trials of a hold-out, or of two folds, have too
few folds: their predictions are cut into parts that take the place of folds. The result is an out-of-fold
prediction of the ensemble itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from results.ensembles.choice import choose_members
from results.ensembles.members import Members
from results.ensembles.methods import METHODS, fit, method_named
from results.run.records import OutOfFold
from results.scores.auc_interval import auc_interval
from results.scores.fold_scores import fold_areas, objective_values, out_of_fold_metrics
from results.scores.interval import Interval
from results.scores.joint_comparison import confidence_set, differences_to
from results.scores.metric_interval import metric_interval
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.ranking import BY_AUC, Objectives
from results.scores.selection import selection_folds
from trainables.common.types import FloatArray, IntArray

BEST_SINGLE: Final = "best_single"
BASELINE: Final = "baseline"


@dataclass(frozen=True, slots=True)
class EnsembleScore:
    """Scores of a method on images that were used neither to choose its members nor to fit it.

    Attributes:
        method: Name in `METHODS`; or `best_single`: the best trial, chosen anew without each fold; or
            `baseline`: the best of those on colour and intensity only, likewise.
        out_of_fold: Nested predictions; the folds are those of this evaluation.
        value: Value of the metric that the search optimises, with its 95 % interval.
        auc: Mean over folds of the AUC within a fold, with its 95 % interval.
        fold_auc: AUC of each fold.
        difference: Value minus that of `best_single`, paired; the intervals of all methods hold together in
            95 % of data sets. None for `best_single` itself.
        metrics: Value of every metric in `STANDARD`, and of those that the search optimises or requires
            something of, with cross-fitted thresholds and calibrations.
        chosen_without: Of the method that `choose` returns: the one that it would have been without each
            fold, in ascending order of folds, whose predictions of that fold are scored here. Empty where
            that is always the same.
    """

    method: str
    out_of_fold: OutOfFold
    value: Interval
    auc: Interval
    fold_auc: tuple[float, ...]
    difference: Interval | None
    metrics: dict[str, float]
    chosen_without: tuple[str, ...] = ()


def nested_evaluation(
    pool: Members,
    methods: Sequence[str] = tuple(METHODS),
    *,
    max_members: int,
    seed: int,
    considered: int | None = None,
    operation: Operation = NOTHING_ASKED,
) -> list[EnsembleScore]:
    """Score methods, the best single trial and the baseline by a cross-validation around each choice and fit.

    Args:
        pool: Out-of-fold predictions of all trials that members could have been chosen from, and what the
            search optimises.
        methods: Names in `METHODS`.
        max_members: Largest number of members; they are chosen without each held-out fold.
        seed: Random seed of methods, drawn folds and comparisons.
        considered: Number of best trials that may be members; see `choose_members`.
        operation: What is asked of the decisions that are scored; members are chosen, and weights found,
            without it.

    Returns:
        Scores: `best_single` first, then the methods as given, then `baseline` where some trials, and not
        all, are on colour and intensity only.

    Raises:
        UnknownNameError: If there is no such method.
        ScoreError: If too few patients are left to hold any out.
    """
    for method in methods:
        method_named(method)
    outer = selection_folds(pool.labels, pool.groups, pool.folds, seed=seed)
    members = _members(pool, outer, max_members if methods else 1, considered)
    predictions = {method: _nested(pool, method, outer, members, seed) for method in (BEST_SINGLE, *methods)}
    if 0 < len(pool.simplest.trials) < len(pool.trials):
        predictions[BASELINE] = nested_predictions(pool, BASELINE, max_members=1, seed=seed)
    single, *others = predictions.values()
    objectives = pool.objectives.at(operation)
    differences = differences_to(single, others, seed=seed, objectives=objectives)
    return [
        _scored(method, own, difference, objectives, seed)
        for (method, own), difference in zip(predictions.items(), (None, *differences), strict=True)
    ]


def nested_predictions(
    pool: Members, method: str, *, max_members: int, seed: int, considered: int | None = None
) -> OutOfFold:
    """Predict each fold by members that were chosen, and a rule that was fitted, without it.

    Args:
        pool: Out-of-fold predictions of all trials that members could have been chosen from, and what the
            search optimises.
        method: Name in `METHODS`, `best_single` or `baseline`.
        max_members: Largest number of members; they are chosen without each held-out fold.
        seed: Random seed of method and drawn folds.
        considered: Number of best trials that may be members; see `choose_members`.

    Raises:
        ScoreError: If too few patients are left to hold any out.
    """
    outer = selection_folds(pool.labels, pool.groups, pool.folds, seed=seed)
    if method == BASELINE:
        pool, method = pool.simplest, BEST_SINGLE
    return _nested(pool, method, outer, _members(pool, outer, max_members, considered), seed)


def choose(
    scores: Sequence[EnsembleScore],
    *,
    seed: int,
    objectives: Objectives = BY_AUC,
    costs: Sequence[Mapping[str, float]] = (),
) -> EnsembleScore:
    """Return the simplest method that may be the best, or the baseline where that is no better.

    The highest of several nested scores is too high, since it is the highest. The simplest one of the model
    confidence set at 95 % is hardly chosen by its score at all, so its nested score stands. `best_single` is
    the reference, and is taken only if nothing else was scored, if it alone keeps the requirements, or if
    every method is clearly worse. Methods whose nested values miss a requirement are chosen only if all miss
    it, then those that miss least.

    The baseline on colour and intensity only has the last word: nothing is shipped that did no better. That
    choice of one of two goes by their scores, so it is made again without each fold by what the two predict
    of the others, and what it chose predicts that fold. Where the folds do not agree, the scores that are
    returned are those of the choice.

    Args:
        scores: Scores of all methods, `best_single` first.
        seed: Random seed of the comparison.
        objectives: What the search optimises and requires, with what is asked of the decisions.
        costs: Metric -> value of each method, for metrics that predictions do not tell; may be empty.
    """
    known = dict(zip((score.method for score in scores), costs or [{}] * len(scores), strict=True))
    single, baseline = scores[0], next((score for score in scores if score.method == BASELINE), None)
    found = _simplest([score for score in scores if score is not baseline], seed, objectives, known)
    if baseline is None or np.array_equal(
        found.out_of_fold.probabilities, baseline.out_of_fold.probabilities
    ):
        return found
    pair, folds = (baseline, found), found.out_of_fold.folds  # of equals, the baseline
    chosen = _better(pair, np.ones(len(folds), dtype=bool), objectives, known)
    without = [_better(pair, folds != fold, objectives, known).method for fold in np.unique(folds)]
    if set(without) == {chosen.method}:
        return chosen
    own = {score.method: score.out_of_fold for score in pair}
    predicted = by_fold(own, chosen.method, without)
    difference = None
    if chosen.difference is not None:
        others = [score.out_of_fold for score in scores[1:] if score is not chosen]
        difference = differences_to(
            single.out_of_fold, [predicted, *others], seed=seed, objectives=objectives
        )[0]
    scored = _scored(chosen.method, predicted, difference, objectives, seed)
    return replace(scored, chosen_without=tuple(without))


def by_fold(own: Mapping[str, OutOfFold], method: str, without: Sequence[str]) -> OutOfFold:
    """Return the predictions of a choice: those of each fold by the method that was chosen without it.

    Args:
        own: Method -> its nested predictions.
        method: Method that was chosen at last.
        without: Method that was chosen without each fold, in ascending order of folds; empty where that is
            always `method`.
    """
    found = own[method]
    predicted = found.probabilities.copy()
    for fold, other in zip(np.unique(found.folds) if without else (), without, strict=True):
        predicted[found.folds == fold] = own[other].probabilities[found.folds == fold]
    return replace(found, probabilities=predicted)


def _simplest(
    scores: Sequence[EnsembleScore],
    seed: int,
    objectives: Objectives,
    costs: Mapping[str, Mapping[str, float]],
) -> EnsembleScore:
    """The first method, by simplicity, that keeps what can be kept and may be the best."""
    missed = [objectives.violation_of({**score.metrics, **costs[score.method]}) for score in scores]
    least = [score for score, own in zip(scores, missed, strict=True) if own <= min(missed)]
    is_single_able = least[0].method == BEST_SINGLE
    ensembles = [
        score
        for score in least
        if score.method != BEST_SINGLE and not (is_single_able and _is_clearly_worse(score, objectives))
    ]
    if not ensembles:
        return least[0]
    may_be_best = confidence_set([score.out_of_fold for score in ensembles], seed=seed, objectives=objectives)
    simplicity = list(METHODS)
    tied = [score for score, is_in in zip(ensembles, may_be_best, strict=True) if is_in]
    return min(tied, key=lambda score: simplicity.index(score.method))


def _is_clearly_worse(score: EnsembleScore, objectives: Objectives) -> bool:
    """True if a method is worse than the best single trial beyond chance."""
    if score.difference is None:
        return False
    low, high = score.difference.low, score.difference.high
    return high < 0.0 if objectives.main.higher_is_better else low > 0.0


def _better(
    scores: Sequence[EnsembleScore],
    images: NDArray[np.bool_],
    objectives: Objectives,
    costs: Mapping[str, Mapping[str, float]],
) -> EnsembleScore:
    """The better one by some images, whole folds; of equals the first."""
    values = [
        {**costs[score.method], **objective_values(score.out_of_fold.where(images), objectives)}
        for score in scores
    ]
    return scores[objectives.order(values)[0]]


def orders_of_choice(pool: Members, *, considered: int, seed: int) -> list[list[int]]:
    """Return the orders in which members are chosen among all trials, and among all without each fold.

    Args:
        pool: Out-of-fold predictions of the trials to order, and what the search optimises.
        considered: Number of best trials that may be members; the others follow, best first.
        seed: Random seed of the evaluation.

    Raises:
        ScoreError: If too few patients are left to hold any out.
    """
    outer = selection_folds(pool.labels, pool.groups, pool.folds, seed=seed)
    orders = []
    for own in (pool, *(pool.where(outer != fold) for fold in np.unique(outer))):
        first = choose_members(own, considered, considered)
        orders.append([*first, *(place for place in own.order(len(own.trials)) if place not in first)])
    return orders


def _members(pool: Members, outer: IntArray, number: int, considered: int | None) -> dict[int, list[int]]:
    """Fold -> positions of the members without it, the best trial first; the same for all methods."""
    return {
        int(fold): choose_members(pool.where(outer != fold), number, considered) for fold in np.unique(outer)
    }


def _nested(
    pool: Members, method: str, outer: IntArray, members: Mapping[int, list[int]], seed: int
) -> OutOfFold:
    is_single = method == BEST_SINGLE
    predicted: FloatArray = np.zeros(pool.probabilities.shape[1:])
    for fold, chosen in members.items():
        positions = chosen[:1] if is_single else chosen
        fitted = fit("average" if is_single else method, pool.where(outer != fold).only(positions), seed)
        predicted[outer == fold] = fitted.combine(pool.probabilities[positions][:, outer == fold])
    return pool.out_of_fold(predicted).in_parts(outer)


def _scored(
    method: str, nested: OutOfFold, difference: Interval | None, objectives: Objectives, seed: int
) -> EnsembleScore:
    return EnsembleScore(
        method=method,
        out_of_fold=nested,
        value=metric_interval(
            nested, objectives.metrics[0], objectives.metrics, operation=objectives.operation, seed=seed
        ),
        auc=auc_interval(nested),
        fold_auc=fold_areas(nested),
        difference=difference,
        metrics=out_of_fold_metrics(nested, objectives),
    )
