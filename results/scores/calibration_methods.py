"""Five ways to calibrate, compared by what they give on parts that they were not fitted on.

Platt's scaling is what models are calibrated with (`results.scores.calibration`): the others are measured
beside it, so that a user sees whether the two numbers of Platt are too few for the model at hand.

Source:
    Platt (1999); Guo, Pleiss, Sun and Weinberger (2017), ICML, on temperature; Kull, Silva Filho and Flach
    (2017), AISTATS, on beta calibration; Zadrozny and Elkan (2002), KDD, on isotonic regression; Vovk and
    Petej (2014), UAI, on Venn-Abers predictors.
"""

from collections.abc import Callable
from statistics import NormalDist
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from results.run.records import OutOfFold
from results.scores.auc_interval import fold_inflation
from results.scores.calibration import SMALLEST_PROBABILITY, Platt, fit_platt, log_odds, sigmoid
from results.scores.calibration_quality import CalibrationQuality, calibration_quality
from results.scores.cross_fitting import crossfit_parts
from results.scores.interval import LEVEL, QUANTILE, Interval
from results.scores.mean_interval import mean_interval
from results.scores.metrics.probability_errors import log_losses
from results.scores.multiple_tests import holm
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray

# Positive probabilities of new images, from labels and probabilities of both classes that are fitted on.
Calibrator = Callable[[FloatArray], FloatArray]
Fit = Callable[[IntArray, FloatArray], Calibrator]


class MethodQuality(FrozenModel):
    """What a way to calibrate gives, cross-fitted.

    Attributes:
        method: Name in `METHODS`, or `none` for probabilities as they are.
        log_loss: Log loss, with its 95 % interval over patients.
        difference: Log loss minus that of Platt's scaling, paired; None for Platt's scaling itself. Its
            interval is not corrected for the number of methods.
        adjusted: Chance of a difference this large where there is none, corrected for all methods by Holm's
            method; None for Platt's scaling itself.
        quality: Slope, intercept, smooth error and reliability.
        is_shipped: True for the method that models are calibrated with.
    """

    method: str
    log_loss: Interval
    difference: Interval | None
    adjusted: FiniteFloat | None
    quality: CalibrationQuality
    is_shipped: bool

    @property
    def is_told(self) -> bool:
        """True if the data show that it differs from the shipped one."""
        return self.adjusted is not None and self.adjusted <= 1 - LEVEL


class CalibrationComparison(FrozenModel):
    """Ways to calibrate the out-of-fold predictions of a model.

    Attributes:
        model: Name of the model.
        methods: What each gives, the smallest log loss first.
        parts: Number of parts of the cross-fitting.
    """

    model: str
    methods: tuple[MethodQuality, ...]
    parts: FiniteFloat

    @property
    def better(self) -> tuple[str, ...]:
        """Names of the methods that the data show to be better than the shipped one, of all together."""
        return tuple(
            one.method
            for one in self.methods
            if one.difference is not None and one.difference.estimate < 0 and one.is_told
        )


def compare_calibrations(predictions: OutOfFold, *, seed: int, model: str = "model") -> CalibrationComparison:
    """Compare all ways to calibrate on out-of-fold predictions.

    Args:
        predictions: Out-of-fold predictions of two classes.
        seed: Random seed of the labels that stand for chance.
        model: Name of the model.

    Raises:
        OneClassError: If there is one class.
    """
    parts = crossfit_parts(predictions)
    inflation = fold_inflation(predictions.varying_parts)
    labels, groups = predictions.labels, predictions.groups
    found = {name: cross_calibrated(predictions, fit, parts) for name, fit in METHODS.items()}
    found["none"] = predictions.probabilities[:, 1].astype(np.float64)
    losses = {name: log_losses(labels, _both(positive)) for name, positive in found.items()}
    differences = {
        name: mean_interval(own - losses[SHIPPED], groups, inflation=inflation)
        for name, own in losses.items()
        if name != SHIPPED
    }
    adjusted = dict(zip(differences, holm([_p_value(own) for own in differences.values()]), strict=True))
    methods = [
        MethodQuality(
            method=name,
            log_loss=mean_interval(losses[name], groups, inflation=inflation),
            difference=differences.get(name),
            adjusted=adjusted.get(name),
            quality=calibration_quality(labels, _both(positive), groups, seed=seed, inflation=inflation),
            is_shipped=name == SHIPPED,
        )
        for name, positive in found.items()
    ]
    return CalibrationComparison(
        model=model,
        methods=tuple(sorted(methods, key=lambda one: one.log_loss.estimate)),
        parts=len(np.unique(parts)),
    )


def _p_value(difference: Interval) -> float:
    """Chance of a difference this large where there is none, by its normal interval."""
    error = (difference.high - difference.low) / (2 * QUANTILE)
    return 2 * NormalDist().cdf(-abs(difference.estimate) / error) if error > 0 else 1.0


def cross_calibrated(predictions: OutOfFold, fit: Fit, parts: NDArray[Any]) -> FloatArray:
    """Return positive probabilities, each calibrated by what was fitted on the other parts, (images,)."""
    probabilities = predictions.probabilities.astype(np.float64)
    found = probabilities[:, 1].copy()
    for part in np.unique(parts):
        own = parts == part
        if 0 < predictions.labels[~own].sum() < (~own).sum():
            found[own] = fit(predictions.labels[~own], probabilities[~own])(probabilities[own])
    return found


def _platt(labels: IntArray, probabilities: FloatArray) -> Calibrator:
    fitted = fit_platt(labels, probabilities)
    return lambda new: fitted.apply(new)[:, 1]


def _temperature(labels: IntArray, probabilities: FloatArray) -> Calibrator:
    """One slope, by maximum likelihood; the intercept stays 0."""
    logits = log_odds(probabilities)
    slope = _logistic(labels, logits[:, None], bounds=[(1e-6, None)])[0]
    fitted = Platt(slope=float(slope))
    return lambda new: fitted.apply(new)[:, 1]


def _beta(labels: IntArray, probabilities: FloatArray) -> Calibrator:
    """Two slopes, of ln p and of -ln(1 - p), neither of them negative, and an intercept."""
    found = _logistic(labels, _beta_inputs(probabilities), bounds=[(0.0, None), (0.0, None), (None, None)])
    return lambda new: sigmoid(_beta_inputs(new) @ found)


def _beta_inputs(probabilities: FloatArray) -> FloatArray:
    logs = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY))
    return np.stack([logs[:, 1], -logs[:, 0], np.ones(len(logs))], axis=1)


def _isotonic(labels: IntArray, probabilities: FloatArray) -> Calibrator:
    """The non-decreasing function that fits best; linear between the images that it was fitted on."""
    from sklearn.isotonic import IsotonicRegression  # slow to import

    certain = 1 / (len(labels) + 2)  # no share of a few images is 0 or 1
    fitted = IsotonicRegression(y_min=certain, y_max=1 - certain, out_of_bounds="clip")
    fitted.fit(log_odds(probabilities), labels)
    return lambda new: np.asarray(fitted.predict(log_odds(new)))


def _venn_abers(labels: IntArray, probabilities: FloatArray) -> Calibrator:
    """The mean, in the sense of the log loss, of two isotonic fits: with the new image as 0, and as 1."""
    scores = log_odds(probabilities)

    def calibrated(new: FloatArray) -> FloatArray:
        distinct, place = np.unique(log_odds(new), return_inverse=True)
        zero, one = (_with_image(scores, labels, distinct, label) for label in (0.0, 1.0))
        return np.asarray((one / (1 - zero + one))[place.reshape(-1)])

    return calibrated


def _with_image(scores: FloatArray, labels: IntArray, new: FloatArray, label: float) -> FloatArray:
    """Isotonic fit at each new score when an image of that score and label joins the others, (new,)."""
    from sklearn.isotonic import isotonic_regression  # slow to import

    levels, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    sums = np.bincount(place.reshape(-1), weights=labels.astype(np.float64))
    found = np.empty(len(new))
    for index, score in enumerate(new.tolist()):
        at = int(np.searchsorted(levels, score))
        if at < len(levels) and levels[at] == score:
            totals, weights = sums.copy(), counts.astype(np.float64)
            totals[at] += label
            weights[at] += 1
        else:
            totals, weights = np.insert(sums, at, label), np.insert(counts.astype(np.float64), at, 1.0)
        found[index] = isotonic_regression(totals / weights, sample_weight=weights)[at]
    return found


METHODS: Final = MappingProxyType[str, Fit](
    {
        "platt": _platt,
        "temperature": _temperature,
        "beta": _beta,
        "isotonic": _isotonic,
        "venn_abers": _venn_abers,
    }
)
SHIPPED: Final = "platt"


def _logistic(
    labels: IntArray, inputs: FloatArray, *, bounds: list[tuple[float | None, float | None]]
) -> FloatArray:
    """Coefficients of a logistic regression within bounds; a little of ridge where classes are separated."""
    from scipy.optimize import minimize  # slow to import

    scale = np.maximum(np.abs(inputs).max(axis=0), 1e-12)
    scaled = inputs / scale

    def loss(found: FloatArray) -> tuple[float, FloatArray]:
        score = scaled @ found
        value = (np.logaddexp(0.0, score) - labels * score).sum() + 1e-4 * (found**2).sum()
        return float(value), scaled.T @ (sigmoid(score) - labels) + 2e-4 * found

    start = np.zeros(inputs.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500})
    return np.asarray(found.x / scale)


def _both(positive: FloatArray) -> FloatArray:
    return np.stack([1 - positive, positive], axis=1)
