"""Coverage of the 95 % intervals: how often they hold the truth in simulated data sets whose truth is known.

    python -m benchmarks.coverage [--sets 300] [--only cv|holdout|test|recall] [--json FILE]

Four questions, each with the percentile bootstrap over patients beside the intervals of the product:

- `cv`: the AUC of a configuration, by 4-fold cross-validation with real training; the truth is the mean AUC
  of its fold models over all data sets.
- `holdout`: the same by a single hold-out of a quarter of the patients; the truth is that of its models.
- `test`: the AUC of a fixed model on a test part; scores are normal, so the truth is known exactly.
- `recall`: the recall of a fixed model on a test part.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from benchmarks.patient_bootstrap import bootstrap_interval
from benchmarks.simulated_patients import World, cross_validate, two_columns
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
_TEST_PARTS = tuple((half, half, area) for half in (10, 20, 50) for area in (0.7, 0.9, 0.98)) + tuple(
    (positives, 40 - positives, 0.85) for positives in (2, 3, 5, 10)
)
_RECALLS = tuple((patients, share) for patients in (5, 10, 20, 50) for share in (0.7, 0.9, 0.98))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=300, help="simulated data sets a row (default: 300)")
    parser.add_argument("--only", choices=tuple(_QUESTIONS), help="one of the questions")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    rows = []
    print("| question | data set | truth | width | bootstrap covers | product covers |\n|" + " --- |" * 6)
    for question, measured in _QUESTIONS.items():
        if arguments.only in (None, question):
            for row in measured(arguments.sets):
                rows.append({"question": question, **row})
                print(as_line(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def as_line(row: dict[str, Any]) -> str:
    """One row as Markdown."""
    return (
        f"| {row['question']} | {row['data']} | {row['truth']:.3f} | {row['width']:.3f} | "
        f"{row['bootstrap']:.3f} | {row['product']:.3f} |"
    )


def _cross_validated(sets: int, *, is_holdout: bool = False) -> Iterator[dict[str, Any]]:
    for patients, world in _WORLDS:
        random = np.random.default_rng(patients)
        features, labels, _ = world.draw(2000, random)
        found, areas = [], []
        for _ in range(sets):
            drawn = cross_validate(world, patients, random)
            own = drawn.predictions
            found.append(own.where(own.folds == 0) if is_holdout else own)
            logits = drawn.logits(features)[: 1 if is_holdout else None]
            areas.append(np.mean([auc(labels, two_columns(own)) for own in logits]))
        truth = 0.5 if world.auc == 0.5 else float(np.mean(areas))
        name = (
            f"{patients} patients, best AUC {world.auc}, {world.features} features, "
            f"{world.prevalence:.0%} positive, {world.images} image(s)"
        )
        yield _row(name, truth, [_bootstrap(one) for one in found], [auc_interval(one) for one in found])


def _held_out(sets: int) -> Iterator[dict[str, Any]]:
    yield from _cross_validated(sets, is_holdout=True)


def _tested(sets: int) -> Iterator[dict[str, Any]]:
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


def _recalled(sets: int) -> Iterator[dict[str, Any]]:
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


def _row(data: str, truth: float, old: list[Interval], new: list[Interval]) -> dict[str, Any]:
    return {
        "data": data,
        "truth": truth,
        "width": float(np.mean([one.high - one.low for one in new])),
        "bootstrap": float(np.mean([one.holds(truth) for one in old])),
        "product": float(np.mean([one.holds(truth) for one in new])),
    }


_QUESTIONS: Final[Mapping[str, Callable[[int], Iterator[dict[str, Any]]]]] = {
    "cv": _cross_validated,
    "holdout": _held_out,
    "test": _tested,
    "recall": _recalled,
}

if __name__ == "__main__":
    main()
