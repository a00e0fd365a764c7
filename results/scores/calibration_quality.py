"""How far probabilities can be believed: slope, intercept, smooth calibration error, and a reliability curve.

Slope and intercept are those of a logistic regression of the labels on the logits of the probabilities, with
a variance that is right where patients have several images. The smooth calibration error is the area between
label and probability after both are smoothed over probabilities of about the same size; the width of the
smoothing is as large as the error itself, so that no number of bins need be chosen.

Source:
    Cox (1958), Biometrika 45:562; Van Calster et al. (2019), BMC Medicine 17:230; White (1982), Econometrica
    50:1, on the variance; Blasiok and Nakkiran (2023), "Smooth ECE", arXiv 2309.12236.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from results.scores.calibration import log_odds, sigmoid
from results.scores.decision_intervals import effective_number, wilson_interval
from results.scores.interval import QUANTILE, Interval
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray

_GRID: Final = 1000  # cells of [0, 1] that residuals are gathered in before they are smoothed
_BISECTIONS: Final = 30
_NEWTON_STEPS: Final = 100
_ARMIJO: Final = 0.25  # share of the promised fall of the loss that a step must reach; a whole one has half
_ROUNDING: Final = 1e-14  # share of the loss below which a fall is lost in rounding
_DRAWS: Final = 50  # sets of labels of a calibrated model
_BINS: Final = 10  # of the reliability curve, with equally many images
_FEWEST_IN_BIN: Final = 5


class ReliabilityBin(FrozenModel):
    """Images of about the same probability.

    Attributes:
        expected: Mean probability of the positive class.
        observed: Share of positive images, with its 95 % interval over patients.
        images: Number of images.
    """

    expected: FiniteFloat
    observed: Interval
    images: int


class CalibrationQuality(FrozenModel):
    """How well the probabilities of two classes are calibrated.

    Attributes:
        slope: Slope that the logits still need, 1 if they are right; None where the classes are separated.
        intercept: What must be added to all logits so that the mean probability is the share of positives; 0
            if it is already.
        observed: Share of positive images.
        expected: Mean probability of the positive class.
        smooth_error: Smooth calibration error, 0 at best.
        smooth_error_of_chance: What it would be at most, in 95 % of sets of this size, if the probabilities
            were right.
        reliability: Bins from low to high probabilities.
    """

    slope: Interval | None
    intercept: Interval | None
    observed: FiniteFloat
    expected: FiniteFloat
    smooth_error: FiniteFloat
    smooth_error_of_chance: FiniteFloat
    reliability: tuple[ReliabilityBin, ...]

    @property
    def text(self) -> str:
        """The main figures in a sentence."""
        slope = "" if self.slope is None else f"slope {self.slope.text()}, "
        intercept = "" if self.intercept is None else f"intercept {self.intercept.text()}, "
        return (
            f"Calibration: {slope}{intercept}smooth error {self.smooth_error:.3f} (chance alone: up to "
            f"{self.smooth_error_of_chance:.3f})."
        )


def calibration_quality(
    labels: IntArray,
    probabilities: FloatArray,
    groups: NDArray[Any],
    *,
    seed: int,
    inflation: float = 1.0,
) -> CalibrationQuality:
    """Judge the probabilities of two classes.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Probabilities of both classes, shape (images, 2).
        groups: Patient of each image, shape (images,).
        seed: Random seed of the labels of a calibrated model.
        inflation: Factor by which other training parts widen a variance, see `fold_inflation`.
    """
    positive, logits = np.asarray(probabilities[:, 1], dtype=np.float64), log_odds(probabilities)
    patient = np.unique(groups, return_inverse=True)[1].reshape(-1)
    random = np.random.default_rng(seed)
    # All images of a patient have one label in most sets, so labels are drawn for patients.
    uniform = random.random((_DRAWS, int(patient.max()) + 1))[:, patient]
    of_chance = [smooth_calibration_error((row < positive).astype(np.int64), positive) for row in uniform]
    return CalibrationQuality(
        slope=_slope(labels, logits, patient, inflation),
        intercept=_intercept(labels, logits, patient, inflation),
        observed=float(labels.mean()),
        expected=float(positive.mean()),
        smooth_error=smooth_calibration_error(labels, positive),
        smooth_error_of_chance=float(np.quantile(of_chance, 0.95)),
        reliability=reliability_bins(labels, positive, groups, inflation=inflation),
    )


def calibration_slope(labels: IntArray, probabilities: FloatArray) -> float | None:
    """Return the slope that the logits of calibrated predictions still need: 1 if they are calibrated.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Probabilities of the two classes, shape (images, 2).

    Returns:
        Above 1 for predictions that are not certain enough, below 1 for those that are too certain. None
        where the classes are separated, so that no slope is steep enough, and for one class or constant
        predictions.
    """
    found = _slope(labels, log_odds(probabilities), np.arange(len(labels)), inflation=1.0)
    return None if found is None else found.estimate


def smooth_calibration_error(labels: IntArray, positive: FloatArray) -> float:
    """Return the smooth calibration error of positive probabilities, both of shape (images,).

    >>> smooth_calibration_error(np.array([0, 1, 0, 1]), np.full(4, 0.5))
    0.0
    """
    from scipy.fft import dct, idct  # slow to import

    cell = np.minimum((positive * _GRID).astype(np.int64), _GRID - 1)
    residuals = np.bincount(cell, weights=labels - positive, minlength=_GRID) / len(labels)

    # A cosine transform continues the residuals at 0 and 1 by their mirror image, as the method asks for.
    waves, frequencies = dct(residuals), np.pi * np.arange(_GRID)

    def smoothed(width: float) -> float:
        return float(np.abs(idct(waves * np.exp(-((frequencies * width) ** 2) / 2))).sum())

    low, high = 1.0 / _GRID, 1.0
    if smoothed(low) <= low:  # smaller than the cells can tell
        return smoothed(low)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if smoothed(middle) > middle else (low, middle)
    return smoothed(high)


def _slope(labels: IntArray, logits: FloatArray, patient: IntArray, inflation: float) -> Interval | None:
    """Slope of the labels on the logits; None where no slope is steep enough, or nothing varies."""
    positive, negative = logits[labels == 1], logits[labels == 0]
    if not len(positive) or not len(negative) or logits.std() < 1e-12:
        return None
    if positive.min() >= negative.max() or negative.min() >= positive.max():
        return None
    centre, spread = logits.mean(), logits.std()
    inputs = np.stack([(logits - centre) / spread, np.ones(len(logits))], axis=1)
    found = _logistic(labels, inputs, np.zeros(len(logits)), patient)
    if found is None:
        return None
    value, error = found[0][0] / spread, np.sqrt(found[1][0, 0] * inflation) / spread
    return _interval(value, error)


def _intercept(labels: IntArray, logits: FloatArray, patient: IntArray, inflation: float) -> Interval | None:
    """What is to be added to all logits; None where there is one class."""
    if not 0 < labels.sum() < len(labels):
        return None
    found = _logistic(labels, np.ones((len(labels), 1)), logits, patient)
    return None if found is None else _interval(found[0][0], np.sqrt(found[1][0, 0] * inflation))


def _interval(value: float, error: float) -> Interval:
    return Interval(float(value), float(value - QUANTILE * error), float(value + QUANTILE * error))


def _logistic(
    labels: IntArray, inputs: FloatArray, offset: FloatArray, patient: IntArray
) -> tuple[FloatArray, FloatArray] | None:
    """Coefficients of a logistic regression, and their variance over patients; None if they diverge.

    Newton's method. Far from the optimum the curvature is almost 0, so that a whole step leads far beyond it:
    each is halved until the loss falls by a share of what its gradient promises (Armijo).
    """
    found, loss = np.zeros(inputs.shape[1]), _log_loss(labels, offset)
    for _ in range(_NEWTON_STEPS):
        score = inputs @ found + offset
        share, rest = sigmoid(score), sigmoid(-score)
        residuals = np.where(labels == 1, rest, -share)
        gradient = inputs.T @ residuals
        curvature = (inputs * (share * rest)[:, None]).T @ inputs
        if np.linalg.cond(curvature) > 1e12:
            return None
        step = np.linalg.solve(curvature, gradient)
        promised = float(gradient @ step)
        if np.abs(step).max() < 1e-9 or promised <= _ROUNDING * loss:
            break
        size, moved = 1.0, inputs @ step
        while (trial := _log_loss(labels, score + size * moved)) > loss - _ARMIJO * size * promised:
            size /= 2
        found, loss = found + size * step, trial
    else:
        return None
    by_patient = np.zeros((int(patient.max()) + 1, inputs.shape[1]))
    np.add.at(by_patient, patient, inputs * residuals[:, None])
    number = len(by_patient)
    meat = by_patient.T @ by_patient * number / max(number - 1, 1)
    bread = np.linalg.inv(curvature)
    return found, bread @ meat @ bread


def _log_loss(labels: IntArray, logits: FloatArray) -> float:
    """Sum of the negative logarithms of the probabilities of the labels."""
    return float(np.logaddexp(0.0, np.where(labels == 1, -logits, logits)).sum())


def reliability_bins(
    happened: IntArray, probabilities: FloatArray, groups: NDArray[Any], *, inflation: float = 1.0
) -> tuple[ReliabilityBin, ...]:
    """Compare probabilities of an event with how often it happened, in bins of equally many images.

    Args:
        happened: 1 where the event happened, else 0, shape (images,).
        probabilities: Predicted probability of it, in [0, 1], shape (images,).
        groups: Patient of each image, shape (images,).
        inflation: Factor by which other training parts widen a variance, see `fold_inflation`.

    Returns:
        At most ten bins, from low to high probabilities.

    >>> sure = np.repeat([0.1, 0.9], 5)
    >>> [one.observed.estimate for one in reliability_bins((sure > 0.5).astype(int), sure, np.arange(10))]
    [0.0, 1.0]
    """
    order = np.argsort(probabilities, kind="stable")
    bins = []
    for images in np.array_split(order, max(1, min(_BINS, len(order) // _FEWEST_IN_BIN))):
        number = effective_number(happened[images] == 1, groups[images]) / inflation
        bins.append(
            ReliabilityBin(
                expected=float(probabilities[images].mean()),
                observed=wilson_interval(float(happened[images].mean()), number),
                images=len(images),
            )
        )
    return tuple(bins)
