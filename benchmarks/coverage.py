"""Coverage of the 95 % intervals: how often they hold the truth in simulated data sets whose truth is known.

    python -m benchmarks.coverage [--sets 300] [--only QUESTION] [--json FILE]

Each question has the percentile bootstrap over patients beside the intervals of the product:

- `cv`: the AUC of a configuration, by 4-fold cross-validation with real training; the truth is the mean AUC
  of its fold models over all data sets.
- `holdout`: the same by a single hold-out of a quarter, a fifth or a half of the patients; the truth is the
  mean AUC of its models over all data sets.
- `ensembles`: the nested AUC of ensembles of a hold-out of a quarter, whose four members see other features;
  the truth is the mean AUC over all data sets of the ensembles that all validation patients choose and fit.
- `test`: the AUC of a fixed model on a test part; scores are normal, so the truth is known exactly.
- `recall`: the recall of a fixed model on a test part.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from statistics import NormalDist
from typing import Final

import numpy as np

from benchmarks.patient_bootstrap import bootstrap_interval
from benchmarks.questions import Question, Row, ask
from benchmarks.simulated_patients import World, cross_validate, fitted, stratified_folds, two_columns
from results.ensembles.choice import choose_members
from results.ensembles.members import Members, align
from results.ensembles.methods import fit
from results.ensembles.nested import BEST_SINGLE, nested_evaluation
from results.run.records import OutOfFold
from results.scores.auc_interval import auc_interval, fixed_model_auc_interval
from results.scores.bootstrap import fold_auc_statistic
from results.scores.decision_intervals import decision_intervals
from results.scores.decisions import confusion
from results.scores.interval import Interval
from results.scores.metrics import auc, recall
from trainables.common.types import FloatArray, IntArray

_WORLDS = (
    (40, World(0.75)),
    (40, World(0.95)),
    (100, World(0.75)),
    (100, World(0.92)),
    (100, World(0.5, features=200)),
    (200, World(0.75)),
    (200, World(0.75, features=50, prevalence=0.2)),
    (100, World(0.75, images=4, shared=0.5)),
)
_LARGER = ((400, World(0.75)), (400, World(0.92)))
_METHODS: Final = ("average", "greedy", "stack_logistic")
_MEMBERS: Final = 4
_TEST_PARTS = tuple((half, half, area) for half in (10, 20, 50) for area in (0.7, 0.9, 0.98)) + tuple(
    (positives, 40 - positives, 0.85) for positives in (2, 3, 5, 10)
)
_RECALLS = tuple((patients, share) for patients in (5, 10, 20, 50) for share in (0.7, 0.9, 0.98))


def _cross_validated(sets: int) -> Iterator[Row]:
    for patients, world in _WORLDS:
        yield _configuration(world, patients, sets, folds=4)


def _held_out(sets: int) -> Iterator[Row]:
    for part, folds in (("a quarter", 4), ("a fifth", 5), ("a half", 2)):
        for patients, world in (*_WORLDS, *_LARGER):
            row = _configuration(world, patients, sets, folds=folds, is_holdout=True)
            yield {**row, "data": f"{part} of {row['data']}"}


def _configuration(world: World, patients: int, sets: int, *, folds: int, is_holdout: bool = False) -> Row:
    """The intervals of a configuration, by all folds or by the first one alone."""
    random = np.random.default_rng(patients)
    features, labels, _ = world.draw(2000, random)
    found, areas = [], []
    for _ in range(sets):
        drawn = cross_validate(world, patients, random, folds=folds)
        own = drawn.predictions
        found.append(own.where(own.folds == 0) if is_holdout else own)
        logits = drawn.logits(features)[: 1 if is_holdout else None]
        areas.append(np.mean([auc(labels, two_columns(own)) for own in logits]))
    truth = 0.5 if world.auc == 0.5 else float(np.mean(areas))
    name = (
        f"{patients} patients, best AUC {world.auc}, {world.features} features, "
        f"{world.prevalence:.0%} positive, {world.images} image(s)"
    )
    return _row(name, truth, [_bootstrap(one) for one in found], [auc_interval(one) for one in found])


def _combined(sets: int) -> Iterator[Row]:
    world, methods = World(0.85), (BEST_SINGLE, *_METHODS)
    for validated in (25, 100):
        random = np.random.default_rng(validated)
        features, labels, _ = world.draw(2000, random)
        found, areas = defaultdict(list), defaultdict(list)
        for _ in range(sets):
            pool, unseen = _members_of_a_holdout(world, 4 * validated, features, random)
            for score in nested_evaluation(pool, _METHODS, max_members=_MEMBERS, seed=0):
                found[score.method].append(score)
            for method in methods:
                areas[method].append(auc(labels, _shipped(method, pool, unseen)))
        for method in methods:
            yield _row(
                f"{method} of four, a quarter of {4 * validated} patients, best AUC {world.auc}",
                float(np.mean(areas[method])),
                [_bootstrap(score.out_of_fold) for score in found[method]],
                [score.auc for score in found[method]],
            )


def _members_of_a_holdout(
    world: World, patients: int, unseen: FloatArray, random: np.random.Generator
) -> tuple[Members, FloatArray]:
    """Train on three quarters of the patients, each member on every fourth feature.

    Returns:
        What the members predict of the last quarter, and of unseen patients, shape (members, images, 2).
    """
    features, labels, groups = world.draw(patients, random)
    held_out = stratified_folds(labels, groups, 4, random) == 0
    rows = np.flatnonzero(held_out)
    predictions, elsewhere = {}, []
    for member in range(_MEMBERS):
        own = slice(member, None, _MEMBERS)
        model = fitted(features[~held_out, own], labels[~held_out], world.penalty)
        predictions[member] = OutOfFold(
            rows,
            labels[rows],
            0 * rows,
            groups[rows].astype(str),
            two_columns(model.decision_function(features[rows, own])),
        )
        elsewhere.append(two_columns(model.decision_function(unseen[:, own])))
    return align(predictions), np.stack(elsewhere)


def _shipped(method: str, pool: Members, predictions: FloatArray) -> FloatArray:
    """What an ensemble of all validation patients predicts of others, shape (images, 2)."""
    chosen = choose_members(pool, 1 if method == BEST_SINGLE else _MEMBERS)
    rule = fit("average" if method == BEST_SINGLE else method, pool.only(chosen), 0)
    return rule.combine(predictions[chosen])


def _tested(sets: int) -> Iterator[Row]:
    for positives, negatives, area in _TEST_PARTS:
        random = np.random.default_rng(positives)
        labels = np.repeat([0, 1], [negatives, positives])
        distance = np.sqrt(2.0) * NormalDist().inv_cdf(area)
        old, new = [], []
        for _ in range(sets):
            probabilities = two_columns(random.normal(size=len(labels)) + distance * labels)
            groups = np.arange(len(labels)).astype(str)
            old.append(_bootstrap(OutOfFold(labels, labels, 0 * labels, groups, probabilities)))
            new.append(fixed_model_auc_interval(labels, probabilities, groups))
        yield _row(f"{positives} + {negatives} patients", area, old, new)


def _recalled(sets: int) -> Iterator[Row]:
    for patients, share in _RECALLS:
        random = np.random.default_rng(patients)
        labels, groups = np.repeat([0, 1], patients), np.arange(2 * patients).astype(str)
        old, new = [], []
        for _ in range(sets):
            decided = (labels * (random.random(len(labels)) < share)).astype(np.int64)
            old.append(bootstrap_interval(groups, _recall_of(labels, decided), resamples=400, seed=0))
            new.append(decision_intervals(labels, decided, groups, classes=2, seed=0)["recall"])
        yield _row(f"{patients} positive patients", share, old, new)


def _recall_of(labels: IntArray, decided: IntArray) -> Callable[[IntArray], FloatArray]:
    def values(counts: IntArray) -> FloatArray:
        found = [
            float(recall(confusion(np.repeat(labels, own), np.repeat(decided, own), 2))) for own in counts
        ]
        has_any = (counts * labels).sum(axis=1) > 0
        return np.where(has_any, found, np.nan)

    return values


def _bootstrap(predictions: OutOfFold) -> Interval:
    statistic = fold_auc_statistic(predictions.labels, predictions.probabilities, predictions.folds)
    return bootstrap_interval(predictions.groups, statistic, resamples=400, seed=0)


def _row(data: str, truth: float, old: list[Interval], new: list[Interval]) -> Row:
    return {
        "data": data,
        "truth": truth,
        "width": float(np.mean([one.high - one.low for one in new])),
        "bootstrap": float(np.mean([one.holds(truth) for one in old])),
        "product": float(np.mean([one.holds(truth) for one in new])),
    }


_QUESTIONS: Final[Mapping[str, Question]] = {
    "cv": _cross_validated,
    "holdout": _held_out,
    "ensembles": _combined,
    "test": _tested,
    "recall": _recalled,
}
_COLUMNS: Final = {
    "data": "data set",
    "truth": "truth",
    "width": "width",
    "bootstrap": "bootstrap covers",
    "product": "product covers",
}

if __name__ == "__main__":
    ask(__doc__.splitlines()[0], _QUESTIONS, _COLUMNS, sets=300)
