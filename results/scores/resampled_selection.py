"""The score of the best of many trials without the luck of having been chosen, by the bootstrap (BBC-CV).

Patients are drawn with replacement, the best trial is chosen on those that were drawn, and scored on those
that were not. Only stored out-of-fold predictions are needed, and one set of draws serves every stage of a
search: the best of its first trials, of half of them, and of all.

Source:
    Tsamardinos, Greasidou and Borboudakis (2018), "Bootstrapping the out-of-sample predictions for efficient
    and accurate cross-validation", Machine Learning 107:1895.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from results.errors import ScoreError
from results.run.records import OutOfFold
from results.scores.auc_influence import check_same_images
from results.scores.bootstrap import Statistic, fold_auc_statistic
from results.scores.cross_fitting import fewest_patients
from results.scores.decision_rule import cross_fit
from results.scores.fold_scores import mean_over_folds
from results.scores.interval import LEVEL, Interval
from results.scores.metric import Metric
from results.scores.metrics import metric_named
from trainables.common.errors import OneClassError
from trainables.common.types import FloatArray, IntArray
from trainables.data.group_names import group_unit

_CELLS_AT_ONCE: Final = 4_000_000  # bounds the counts in memory at 32 MB
_DRAWS, _FEW_DRAWS, _MANY_IMAGES = 200, 50, 20_000
_FEWEST_PATIENTS: Final = 3  # of the smallest class; with fewer, hardly a draw leaves one out


@dataclass(frozen=True, slots=True)
class ResampledSelection:
    """Scores of trials on drawn patients, and on those that were left out.

    Attributes:
        chosen_by: Merit of each trial on the drawn patients, larger is better, shape (trials, draws).
        left_out: Value of each trial on the others, NaN where they do not define it, shape (trials, draws).
    """

    chosen_by: FloatArray
    left_out: FloatArray

    def of_first(self, trials: int) -> Interval:
        """Return the score of the best of the first trials, with the middle 95 % of the draws.

        The interval is a wide one, since a draw leaves out a good third of the patients.

        Args:
            trials: Number of trials, at least 1.
        """
        best = self.chosen_by[:trials].argmax(axis=0)
        values = self.left_out[best, np.arange(len(best))]
        values = values[~np.isnan(values)]
        low, high = np.quantile(values, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
        return Interval(float(values.mean()), float(low), float(high))


def resample_selection(
    trials: Sequence[OutOfFold], metric: str, searched: Sequence[str], *, seed: int, draws: int | None = None
) -> ResampledSelection:
    """Score trials on drawn patients, and on those that each draw leaves out.

    Args:
        trials: Out-of-fold predictions on the same images; at least one.
        metric: Name of the metric that chooses and scores; it is not one of cost.
        searched: Names of the metrics that the search optimises; they decide the thresholds.
        seed: Random seed of the draws.
        draws: Number of draws; None for 200, or 50 where there are so many images that draws hardly differ.

    Raises:
        DataError: If two trials do not hold the same images in the same folds.
        ScoreError: If a class has too few patients for draws that leave some out.
        OneClassError: If no draw defines the metric.
    """
    first, found = trials[0], metric_named(metric)
    for other in trials[1:]:
        check_same_images(first, other)
    unit = group_unit(first.groups)
    if fewest_patients(first.labels, first.groups) < _FEWEST_PATIENTS:
        raise ScoreError(
            f"correcting a selection needs at least {_FEWEST_PATIENTS} {unit}s of each class, found "
            f"{fewest_patients(first.labels, first.groups)}; search on more data"
        )
    if draws is None:
        draws = _DRAWS if len(first.rows) <= _MANY_IMAGES else _FEW_DRAWS
    statistics = [_statistic(found, one, searched) for one in trials]
    sign = 1.0 if found.higher_is_better else -1.0
    chosen_by, left_out = [], []
    for counts in _drawn(first.groups, draws, seed):
        chosen_by.append(sign * np.stack([value(counts) for value in statistics]))
        left_out.append(np.stack([value((counts == 0).astype(np.int64)) for value in statistics]))
    merits, values = np.concatenate(chosen_by, axis=1), np.concatenate(left_out, axis=1)
    is_defined = np.isfinite(merits).all(axis=0) & np.isfinite(values).all(axis=0)
    if not is_defined.any():
        raise OneClassError(f"no draw of {unit}s defines {metric}: use fewer folds or more data")
    return ResampledSelection(merits[:, is_defined], values[:, is_defined])


def _drawn(groups: NDArray[np.str_], draws: int, seed: int) -> list[IntArray]:
    """Number of times that each image is drawn with its patient, in blocks of shape (draws, images)."""
    patients = np.unique(groups, return_inverse=True)[1]
    number = int(patients.max()) + 1
    random = np.random.default_rng(seed)
    block = max(1, min(draws, _CELLS_AT_ONCE // len(patients)))
    sizes = [min(block, draws - start) for start in range(0, draws, block)]
    return [random.multinomial(number, [1 / number] * number, size=size)[:, patients] for size in sizes]


def _statistic(metric: Metric, predictions: OutOfFold, searched: Sequence[str]) -> Statistic:
    """Value of a metric as a function of counts (draws, images); calibrations and decisions stay."""
    if metric.name == "auc":
        return fold_auc_statistic(predictions.labels, predictions.probabilities, predictions.folds)
    if metric.within_folds:
        return _of_rows(predictions, lambda rows: _within_folds(metric, predictions, rows))
    fitted = cross_fit(predictions, searched=searched, metrics=[metric])
    if metric.judges_decisions:
        return _of_decisions(metric, predictions, fitted.decided[metric.name])
    labels, probabilities = predictions.labels, fitted.probabilities
    return _of_rows(predictions, lambda rows: float(metric(labels[rows], probabilities[rows])))


def _of_decisions(metric: Metric, predictions: OutOfFold, decided: IntArray) -> Statistic:
    """A function of decisions as a function of counts; NaN where fewer than two classes are drawn.

    A recall without positives counts 0 elsewhere, which would make the luck of a draw that of the selection.
    """
    classes = predictions.probabilities.shape[1]
    cells = np.zeros((len(decided), classes * classes), dtype=np.int64)
    cells[np.arange(len(decided)), predictions.labels * classes + decided] = 1

    def values(counts: IntArray) -> FloatArray:
        matrices = (counts @ cells).reshape(-1, classes, classes)
        has_two = (matrices.sum(axis=-1) > 0).sum(axis=-1) > 1
        return np.where(has_two, np.asarray(metric(matrices), dtype=np.float64), np.nan)

    return values


def _of_rows(predictions: OutOfFold, value: Callable[[IntArray], float]) -> Statistic:
    """A function of rows, which may repeat, as a function of counts; NaN where a class is missing."""

    def values(counts: IntArray) -> FloatArray:
        found = []
        for own in counts:
            rows = np.repeat(np.arange(len(own)), own)
            has_two = len(rows) > 0 and np.ptp(predictions.labels[rows]) > 0
            found.append(value(rows) if has_two else np.nan)
        return np.array(found)

    return values


def _within_folds(metric: Metric, predictions: OutOfFold, rows: IntArray) -> float:
    try:
        return mean_over_folds(
            metric, predictions.labels[rows], predictions.probabilities[rows], predictions.folds[rows]
        )
    except OneClassError:
        return float("nan")
