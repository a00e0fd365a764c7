"""What intervals and tests of decisions promise, and what they do in sets whose truth is known.

    python -m benchmarks.decision_coverage [--sets 300] [--only QUESTION] [--json FILE]

A 95 % interval is to hold the truth in 0.95 of sets, and what is not there is to be found in 0.05 at most.

- `shares`: recall of a fixed model, where a patient has several images that resemble one another.
- `scores`: F1 and F2 of a rare class, and kappa, class distance and macro F1 of four classes in an order.
- `benefit`: net benefit of a model that is worth nothing at a threshold which few images reach.
- `strata`: two strata of clustered images without a difference.
- `shift`: another set without a shift, where one patient has many of its images.
- `differences`: two models of one quality, by AUC, average precision and partial AUC.
"""

from collections.abc import Iterator, Mapping
from statistics import NormalDist
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from benchmarks.questions import Question, ask
from benchmarks.simulated_patients import stratified_folds, two_columns
from results.run.records import OutOfFold
from results.scores.decision_curve import decision_curve
from results.scores.decision_intervals import decision_intervals
from results.scores.interval import Interval
from results.scores.judged_images import JudgedImages
from results.scores.metrics import metric_named
from results.scores.model_comparison import NamedPredictions, compare_models
from results.scores.set_shift import FigureQuantiles, set_shift
from results.scores.strata import score_strata
from trainables.common.types import FloatArray, IntArray

_EVEN: Final = (0.25, 0.25, 0.25, 0.25)
_UNEVEN: Final = (0.4, 0.3, 0.2, 0.1)
_RARE: Final = (0.85, 0.05, 0.05, 0.05)
_ORDERED: Final = np.array([[0.7, 0.2, 0.1, 0], [0.2, 0.6, 0.2, 0], [0, 0.2, 0.6, 0.2], [0, 0.1, 0.3, 0.6]])
_ACTS_FROM: Final = 0.9
_MOST_IMAGES: Final = 60


def _covered(data: str, found: list[Interval], truth: float) -> dict[str, Any]:
    return {
        "data": data,
        "covers": float(np.mean([one.holds(truth) for one in found])),
        "width": float(np.mean([one.high - one.low for one in found])),
    }


def _patients(random: np.random.Generator, number: int, images: int | None) -> IntArray:
    """The patient of each image: `images` for each patient, or a log-normal number."""
    if images is not None:
        return np.repeat(np.arange(number), images)
    drawn = np.ceil(random.lognormal(1.0, 1.0, size=number)).astype(np.int64)
    return np.repeat(np.arange(number), np.minimum(drawn, _MOST_IMAGES))


def _alike(random: np.random.Generator, patients: IntArray, share: float, correlation: float) -> IntArray:
    """0 or 1 for each image: a share of 1, of which two of a patient have a correlation in (0, 1)."""
    spread = 1 / correlation - 1
    own = random.beta(share * spread, (1 - share) * spread, size=patients.max() + 1)
    return (random.random(len(patients)) < own[patients]).astype(np.int64)


def _shares(sets: int) -> Iterator[dict[str, Any]]:
    cases = ((5, 10, 0.6), (10, None, 0.6), (20, None, 0.6), (50, None, 0.6), (20, 10, 0.1), (100, 2, 0.3))
    for number, images, correlation in cases:
        random = np.random.default_rng(number)
        found = []
        for _ in range(sets):
            patients = _patients(random, number, images)
            decided = _alike(random, patients, 0.8, correlation)
            intervals = decision_intervals(np.ones_like(decided), decided, patients, classes=2, seed=0)
            found.append(intervals["recall"])
        have = "a log-normal number of" if images is None else images
        yield _covered(
            f"recall of 0.8, {number} patients of {have} images, correlation {correlation}", found, 0.8
        )


def _scores(sets: int) -> Iterator[dict[str, Any]]:
    two = np.array([[0.9, 0.1], [0.3, 0.7]])
    for patients, rare in ((200, 0.05), (100, 0.1), (100, 0.3)):
        name = f"{patients} patients, {rare:.0%} positive"
        yield from _of_decisions(name, sets, patients, (1 - rare, rare), two, ("f1", "f2"))
    ordered = ("quadratic_kappa", "class_distance", "f1")
    for shares in (_EVEN, _UNEVEN, _RARE):
        name = f"120 patients in {', '.join(f'{share:.0%}' for share in shares)}"
        yield from _of_decisions(name, sets, 120, shares, _ORDERED, ordered)


def _of_decisions(
    name: str,
    sets: int,
    patients: int,
    shares: tuple[float, ...],
    decides: FloatArray,
    names: tuple[str, ...],
) -> Iterator[dict[str, Any]]:
    """Rows of metrics of decisions: shares of the true classes, and of decisions within each."""
    random, classes = np.random.default_rng(patients), len(shares)
    metrics = [metric_named(one) for one in names]
    truth = {one.name: float(one(np.array(shares)[:, None] * decides * 10_000)) for one in metrics}
    found: dict[str, list[Interval]] = {one.name: [] for one in metrics}
    for _ in range(sets):
        labels = random.choice(classes, size=patients, p=shares)
        decided = np.array([random.choice(classes, p=decides[label]) for label in labels])
        if len(np.unique(labels)) < classes:
            continue
        intervals = decision_intervals(
            labels, decided, np.arange(patients), classes=classes, seed=0, metrics=metrics
        )
        for key, interval in intervals.items():
            found[key].append(interval)
    for key, intervals_of in found.items():
        yield _covered(f"{key}, {name}", intervals_of, truth[key])


def _benefit(sets: int) -> Iterator[dict[str, Any]]:
    images = 200
    for acted in (5, 10, 20):
        random = np.random.default_rng(acted)
        is_acted = np.arange(images) < acted
        probabilities = two_columns(np.where(is_acted, 3.0, -3.0))
        found, useful = list[Interval](), list[bool]()
        while len(found) < sets:
            labels = (random.random(images) < np.where(is_acted, _ACTS_FROM, 0.05)).astype(np.int64)
            if labels.min() == labels.max():
                continue
            curve = decision_curve(labels, probabilities, np.arange(images), thresholds=[_ACTS_FROM])
            found.append(curve.points[0].benefit)
            useful.append(curve.points[0].is_useful)
        name = f"{acted} of {images} images acted on at {_ACTS_FROM}, a benefit of 0"
        yield _covered(name, found, 0.0) | {"finds": float(np.mean(useful))}


def _strata(sets: int) -> Iterator[dict[str, Any]]:
    for number in (60, 120):
        random, found = np.random.default_rng(number), []
        for _ in range(sets):
            patients = _patients(random, number, None)
            labels = (np.arange(number) % 2)[patients]
            wrong = _alike(random, patients, 0.2, 0.6)
            decided = np.where(wrong == 1, 1 - labels, labels)
            scores = two_columns(
                np.where(decided == 1, 1.0, -1.0) + random.normal(scale=0.3, size=len(labels))
            )
            judged = JudgedImages(labels, scores, scores, decided, np.zeros_like(labels), patients)
            columns = {"machine": np.where(patients // 2 % 2 == 0, "one", "other")}
            found.append(bool(score_strata(judged, columns, ("negative", "positive"), seed=0).found))
        yield {
            "data": f"{number} patients of a log-normal number of images in two strata",
            "finds": float(np.mean(found)),
        }


def _shift(sets: int) -> Iterator[dict[str, Any]]:
    for here, images, correlation in ((40, 40, 0.3), (40, 40, 0.7), (200, 1, 0.7)):
        random, found = np.random.default_rng(here), []
        for _ in range(sets):
            training, other = (
                _figures(random, number, many, correlation)
                for number, many in ((200, 200 if images == 1 else 1), (here, images))
            )
            kept = {"mean": FigureQuantiles.of(*training)}
            found.append(set_shift(kept, {"mean": other[0]}, other[1]).figures[0].is_found)
        who = (
            f"one of {here} patients has {images} images"
            if images > 1
            else "one of 200 training ones has 200"
        )
        yield {"data": f"no shift, {who}, correlation {correlation}", "finds": float(np.mean(found))}


def _figures(
    random: np.random.Generator, patients: int, images: int, correlation: float
) -> tuple[FloatArray, IntArray]:
    """A figure of each image, and its patient; the first patient has many images, others one."""
    groups = np.repeat(np.arange(patients), [images] + [1] * (patients - 1))
    shared = random.normal(size=patients)[groups] * np.sqrt(correlation)
    return shared + random.normal(size=len(groups)) * np.sqrt(1 - correlation), groups


def _differences(sets: int) -> Iterator[dict[str, Any]]:
    distance = np.sqrt(2.0) * NormalDist().inv_cdf(0.8)
    for positives, negatives, folds in ((20, 100, 4), (50, 50, 4), (50, 250, 4), (50, 250, 1)):
        random = np.random.default_rng(positives + folds)
        labels = np.repeat([0, 1], [negatives, positives])
        groups = np.arange(len(labels))
        found: dict[str, list[bool]] = {name: [] for name in ("auc", "average_precision", "partial_auc")}
        for _ in range(sets):
            own_folds = stratified_folds(labels, groups, folds, random) if folds > 1 else 0 * labels
            shared = random.normal(size=len(labels)) * np.sqrt(0.5)
            models = [
                NamedPredictions(
                    name,
                    OutOfFold(
                        groups,
                        labels,
                        own_folds,
                        groups.astype(str),
                        two_columns(
                            distance * labels + shared + random.normal(size=len(labels)) * np.sqrt(0.5)
                        ),
                    ),
                )
                for name in ("one", "other")
            ]
            for metric, called in found.items():
                pair = compare_models(models, metric=metric, seed=0).comparisons[0]
                called.append(pair.is_better is not None)
        for metric, called in found.items():
            cut = "4 folds" if folds == 4 else "no folds"
            name = f"{metric}, two of AUC 0.8, {positives} + {negatives} patients, {cut}"
            yield {"data": name, "finds": float(np.mean(called))}


_QUESTIONS: Final[Mapping[str, Question]] = MappingProxyType(
    {
        "shares": _shares,
        "scores": _scores,
        "benefit": _benefit,
        "strata": _strata,
        "shift": _shift,
        "differences": _differences,
    }
)

_COLUMNS: Final = MappingProxyType(
    {"data": "data set", "covers": "covers the truth", "finds": "finds what is not there", "width": "width"}
)

if __name__ == "__main__":
    ask(__doc__.splitlines()[0], _QUESTIONS, _COLUMNS, sets=300)
