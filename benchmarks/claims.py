"""Claims about whole searches, on simulated patients whose truth is known exactly.

    python -m benchmarks.claims [--sets 400] [--only nested|overtuning] [--json FILE]

- `nested`: a search over linear models (each with features of its own and a penalty; 4 folds, the best by
  mean fold AUC, its fold models averaged) inside of 5 outer folds. The truth is the mean true AUC of what
  such searches ship; that of a linear score is known without a test set. Beside it is what they say.
- `overtuning`: trials of pure noise, in which there is nothing to find but luck, against trials that truly
  get better: how often the meter says luck, how far its corrected score lies from the truth, and how often it
  claims a gain.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from benchmarks.simulated_patients import INFORMATIVE, World, stratified_folds, two_columns
from results.run.outer_fold import FoldModel, FoldPredictions, OuterFold, Role
from results.run.records import OutOfFold
from results.scores.interval import Interval
from results.scores.metrics import mean_fold_auc
from results.scores.outer_result import RoleScore, score_outer
from results.scores.overtuning import overtuning_of
from results.scores.ranking import BY_AUC
from trainables.common.types import FloatArray, IntArray

_OUTER, _FOLDS, _CONFIGURATIONS = 5, 4, 24
_WORLDS: Final = (
    (100, World(0.5, features=100)),
    (100, World(0.75)),
    (200, World(0.75)),
    (100, World(0.92)),
    (250, World(0.75, features=50, prevalence=0.2)),
    (100, World(0.75, images=3, shared=0.5)),
)
# Patients, true AUC of the first and of the last trial, correlation of the noise of two trials.
_CASES: Final = (
    (120, 0.5, 0.5, 0.0),
    (120, 0.5, 0.5, 0.5),
    (120, 0.7, 0.7, 0.5),
    (200, 0.65, 0.85, 0.5),
    (200, 0.75, 0.85, 0.5),
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A linear model: the features that it sees, and the penalty of its weights."""

    features: IntArray
    penalty: float

    def weights(self, inputs: FloatArray, labels: IntArray) -> FloatArray:
        """Fit by penalised least squares; returns a weight for each feature, 0 for unseen ones."""
        seen = inputs[:, self.features]
        centred, target = seen - seen.mean(axis=0), labels - labels.mean()
        gram = centred.T @ centred + self.penalty * np.eye(len(self.features))
        found = np.zeros(inputs.shape[1])
        found[self.features] = np.linalg.solve(gram, centred.T @ target)
        return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=400, help="simulated data sets a row (default: 400)")
    parser.add_argument("--only", choices=("nested", "overtuning"), help="one of the two questions")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    rows = []
    for question, measured in (("nested", nested_rows), ("overtuning", overtuning_rows)):
        if arguments.only not in (None, question):
            continue
        for number, row in enumerate(measured(arguments.sets)):
            if number == 0:
                print(f"\n| {' | '.join(row)} |\n|{' --- |' * len(row)}")
            cells = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()]
            print(f"| {' | '.join(cells)} |", flush=True)
            rows.append({"question": question, **row})
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def nested_rows(sets: int, worlds: tuple[tuple[int, World], ...] = _WORLDS) -> Iterator[dict[str, Any]]:
    """Yield a row for each world: bias and coverage of the nested score, and what searches say themselves."""
    for patients, world in worlds:
        random = np.random.default_rng(patients + world.features)
        scored, truths, gains = [], [], []
        for _ in range(sets):
            score, truth, gain = nested_search(world, patients, random)
            scored.append(score)
            truths.append(truth)
            gains.append(gain)
        truth, values = float(np.mean(truths)), [one.value for one in scored]
        yield {
            "data": f"{patients} patients, best AUC {world.auc}, {world.features} features, "
            f"{world.prevalence:.0%} positive, {world.images} image(s)",
            "truth": truth,
            "nested score": float(np.mean([one.estimate for one in values])),
            "bias": float(np.mean([one.estimate for one in values])) - truth,
            "covers": float(np.mean([one.holds(truth) for one in values])),
            "width": float(np.mean([one.high - one.low for one in values])),
            "claims a gain": float(np.mean([one.low > 0 for one in gains])),
            "said inside": float(np.mean([one.inner_value for one in scored])),
        }


def nested_search(
    world: World, patients: int, random: np.random.Generator
) -> tuple[RoleScore, float, Interval]:
    """Draw patients and nest a search; returns its score, the truth of what it ships, and what it gains."""
    inputs, labels, groups = world.draw(patients, random)
    outer = stratified_folds(labels, groups, _OUTER, random)
    space = [
        Configuration(
            np.sort(random.choice(world.features, size=world.features // 2, replace=False)),
            float(10 ** random.uniform(0, 3)),
        )
        for _ in range(_CONFIGURATIONS)
    ]
    folds, truths = [], []
    for fold in range(_OUTER):
        seen = outer != fold
        shipped, first, claimed = _search(space, inputs[seen], labels[seen], groups[seen], random)
        truths.append(_true_auc(shipped, world))
        predictions: dict[Role, FloatArray] = {
            "shipped": two_columns(inputs[~seen] @ shipped),
            "first_point": two_columns(inputs[~seen] @ first),
        }
        rows = np.flatnonzero(~seen)
        found = FoldPredictions(rows, labels[~seen], groups[~seen].astype(str), predictions)
        folds.append((_described(fold, claimed), found))
    scores, gains = score_outer(folds, BY_AUC, seed=0)
    return scores["shipped"], float(np.mean(truths)), gains["first_point"]


def _search(
    space: list[Configuration],
    inputs: FloatArray,
    labels: IntArray,
    groups: IntArray,
    random: np.random.Generator,
) -> tuple[FloatArray, FloatArray, float]:
    """Choose by cross-validation; returns the mean models of the best and of the first, and the score."""
    fold = stratified_folds(labels, groups, _FOLDS, random)
    models = np.stack(
        [[one.weights(inputs[fold != own], labels[fold != own]) for own in range(_FOLDS)] for one in space]
    )
    logits = np.einsum("cif,if->ci", models[:, fold], inputs)
    probabilities = np.stack([two_columns(own) for own in logits])
    areas = np.asarray(mean_fold_auc(labels, probabilities, fold))
    best = int(areas.argmax())
    return models[best].mean(axis=0), models[0].mean(axis=0), float(areas[best])


def _true_auc(weights: FloatArray, world: World) -> float:
    """AUC of a linear score where both classes are normal with independent features of variance 1."""
    distance = np.sqrt(2.0) * NormalDist().inv_cdf(world.auc) / np.sqrt(INFORMATIVE)
    return NormalDist().cdf(
        float(weights[:INFORMATIVE].sum() * distance / np.linalg.norm(weights) / np.sqrt(2))
    )


def _described(fold: int, claimed: float) -> OuterFold:
    model = FoldModel(name="", trials=(0,), settings="", inner_value=claimed, threshold=0.5)
    return OuterFold(
        fold=fold + 1,
        folds=_OUTER,
        patients=1,
        asked=_CONFIGURATIONS,
        ended=_CONFIGURATIONS,
        complete=_CONFIGURATIONS,
        models={"shipped": model, "first_point": model},
        winner={},
        worker_seconds=0.0,
        features_computed=0,
        features_again=0,
        features_read=0,
    )


def overtuning_rows(
    sets: int, cases: tuple[tuple[int, float, float, float], ...] = _CASES
) -> Iterator[dict[str, Any]]:
    """Yield a row for each kind of search: what the meter says of it."""
    for patients, first, last, common in cases:
        random = np.random.default_rng(patients)
        found, truths = [], []
        for _ in range(sets):
            trials, areas = _drawn_search(patients, first, last, common, random)
            one = overtuning_of(list(enumerate(trials)), BY_AUC, seed=0)
            found.append(one)
            truths.append(areas[one.stages[-1].best])
        yield {
            "search": f"{_CONFIGURATIONS} trials, {patients} patients, true AUC {first} to {last}, "
            f"noise correlation {common}",
            "says luck": float(np.mean([one.verdict == "luck" for one in found])),
            "says pays": float(np.mean([one.verdict == "pays" for one in found])),
            "gain above 0": float(np.mean([one.gain.low > 0 for one in found])),
            "leaderboard minus truth": float(
                np.mean([one.claimed.estimate for one in found]) - np.mean(truths)
            ),
            "corrected minus truth": float(
                np.mean([one.corrected.estimate for one in found]) - np.mean(truths)
            ),
        }


def _drawn_search(
    patients: int, first: float, last: float, common: float, random: np.random.Generator
) -> tuple[list[OutOfFold], FloatArray]:
    """Out-of-fold predictions of trials that get better, or do not, and their true AUCs."""
    rows = np.arange(patients)
    labels = random.permutation(rows % 2)
    truths = np.linspace(first, last, _CONFIGURATIONS)
    shared = np.sqrt(common) * random.normal(size=patients)
    found = []
    for truth in truths:
        distance = np.sqrt(2.0) * NormalDist().inv_cdf(float(truth))
        own = np.sqrt(1 - common) * random.normal(size=patients)
        probabilities = two_columns(distance * labels + shared + own)
        found.append(OutOfFold(rows, labels, rows % 4, rows.astype(str), probabilities))
    return found, truths


if __name__ == "__main__":
    main()
