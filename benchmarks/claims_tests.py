"""How often claims are false: comparisons of models, promises of triage, and differences between strata.

    python -m benchmarks.claims_tests [--sets 200] [--only comparisons|triage|strata] [--json FILE]

Each claim is asked for on simulated data sets in which it is false, or whose truth is known:

- `comparisons`: twenty models that are equally good in truth, trained by 4-fold cross-validation on features
  of their own; the first is compared with the nineteen others. How often is any called better or worse?
- `triage`: a rule fitted on out-of-fold predictions, and one on patients that the model never saw; how many
  of a large number of new patients does it miss, and recall, on average over data sets?
- `strata`: columns that have nothing to do with the score. How often is any stratum called different?
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from benchmarks.questions import Question, ask
from benchmarks.simulated_patients import World, cross_validate, fitted, stratified_folds, two_columns
from results.run.records import OutOfFold
from results.scores.calibration import Platt, log_odds
from results.scores.decision_rule import fit_decision_rule
from results.scores.judged_images import JudgedImages
from results.scores.model_comparison import NamedPredictions, compare_models
from results.scores.operating_point import Operation
from results.scores.strata import score_strata
from results.scores.triage import BENIGN, RECALL, TriageRule, fit_triage, parse_triage
from trainables.common.types import FloatArray, IntArray

_MODELS: Final = 20
_FOLDS: Final = 4
_NEW_PATIENTS: Final = 4000
_AIM: Final = parse_triage("missed=0.05,alarms=0.2")
_COMPARED: Final = ((100, World(0.75)), (200, World(0.75, prevalence=0.2)), (200, World(0.9)))
_TRIAGED: Final = (
    (100, World(0.85)),
    (300, World(0.85, prevalence=0.2)),
    (150, World(0.8, images=3, shared=0.5)),
)
_STRATA: Final = ((150, 0.76, 0.5, 1), (300, 0.86, 0.2, 2), (80, 0.98, 0.5, 1))


def false_comparisons(patients: int, world: World, sets: int, *, seed: int = 0) -> float:
    """Return the share of data sets in which some of nineteen equal models is called better or worse.

    Args:
        patients: Number of patients of a set.
        world: Population; every model sees informative features of its own of the same strength.
        sets: Number of data sets.
        seed: Random seed.
    """
    random = np.random.default_rng(seed)
    return float(np.mean([_any_claim(patients, world, random) for _ in range(sets)]))


def _any_claim(patients: int, world: World, random: np.random.Generator) -> bool:
    features, labels, groups = world.draw(patients, random)
    fold = stratified_folds(labels, groups, _FOLDS, random)
    models = []
    for number in range(_MODELS):
        # What the models share makes them right and wrong on the same patients, as in a search.
        own = np.concatenate([features, _further(world, labels, random)], axis=1)
        logits = np.zeros(len(labels))
        for one in range(_FOLDS):
            model = fitted(own[fold != one], labels[fold != one], world.penalty)
            logits[fold == one] = model.decision_function(own[fold == one])
        predictions = OutOfFold(np.arange(len(labels)), labels, fold, groups.astype(str), two_columns(logits))
        models.append(NamedPredictions(f"model {number}", predictions))
    found = compare_models(models, metric="auc", seed=0)
    return any(pair.is_better is not None for pair in found.comparisons)


def _further(world: World, labels: IntArray, random: np.random.Generator) -> FloatArray:
    """Five features of one model alone, of which one tells a little."""
    noise = random.normal(size=(len(labels), 5))
    noise[:, 0] += 0.5 * labels
    return noise


def triage_errors(
    patients: int, world: World, sets: int, *, is_exact: bool, seed: int = 0
) -> tuple[float, float]:
    """Return the mean shares of new patients that a rule misses and recalls.

    Args:
        patients: Number of patients that the rule is fitted on.
        world: Population.
        sets: Number of data sets.
        is_exact: Fit on patients that the model never saw; False fits on out-of-fold predictions.
        seed: Random seed.
    """
    random = np.random.default_rng(seed)
    found = [_errors_of_a_rule(patients, world, random, is_exact=is_exact) for _ in range(sets)]
    missed, recalled = np.mean(found, axis=0)
    return float(missed), float(recalled)


def _errors_of_a_rule(
    patients: int, world: World, random: np.random.Generator, *, is_exact: bool
) -> tuple[float, float]:
    trained = cross_validate(world, patients, random)
    new, labels, _ = world.draw(_NEW_PATIENTS, random)
    if is_exact:
        local, own, groups = world.draw(patients, random)
        rule = fit_triage(own, two_columns(trained.logits(local).mean(axis=0))[:, 1], groups, _AIM)
        positive = two_columns(trained.logits(new).mean(axis=0))[:, 1]
    else:
        fitted_rule = fit_decision_rule(trained.predictions, operation=Operation(triage=_AIM))
        rule = fitted_rule.triage or TriageRule(low=0.0, high=1.0, aim=_AIM, patients=(0, 0))
        calibration = fitted_rule.mean_calibration or Platt()
        mean = two_columns(trained.logits(new).mean(axis=0))
        positive = calibration.apply_to_scores(log_odds(mean))
    outcomes = rule.outcomes(positive)
    return float((outcomes[labels == 1] == BENIGN).mean()), float((outcomes[labels == 0] == RECALL).mean())


def false_strata(
    patients: int, auc: float, prevalence: float, images: int, sets: int, *, seed: int = 0
) -> float:
    """Return the share of data sets without any difference in which some stratum is called different.

    Args:
        patients: Number of patients of a set.
        auc: AUC of the score.
        prevalence: Share of positive patients.
        images: Images of a patient; views are among the strata.
        sets: Number of data sets.
        seed: Random seed.
    """
    random = np.random.default_rng(seed)
    world = World(auc, features=5, prevalence=prevalence, images=images, shared=0.5)
    found = []
    for _ in range(sets):
        features, labels, groups = world.draw(patients, random)
        probabilities = two_columns(features.sum(axis=1) / np.sqrt(5))
        decided = (probabilities[:, 1] >= np.quantile(probabilities[:, 1], 1 - prevalence)).astype(np.int64)
        vendors, densities = random.choice(3, size=patients), random.choice(4, size=patients)
        columns = {
            "vendor": np.array(["GE", "Hologic", "Siemens"])[vendors][groups],
            "density": (1.0 + densities)[groups],
            "age_years": random.uniform(35, 80, size=patients)[groups],
            "view": np.array(["CC", "MLO"])[np.arange(len(labels)) % 2],
        }
        judged = JudgedImages(
            labels, probabilities, probabilities, decided, np.zeros_like(labels), groups.astype(str)
        )
        found.append(bool(score_strata(judged, columns, ("benign", "malignant"), seed=0).found))
    return float(np.mean(found))


def _comparisons(sets: int) -> Iterator[dict[str, Any]]:
    for patients, world in _COMPARED:
        yield {
            "set": f"{patients} patients, {world.prevalence:.0%} positive, AUC {world.auc}",
            "found": false_comparisons(patients, world, sets),
            "promised": "at most 0.05",
        }


def _triage(sets: int) -> Iterator[dict[str, Any]]:
    for patients, world in _TRIAGED:
        for is_exact in (True, False):
            errors = triage_errors(patients, world, sets, is_exact=is_exact)
            where = "patients not seen" if is_exact else "out of fold"
            for name, error, share in zip(
                ("missed", "alarms"), errors, (_AIM.missed, _AIM.alarms), strict=True
            ):
                yield {
                    "set": f"{patients} patients, {world.images} image(s) each, {where}: {name}",
                    "found": error,
                    "promised": f"at most {share}",
                }


def _strata(sets: int) -> Iterator[dict[str, Any]]:
    for patients, auc, prevalence, images in _STRATA:
        yield {
            "set": f"{patients} patients, {prevalence:.0%} positive, AUC {auc}, {images} image(s) each",
            "found": false_strata(patients, auc, prevalence, images, sets),
            "promised": "at most 0.05",
        }


_QUESTIONS: Final[dict[str, Question]] = {
    "comparisons": _comparisons,
    "triage": _triage,
    "strata": _strata,
}

_COLUMNS: Final = {"set": "data set", "found": "found", "promised": "promised"}

if __name__ == "__main__":
    ask(__doc__.splitlines()[0], _QUESTIONS, _COLUMNS, sets=200)
