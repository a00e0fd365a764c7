"""Calibration and decisions of the exported mean of fold models: promised out of fold, found on new patients.

    python -m benchmarks.calibration [--sets 40] [--json FILE]

Four fold models are logistic regressions on simulated patients; 20,000 new images tell the truth. The rows
of each
population: the mean of probabilities with Platt's calibration of single models and the threshold of best
balanced accuracy (before), the mean of logits with the same, the mean of probabilities that are calibrated
one by one, each fold model calibrated by its own fold, and the product's rule for the mean of logits, also
with the threshold of best balanced accuracy. The slope is the one that the calibrated output still needs: 1
is calibrated, more is under-confident.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.simulated_patients import CrossValidated, World, cross_validate, two_columns
from results.run.records import OutOfFold
from results.scores.calibration import Platt, log_odds, sigmoid
from results.scores.decision_rule import best_threshold, cross_fit, fit_decision_rule
from results.scores.decisions import confusion
from results.scores.metrics import recall, specificity
from trainables.common.types import FloatArray, IntArray

_NEW_IMAGES: Final = 20_000
_WORLDS: Final = tuple(
    (patients, World(auc, features=features, prevalence=prevalence, penalty=penalty))
    for prevalence in (0.15, 0.5)
    for patients in (100, 200, 300)
    for auc, features, penalty in ((0.75, 20, 1.0), (0.9, 10, 1.0), (0.75, 50, 0.01))
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=40, help="simulated data sets a row (default: 40)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    rows = []
    print(
        "| positive | patients | best AUC | features | C | model | slope mean | median | log-loss "
        "| recall promised "
        "| found | specificity promised | found | balanced accuracy |\n|" + " --- |" * 14
    )
    for patients, world in _WORLDS:
        for row in _measured(patients, world, arguments.sets):
            rows.append(row)
            print("| " + " | ".join(_text(value) for value in row.values()) + " |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _measured(patients: int, world: World, sets: int) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(patients)
    features, labels, _ = world.draw(_NEW_IMAGES, random)
    found: dict[str, list[list[float]]] = {}
    for _ in range(sets):
        drawn = cross_validate(world, patients, random)
        for name, values in _models(drawn, drawn.logits(features), labels).items():
            found.setdefault(name, []).append(values)
    for name, by_set in found.items():
        mean = np.mean(by_set, axis=0)
        yield {
            "positive": f"{world.prevalence:.0%}",
            "patients": patients,
            "auc": str(world.auc),
            "features": world.features,
            "penalty": str(world.penalty),
            "model": name,
            "slope": float(mean[0]),
            "median_slope": float(np.median([one[0] for one in by_set])),
            "log_loss": float(mean[1]),
            "recall_promised": float(mean[2]),
            "recall": float(mean[3]),
            "specificity_promised": float(mean[4]),
            "specificity": float(mean[5]),
            "balanced_accuracy": float((mean[3] + mean[5]) / 2),
        }


def _models(drawn: CrossValidated, logits: FloatArray, labels: IntArray) -> dict[str, list[float]]:
    predictions, rule = drawn.predictions, fit_decision_rule(drawn.predictions)
    before, threshold = _before(predictions)
    promised_before = _promise(predictions.labels, _cross_fit_before(predictions))
    of_mean = log_odds(two_columns(logits.mean(axis=0)))
    of_probabilities = sigmoid(logits).mean(axis=0)
    assert rule.mean_calibration is not None
    assert rule.calibration is not None
    return {
        "mean of probabilities": _scores(
            before.apply_to_scores(np.log(of_probabilities / (1 - of_probabilities))),
            threshold,
            labels,
            promised_before,
        ),
        "mean of logits": _scores(before.apply_to_scores(of_mean), threshold, labels, promised_before),
        "mean of calibrated probabilities": _scores(
            before.apply_to_scores(logits).mean(axis=0), threshold, labels, promised_before
        ),
        "each by its own fold": _scores(
            _each_by_its_own_fold(predictions, logits), threshold, labels, promised_before
        ),
        "product, best threshold": _scores(
            rule.mean_calibration.apply_to_scores(of_mean),
            best_threshold(predictions.labels, rule.calibration.apply(predictions.probabilities)),
            labels,
            promised_before,
        ),
        "product": _scores(
            rule.mean_calibration.apply_to_scores(of_mean),
            rule.threshold,
            labels,
            _promise(predictions.labels, cross_fit(predictions).decided["recall"]),
        ),
    }


def _each_by_its_own_fold(predictions: OutOfFold, logits: FloatArray) -> FloatArray:
    """Mean of the fold models' probabilities, each calibrated by Platt's own way on the fold it held out."""
    found = []
    for fold, own in enumerate(logits):
        held_out = predictions.folds == fold
        kept = {name: getattr(predictions, name)[held_out] for name in OutOfFold.ARRAYS}
        found.append(_before(OutOfFold(**kept))[0].apply_to_scores(own))
    return np.mean(found, axis=0)


def _before(predictions: OutOfFold) -> tuple[Platt, float]:
    """Platt's own calibration, towards smoothed targets, and the threshold of best balanced accuracy."""
    labels, score = predictions.labels, log_odds(predictions.probabilities)[:, None]
    ones, zeros = labels.sum(), (1 - labels).sum()
    targets = np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    model = LogisticRegression(C=np.inf, max_iter=1000).fit(
        np.concatenate([score, score]),
        np.repeat([1, 0], len(labels)),
        sample_weight=np.concatenate([targets, 1 - targets]),
    )
    slope = float(model.coef_[0, 0])
    platt = Platt(slope=slope, intercept=float(model.intercept_[0])) if slope > 0 else Platt()
    return platt, best_threshold(labels, platt.apply(predictions.probabilities))


def _cross_fit_before(predictions: OutOfFold) -> IntArray:
    decided = np.zeros_like(predictions.labels)
    for fold in np.unique(predictions.folds):
        own, others = predictions.folds == fold, predictions.folds != fold
        kept = {name: getattr(predictions, name)[others] for name in OutOfFold.ARRAYS}
        platt, threshold = _before(OutOfFold(**kept))
        decided[own] = platt.apply(predictions.probabilities[own])[:, 1] >= threshold
    return decided


def _promise(labels: IntArray, decided: IntArray) -> tuple[float, float]:
    matrix = confusion(labels, decided, 2)
    return float(recall(matrix)), float(specificity(matrix))


def _scores(
    positive: FloatArray, threshold: float, labels: IntArray, promised: tuple[float, float]
) -> list[float]:
    clipped = np.clip(positive, 1e-9, 1 - 1e-9)
    score = np.log(clipped / (1 - clipped))
    slope = LogisticRegression(C=np.inf).fit(score[:, None], labels).coef_[0, 0]
    loss = -np.log(np.where(labels == 1, clipped, 1 - clipped)).mean()
    found = _promise(labels, (positive >= threshold).astype(np.int64))
    return [float(slope), float(loss), promised[0], found[0], promised[1], found[1]]


if __name__ == "__main__":
    main()
