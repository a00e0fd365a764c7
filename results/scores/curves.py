"""ROC and precision-recall curves, with bands over patients.

They are means over folds of the curves within each fold, since the scores of two fold models cannot be
compared. A band holds 95 % of the curves of resampled patients, at each place by itself.

Source:
    Fawcett (2006), "An introduction to ROC analysis", on vertical averaging; Davis and Goadrich (2006) on
    precision-recall.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.run.records import OutOfFold
from results.scores.bootstrap import draw_counts
from trainables.common.errors import OneClassError
from trainables.common.types import FloatArray

_GRID: Final = np.linspace(0.0, 1.0, 101)
_RESAMPLES: Final = 200  # enough for a band of 95 % that is drawn
_ENDS: Final = (2.5, 97.5)

# Labels, scores and counts of the images of one fold in falling order of their scores -> values on the grid.
_FoldCurve = Callable[[FloatArray, FloatArray, NDArray[np.bool_]], FloatArray]


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve with its band.

    Attributes:
        across: Places on the horizontal axis, ascending, shape (places,).
        up: Values, shape (places,).
        low: Lower edge of the band, shape (places,).
        high: Upper edge, shape (places,).
    """

    across: FloatArray
    up: FloatArray
    low: FloatArray
    high: FloatArray


def roc_curve_with_band(predictions: OutOfFold, positive: int = 1, *, seed: int) -> Curve:
    """Return the mean ROC curve over folds: sensitivity at equal false-positive rate.

    Args:
        predictions: Out-of-fold predictions.
        positive: Index of the class that is told from all others.
        seed: Random seed of the band.

    Raises:
        OneClassError: If no fold holds both that class and others.
    """
    return _mean_curve(predictions, positive, _sensitivity_on_grid, seed)


def precision_recall_curve_with_band(predictions: OutOfFold, *, seed: int) -> Curve:
    """Return the mean precision-recall curve over folds: precision at equal recall, of the second class.

    At recall 0, which no threshold reaches, it is that of the highest threshold.

    Args:
        predictions: Out-of-fold predictions.
        seed: Random seed of the band.

    Raises:
        OneClassError: If no fold holds both that class and others.
    """
    return _mean_curve(predictions, 1, _precision_on_grid, seed)


def _mean_curve(predictions: OutOfFold, positive: int, curve: _FoldCurve, seed: int) -> Curve:
    is_positive = predictions.labels == positive
    scores = predictions.probabilities[:, positive]
    drawn = _counts(predictions.groups, seed)
    counts = np.concatenate([np.ones((1, len(scores))), drawn])
    curves = []
    for fold in np.unique(predictions.folds):
        own = np.flatnonzero(predictions.folds == fold)
        if 0 < is_positive[own].sum() < len(own):
            order = own[np.argsort(-scores[own], kind="stable")]
            is_last = np.append(np.diff(scores[order]) != 0, True)  # equal scores are one step
            hits = np.cumsum(counts[:, order] * is_positive[order], axis=1)[:, is_last]
            alarms = np.cumsum(counts[:, order] * ~is_positive[order], axis=1)[:, is_last]
            defined = (hits[:, -1] > 0) & (alarms[:, -1] > 0)
            curves.append(curve(hits, alarms, defined))
    if not curves:
        raise OneClassError("a curve needs a fold with two classes; none has. Use fewer folds or more cases")
    stacked = np.stack(curves)
    whole = stacked[:, 0].mean(axis=0)
    resampled = stacked[:, 1:]
    number = (~np.isnan(resampled[:, :, 0])).sum(axis=0)
    mean = np.nansum(resampled, axis=0)[number > 0] / number[number > 0][:, None]
    low, high = np.percentile(mean, _ENDS, axis=0)
    return Curve(_GRID, whole, low, high)


def _sensitivity_on_grid(hits: FloatArray, alarms: FloatArray, defined: NDArray[np.bool_]) -> FloatArray:
    found = np.full((len(hits), len(_GRID)), np.nan)
    for row in np.flatnonzero(defined):
        rates = np.concatenate([[0.0], alarms[row] / alarms[row, -1]])
        found[row] = np.interp(_GRID, rates, np.concatenate([[0.0], hits[row] / hits[row, -1]]))
    return found


def _precision_on_grid(hits: FloatArray, alarms: FloatArray, defined: NDArray[np.bool_]) -> FloatArray:
    found = np.full((len(hits), len(_GRID)), np.nan)
    for row in np.flatnonzero(defined):
        recall = hits[row] / hits[row, -1]
        called = np.maximum(hits[row] + alarms[row], 1e-12)
        # A first step without a drawn image has no precision; it is that of the first one that has.
        first = int(np.argmax(hits[row] + alarms[row] > 0))
        places = np.maximum(np.searchsorted(recall, _GRID - 1e-12, side="left"), first)
        found[row] = (hits[row] / called)[np.minimum(places, len(recall) - 1)]
    return found


def _counts(groups: NDArray[Any], seed: int) -> FloatArray:
    patients = np.unique(groups, return_inverse=True)[1]
    return draw_counts(patients, _RESAMPLES, np.random.default_rng(seed)).astype(np.float64)
