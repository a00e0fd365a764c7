"""Comparisons of many models on the same patients, with one stated confidence for all of them together.

Differences are judged by the patients' influences on the metric that the search optimises, so that models
that are right and wrong on the same patients are told apart more easily, and their variance covers other
training parts (see `auc_interval`). The distribution of the largest difference of all comes from random
weights on the patients, the same for all models.

Source:
    Hansen, Lunde and Nason (2011), "The model confidence set", Econometrica 79:453; Hothorn, Bretz and
    Westfall (2008), Biometrical Journal 50:346, on simultaneous intervals.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from results.run.records import OutOfFold
from results.scores.auc_interval import fold_inflation
from results.scores.fold_scores import objective_value_of
from results.scores.influence import stacked_influences
from results.scores.interval import LEVEL, Interval
from results.scores.metric_interval import least_known_error
from results.scores.metrics import metric_named
from results.scores.ranking import BY_AUC, Objectives
from trainables.common.types import FloatArray

_DRAWS: Final = 2000
_SURE: Final = 0.01  # far below 1 - LEVEL
NOTHING: Final = 1e-12  # a standard error below this is that of equal predictions


def confidence_set(
    trials: Sequence[OutOfFold], *, seed: int, objectives: Objectives = BY_AUC
) -> tuple[bool, ...]:
    """Return for each trial whether it may be the best: the model confidence set at 95 %.

    As long as the trials differ by more than chance allows, the worst is taken out. All trials that are
    truly the best are in the set in 95 % of data sets.

    Args:
        trials: Out-of-fold predictions on the same images; at least one.
        seed: Random seed of the weights.
        objectives: What the search optimises; trials are compared by its first metric.

    Raises:
        DataError: If two trials do not hold the same images in the same folds.
    """
    sign = 1.0 if objectives.main.higher_is_better else -1.0
    influences = sign * stacked_influences(trials, objectives)
    merits = sign * np.array([_value(one, objectives) for one in trials])
    widening = np.sqrt(fold_inflation(trials[0].varying_parts))
    noise: FloatArray | None = None  # of the trials that are kept, shape (draws, trials)
    kept = np.arange(len(merits))
    while len(kept) > 1:
        apart = influences[kept].mean(axis=0) - influences[kept]
        missing = merits[kept].mean() - merits[kept]
        common = np.full(len(kept), sign * merits[kept].mean())
        errors, is_untold = told_errors(
            apart, missing, common, metric=objectives.metrics[0], predictions=trials[0]
        )
        errors[is_untold] *= np.sqrt((1 - 1 / len(kept)) / 2)  # to the mean of all, not between two
        deficits = _standardised(missing, errors * widening)
        worst = int(deficits.argmax())
        if deficits[worst] <= _beyond_chance(len(kept)):
            if noise is None:
                noise = _weights(influences.shape[1], seed) @ influences[kept].T
            deviates = _standardised(noise.mean(axis=1, keepdims=True) - noise, errors)
            largest = _with_own_noise(deviates, is_untold, seed).max(axis=1)
            if deficits[worst] <= np.quantile(largest, LEVEL):
                break
        kept = np.delete(kept, worst)
        noise = None if noise is None else np.delete(noise, worst, axis=1)
    inside = set(kept.tolist())
    return tuple(index in inside for index in range(len(merits)))


def _beyond_chance(trials: int) -> float:
    """A deficit, in standard errors, of which no draws are needed to tell that chance does not explain it.

    Whatever the trials have in common, the largest of as many normal deviates is larger in 1 % of draws at
    most, so that the limit of 5 % of them is smaller: among 2,000 draws it is never as large.
    """
    return NormalDist().inv_cdf(1.0 - _SURE / trials)


def differences_to(
    reference: OutOfFold, others: Sequence[OutOfFold], *, seed: int, objectives: Objectives = BY_AUC
) -> list[Interval]:
    """Return each value minus that of a reference; their intervals hold together in 95 % of data sets.

    Args:
        reference: Out-of-fold predictions that the others are compared with.
        others: Out-of-fold predictions on the same images; may be none.
        seed: Random seed of the weights.
        objectives: What the search optimises; its first metric is compared.

    Raises:
        DataError: If two do not hold the same images in the same folds.
    """
    if not others:
        return []
    influences = stacked_influences([reference, *others], objectives)
    apart = influences[1:] - influences[0]
    base, values = _value(reference, objectives), np.array([_value(one, objectives) for one in others])
    common = (base + values) / 2
    errors, is_untold = told_errors(
        apart, values - base, common, metric=objectives.metrics[0], predictions=reference
    )
    noise = _weights(influences.shape[1], seed) @ apart.T
    deviates = _with_own_noise(_standardised(noise, errors), is_untold, seed)
    largest = np.abs(deviates).max(axis=1)
    margins = np.quantile(largest, LEVEL) * errors * np.sqrt(fold_inflation(reference.varying_parts))
    return [
        Interval(difference, difference - margin, difference + margin)
        for difference, margin in zip((values - base).tolist(), margins.tolist(), strict=True)
    ]


def told_errors(
    apart: FloatArray,
    differences: FloatArray,
    common: FloatArray,
    *,
    metric: str,
    predictions: OutOfFold,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the standard errors of differences, and where no patient tells them although values differ.

    Args:
        apart: Differences of influences, shape (differences, patients).
        differences: Differences of the values, shape (differences,).
        common: What both values would be if they did not differ, shape (differences,).
        metric: Name of the metric.
        predictions: Any of the predictions that are compared.
    """
    errors = np.sqrt((apart**2).sum(axis=1))
    is_untold = (errors <= NOTHING) & (np.abs(differences) > NOTHING)
    labels, groups = predictions.labels, predictions.groups
    for place in np.flatnonzero(is_untold):
        errors[place] = least_known_error(metric_named(metric), float(common[place]), labels, groups)
    return errors, is_untold


def _value(predictions: OutOfFold, objectives: Objectives) -> float:
    return objective_value_of(predictions, objectives.metrics[0], objectives)


def _weights(patients: int, seed: int) -> FloatArray:
    """Random weights of patients, shape (draws, patients)."""
    return np.random.default_rng(seed).normal(size=(_DRAWS, patients))


def _standardised(values: FloatArray, errors: FloatArray) -> FloatArray:
    """Values in units of their errors; 0 where these are nothing."""
    return np.divide(
        values, errors, out=np.zeros_like(values), where=np.broadcast_to(errors > NOTHING, values.shape)
    )


def _with_own_noise(deviates: FloatArray, is_untold: NDArray[np.bool_], seed: int) -> FloatArray:
    """Deviates of shape (draws, differences), with independent ones for what no patient tells."""
    if not is_untold.any():
        return deviates
    own = np.random.default_rng((seed, 1)).normal(size=deviates.shape)
    return np.where(is_untold, own, deviates)
