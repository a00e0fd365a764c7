"""Comparison of named models on the same patients: which is better, by how much, and how sure that is.

Differences are paired by patient, and their variance covers other training parts by the factor that
`benchmarks.coverage` found for folds that share training images. All comparisons of a call hold together:
p-values and intervals are those of the largest difference of all, from random weights on the patients. The
corrected resampled t-test stands beside it, which asks the folds alone: with four or five of them it sees
little, and it is no more than a second opinion.

The search has chosen what it ranks, so that a comparison of its winner with others of the same run is
optimistic, unless the winner is an ensemble, whose nested predictions chose without each fold. Where all
models were trained again with other seeds and folds, the repeats alone are compared, by means over them:
they did not choose, and what one seed or one cut does averages out. Models are matched within each repeat,
since those of a hold-out hold out other images, see `compared_repeats`.

Source:
    Nadeau and Bengio (2003), Machine Learning 52:239; Westfall and Young (1993), "Resampling-based multiple
    testing"; Corani and Benavoli (2015), Machine Learning 100:285, on the probability of superiority.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from pydantic import FiniteFloat

from results.run.records import OutOfFold
from results.run.split_labels import GROUPED, SplitName
from results.scores.auc_interval import fold_inflation
from results.scores.compared_repeats import (
    inflation_of,
    matched_by_repeat,
    mean_influences,
    repeats_apart,
    together,
)
from results.scores.fold_scores import value_and_folds
from results.scores.influence import influences
from results.scores.interval import LEVEL
from results.scores.joint_comparison import NOTHING, told_errors
from results.scores.metric_interval import metric_interval
from results.scores.metrics import metric_named
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.ranking import Objectives
from trainables.common.errors import DataError
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray
from trainables.config.unit_config import PLURALS, UnitName
from trainables.data.group_names import GroupUnit, group_unit

_DRAWS: Final = 20_000


@dataclass(frozen=True, slots=True)
class NamedPredictions:
    """A model with its out-of-fold predictions.

    Attributes:
        name: Name of the model, as it is shown.
        predictions: Out-of-fold predictions of a trial, or nested ones of an ensemble.
        repeats: Out-of-fold predictions of the trial trained again with other seeds and folds; repeats of the
            same place are compared with each other.
        searched: Names of the metrics that its search optimised, the main one first; the model decides at
            the threshold that these have chosen, whatever metric it is compared by.
        operation: What was asked of its decisions; it goes before what its search optimised.
        holdout: Share of the training part that a hold-out validates on, in (0, 1); None for folds.
    """

    name: str
    predictions: OutOfFold
    repeats: tuple[OutOfFold, ...] = ()
    searched: tuple[str, ...] = ("auc",)
    operation: Operation = NOTHING_ASKED
    holdout: float | None = None


class ModelScore(FrozenModel):
    """The score of a model.

    Attributes:
        name: Name of the model.
        value: Value of the metric; `low` and `high` are the ends of its own 95 % interval.
    """

    name: str
    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


class Comparison(FrozenModel):
    """One model against another.

    Attributes:
        first: Name of a model.
        second: Name of the model that it is compared with.
        difference: Value of the first minus that of the second; `low` and `high` are the ends of an interval.
            Those of all comparisons of the call hold together in 95 % of data sets.
        p_value: Chance of a difference this large where there is none.
        adjusted: The same for the largest of all comparisons of the call.
        superiority: Probability that the first is the better one on new training and test patients.
        t_p_value: p-value of the corrected resampled t-test over folds; None without two folds that both
            models share.
        is_better: True if the first is better, False if it is worse, None where the data cannot tell.
        is_pre_registered: The search was asked for this comparison before it started.
    """

    first: str
    second: str
    difference: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    p_value: FiniteFloat
    adjusted: FiniteFloat
    superiority: FiniteFloat
    t_p_value: FiniteFloat | None = None
    is_better: bool | None = None
    is_pre_registered: bool = False


class Comparisons(FrozenModel):
    """Models, and how they compare.

    Attributes:
        metric: Name of the metric.
        models: Scores of the models, as given.
        comparisons: Each model with the first, or all pairs.
        images: Number of images, or units, that all models predicted, in one repeat or another.
        unit: What `images` counts.
        groups: Number of their patients, or of what `group_unit` names.
        group_unit: `patient`; where patients are not known `image`, or `image group`.
        repeats: Number of repeats that the scores are means over; 0 for the search itself.
        notes: What the reader should know, in sentences.
        split: Name of the kind of split; that of a naive one where any model is of one.
    """

    metric: str
    models: tuple[ModelScore, ...]
    comparisons: tuple[Comparison, ...]
    images: int
    unit: UnitName = "image"
    groups: int
    group_unit: GroupUnit = "patient"
    repeats: int = 0
    notes: tuple[str, ...] = ()
    split: SplitName = GROUPED


@dataclass(frozen=True, slots=True)
class _Judged:
    """A model by one metric: its score, the influence of each patient of all repeats, and values of folds."""

    score: ModelScore
    influences: FloatArray
    by_fold: list[tuple[float, ...]]  # of each repeat


def compare_models(
    models: Sequence[NamedPredictions],
    *,
    metric: str,
    has_all_pairs: bool = False,
    registered: frozenset[frozenset[str]] = frozenset(),
    seed: int,
    unit: UnitName = "image",
) -> Comparisons:
    """Compare models on the images that all of them predicted, repeat by repeat where all were repeated.

    Args:
        models: At least two models.
        metric: Name of the metric to compare by. A metric of decisions judges those that the models take.
        has_all_pairs: Compare all pairs; False compares the first with each of the others.
        registered: Pairs of names whose comparison was asked for before the search.
        seed: Random seed of the weights on the patients.
        unit: What the models predict.

    Raises:
        DataError: If there are fewer than two models, two have one name, they share no images in some repeat,
            or an image has two labels or patients.
        OneClassError: If the metric needs two classes within a fold, and no fold has them.
    """
    _check(models)
    repeats = min(len(one.repeats) for one in models)
    whole = [one.repeats[:repeats] or (one.predictions,) for one in models]
    taken = matched_by_repeat(whole)
    images = together(taken[0])
    judged = [_judged(one, parts, metric, seed) for one, parts in zip(models, taken, strict=True)]
    pairs = _pairs(len(models), has_all_pairs=has_all_pairs)
    apart = np.stack([judged[first].influences - judged[second].influences for first, second in pairs])
    # Two runs may have cut the patients into other folds; the wider of both corrections is taken.
    factors = [inflation_of(parts, one.holdout) for one, parts in zip(models, taken, strict=True)]
    inflation = np.array([max(factors[first], factors[second]) for first, second in pairs])
    values = np.array([one.score.value for one in judged])
    differences = np.array([values[first] - values[second] for first, second in pairs])
    common = np.array([(values[first] + values[second]) / 2 for first, second in pairs])
    errors, is_untold = told_errors(apart, differences, common, metric=metric, predictions=images)
    largest = _largest(apart, int(is_untold.sum()), seed)
    errors = errors * np.sqrt(inflation)
    sign = 1.0 if metric_named(metric).higher_is_better else -1.0
    comparisons = []
    for place, (first, second) in enumerate(pairs):
        names = (models[first].name, models[second].name)
        comparisons.append(
            _comparison(
                names,
                float(differences[place]),
                float(errors[place]),
                largest,
                sign=sign,
                t_p_value=_corrected_t(
                    taken[first], taken[second], judged[first].by_fold, judged[second].by_fold
                ),
                is_registered=frozenset(names) in registered,
            )
        )
    return Comparisons(
        metric=metric,
        models=tuple(one.score for one in judged),
        comparisons=tuple(comparisons),
        images=len(images.rows),
        unit=unit,
        groups=len(np.unique(images.groups)),
        group_unit=group_unit(images.groups),
        repeats=repeats,
        notes=_notes(models, whole, taken, repeats, unit),
    )


def _check(models: Sequence[NamedPredictions]) -> None:
    names = [one.name for one in models]
    if len(models) < 2:
        raise DataError(f"a comparison needs at least two models, found {', '.join(names) or 'none'}")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{twice[0]} is named twice; name each model once")
    classes = {one.predictions.probabilities.shape[1] for one in models}
    if len(classes) > 1:
        raise DataError(f"models of tasks with {' and '.join(map(str, sorted(classes)))} classes differ")


def _pairs(number: int, *, has_all_pairs: bool) -> list[tuple[int, int]]:
    if has_all_pairs:
        return [(first, second) for first in range(number) for second in range(first + 1, number)]
    return [(0, second) for second in range(1, number)]


def _largest(apart: FloatArray, untold: int, seed: int) -> FloatArray:
    """Largest standardised difference of all under random weights on the patients, shape (draws,).

    Differences that no patient tells, as many as `untold`, have noise of their own.
    """
    errors = np.sqrt((apart**2).sum(axis=1))
    own = apart[errors > NOTHING] / errors[errors > NOTHING, None]
    if not len(own) and not untold:
        return np.zeros(1)
    random = np.random.default_rng(seed)
    of_patients = random.normal(size=(_DRAWS, own.shape[1])) @ own.T
    alone = random.normal(size=(_DRAWS, untold))
    return np.abs(np.concatenate([of_patients, alone], axis=1)).max(axis=1)


def _comparison(
    names: tuple[str, str],
    difference: float,
    error: float,
    largest: FloatArray,
    *,
    sign: float,
    t_p_value: float | None,
    is_registered: bool,
) -> Comparison:
    normal, is_equal = NormalDist(), error <= NOTHING
    score = 0.0 if is_equal else difference / error
    margin = float(np.quantile(largest, LEVEL)) * error
    adjusted = 1.0 if is_equal else float((1 + (largest >= abs(score)).sum()) / (1 + len(largest)))
    is_told = adjusted <= 1 - LEVEL
    return Comparison(
        first=names[0],
        second=names[1],
        difference=difference,
        low=difference - margin,
        high=difference + margin,
        p_value=1.0 if is_equal else 2 * normal.cdf(-abs(score)),
        adjusted=adjusted,
        superiority=0.5 if is_equal else normal.cdf(sign * score),
        t_p_value=t_p_value,
        is_better=sign * score > 0 if is_told else None,
        is_pre_registered=is_registered,
    )


def _corrected_t(
    first: Sequence[OutOfFold],
    second: Sequence[OutOfFold],
    values: Sequence[Sequence[float]],
    others: Sequence[Sequence[float]],
) -> float | None:
    """p-value of the corrected resampled t-test; None unless both models were trained in the same folds.

    Each argument holds one item a repeat, or a single one.
    """
    from scipy.stats import t  # slow to import

    folds = len(values[0])
    if folds < 2 or any(len(own) != folds for own in (*values, *others)):
        return None
    if any(one.training_parts != folds for one in (*first, *second)):
        return None
    if not all(np.array_equal(one.folds, other.folds) for one, other in zip(first, second, strict=True)):
        return None
    apart = (np.array(values) - np.array(others)).ravel()
    if apart.std() < NOTHING:
        return None
    # Each fold is one of `folds` equal parts: the test part is 1 / (folds - 1) of the training part.
    error = np.sqrt((1 / len(apart) + 1 / (folds - 1)) * apart.var(ddof=1))
    return float(2 * t.sf(abs(apart.mean()) / error, len(apart) - 1))


def _judged(model: NamedPredictions, parts: Sequence[OutOfFold], metric: str, seed: int) -> _Judged:
    """A model by a metric: means over its repeats, or its single predictions."""
    objectives = Objectives(model.searched, operation=model.operation)
    found = [
        metric_interval(part, metric, model.searched, operation=model.operation, seed=seed) for part in parts
    ]
    moved = [influences(part, metric, model.searched, operation=model.operation) for part in parts]
    value, low, high = (
        float(np.mean([getattr(one, end) for one in found])) for end in ("estimate", "low", "high")
    )
    # Repeats on other images tell more together than each one does.
    of_one = max(fold_inflation(part.varying_parts) for part in parts)
    narrower = float(np.sqrt(inflation_of(parts, model.holdout) / of_one / repeats_apart(parts)))
    return _Judged(
        score=ModelScore(
            name=model.name,
            value=value,
            low=value - min(narrower, 1.0) * (value - low),
            high=value + min(narrower, 1.0) * (high - value),
        ),
        influences=mean_influences(parts, moved),
        by_fold=[value_and_folds(part, metric, objectives)[1] for part in parts],
    )


def _notes(
    models: Sequence[NamedPredictions],
    whole: Sequence[Sequence[OutOfFold]],
    taken: Sequence[Sequence[OutOfFold]],
    repeats: int,
    unit: UnitName,
) -> tuple[str, ...]:
    notes = []
    if repeats:
        notes.append(
            f"scores are means over {repeats} repeats with other seeds and folds, which did not choose the "
            "models"
        )
    common, sizes = len(together(taken[0]).rows), [len(part.rows) for part in taken[0]]
    if max(sizes) < common:
        each = str(sizes[0]) if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"
        notes.append(f"each repeat holds out others of these {common} {PLURALS[unit]}, {each} at a time")
    fewer = [
        one.name
        for one, own, kept in zip(models, whole, taken, strict=True)
        if sum(len(part.rows) for part in own) > sum(len(part.rows) for part in kept)
    ]
    if fewer:
        notes.append(
            f"compared on the {common} {PLURALS[unit]} that all models predicted; {fewer[0]} predicted more"
        )
    pairs = [pair for other in taken[1:] for pair in zip(taken[0], other, strict=True)]
    if any(not np.array_equal(part.folds, other.folds) for part, other in pairs):
        notes.append(
            "the models were trained in other folds, so part of a difference is that of the folds; the "
            "interval covers it"
        )
    return tuple(notes)
