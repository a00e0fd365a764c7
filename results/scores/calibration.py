"""Calibration: slope and intercept that turn a score into a probability, for fold models and for their mean.

A model that leaves the house is the mean of K fold models, taken on logits. Its scores vary less than those
of the single fold models that made the out-of-fold predictions: part of the noise of training averages out. A
calibration that was fitted to single models is therefore too flat for their mean, by the ratio of the two
variances. Fold models are jackknife replicates of one another, which puts that ratio between 1 (no noise) and
1 / (1 - 1 / K) (nothing but noise); `Platt.for_mean_of` takes the middle, and `python -m
benchmarks.calibration` measures what is left.

Source:
    Platt (1999), "Probabilistic outputs for support vector machines"; Ranjan and Gneiting (2010), JRSS B
    72:71, on the mean of probabilities; Gelman et al. (2008), Annals of Applied Statistics 2:1360, on weak
    priors.
"""

from typing import Final

import numpy as np
from pydantic import Field, FiniteFloat

from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray

SMALLEST_PROBABILITY: Final = 1e-37  # smaller ones, which float32 cannot hold, have the logit of this one
NOISE_SHARE: Final = 0.5  # of the variance of a fold model's scores: half way between none and all

# A calibrated score with an AUC between 0.55 and 0.97 has a slope of 0.2 to 3 standard deviations.
_PRIOR_SLOPE: Final = 0.75  # per standard deviation of the score
_PRIOR_SPREAD: Final = 0.7  # standard deviation of the slope's logarithm

_NEWTON_STEPS: Final = 50  # at most; five are usual
_SMALLEST_STEP: Final = 1e-6  # of a whole one
_TOLERANCE: Final = 1e-9  # of the gradient, for each image
_LARGEST_LOG: Final = 700.0  # of a slope that double precision can hold


def log_odds(probabilities: FloatArray) -> FloatArray:
    """Return ln(p1 / p0) of the probabilities of two classes, shape (..., 2) to (...).

    Both columns are used, so that a probability that is rounded to 1 keeps its distance from 1.

    >>> log_odds(np.array([[0.5, 0.5], [0.0, 1.0]])).round(1).tolist()
    [0.0, 85.2]
    """
    logs = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY))
    difference: FloatArray = logs[..., 1] - logs[..., 0]
    return difference


def sigmoid(value: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-value)) without overflow; any shape."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(value, dtype=np.float64)))


class Platt(FrozenModel):
    """A calibration: probability = sigmoid(slope * score + intercept).

    Attributes:
        slope: Slope, positive, so that calibration never changes a ranking.
        intercept: Intercept in logits.
    """

    slope: FiniteFloat = Field(default=1.0, gt=0.0)
    intercept: FiniteFloat = 0.0

    def apply(self, probabilities: FloatArray) -> FloatArray:
        """Calibrate the probabilities of two classes, shape (..., 2).

        >>> Platt(slope=1.0, intercept=0.0).apply(np.array([[0.75, 0.25]]))
        array([[0.75, 0.25]])
        """
        score = self.slope * log_odds(probabilities) + self.intercept
        return np.stack([sigmoid(-score), sigmoid(score)], axis=-1)

    def apply_to_scores(self, value: FloatArray) -> FloatArray:
        """Turn real-valued scores, such as distances to a margin, into positive probabilities; any shape."""
        return sigmoid(self.slope * value + self.intercept)

    def moved(self, shift: float) -> "Platt":
        """Return the calibration for another prevalence: `shift` is added to all logits."""
        return Platt(slope=self.slope, intercept=self.intercept + shift)

    def for_mean_of(self, models: int, centre: float) -> "Platt":
        """Return the calibration of the mean logit of some fold models; for one model it is the same.

        Args:
            models: Number of fold models, at least 1.
            centre: Mean score of the single models, which keeps its probability.

        >>> Platt(slope=0.875, intercept=0.5).for_mean_of(4, centre=0.0)
        Platt(slope=1.0, intercept=0.5)
        """
        factor = 1.0 if models == 1 else 1.0 / (1.0 - NOISE_SHARE / models)
        return Platt(
            slope=self.slope * factor, intercept=self.intercept - self.slope * (factor - 1.0) * centre
        )


def fit_platt(labels: IntArray, probabilities: FloatArray) -> Platt:
    """Fit a calibration to predictions that were made out of fold.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Probabilities of the two classes, shape (images, 2).
    """
    return fit_platt_to_scores(labels, log_odds(probabilities))


def fit_platt_to_scores(labels: IntArray, value: FloatArray) -> Platt:
    """Fit a calibration to real-valued scores, shape (images,).

    Logistic regression whose slope, per standard deviation of the score, has a log-normal prior with median
    0.75. The prior keeps the slope positive and finite where a few patients, or separated classes, would
    make it anything; with hundreds of patients it does not count.

    Returns:
        The calibration. Scores that never vary get the share of positives; labels of one class, the identity.
    """
    if not 0 < labels.sum() < len(labels):
        return Platt()
    centre, spread = float(value.mean()), float(value.std())
    share = float(labels.mean())
    if spread < 1e-12:
        return Platt(intercept=float(np.log(share / (1 - share))) - centre)
    log_slope, intercept = _most_likely(labels, (value - centre) / spread)
    slope = float(np.exp(log_slope)) / spread
    return Platt(slope=slope, intercept=intercept - slope * centre)


def _most_likely(labels: IntArray, value: FloatArray) -> tuple[float, float]:
    """Logarithm of the slope, and intercept, of largest posterior density; scores are standardised.

    Newton's method with halved steps; where the density is not concave, its curvature without the part that
    the residuals add, which is always that of a peak.
    """
    share = labels.mean()
    log_slope, intercept = float(np.log(_PRIOR_SLOPE)), float(np.log(share / (1 - share)))
    loss, found = _posterior(labels, value, log_slope, intercept)
    for _ in range(_NEWTON_STEPS):
        slope, apart = np.exp(log_slope), (log_slope - np.log(_PRIOR_SLOPE)) / _PRIOR_SPREAD
        residual, weight = found - labels, found * (1 - found)
        pull, weighted = slope * (residual @ value), weight * value
        gradient = (pull + apart / _PRIOR_SPREAD, float(residual.sum()))
        if max(map(abs, gradient)) <= _TOLERANCE * len(labels):
            break
        curved = slope * slope * (weighted @ value) + 1 / _PRIOR_SPREAD**2
        across, down = slope * weighted.sum(), float(weight.sum()) + 1e-12
        if (curved + pull) * down - across * across > 1e-9 * down:
            curved += pull
        area = curved * down - across * across
        along = (down * gradient[0] - across * gradient[1]) / area
        shift = (curved * gradient[1] - across * gradient[0]) / area
        size, best = 1.0, loss
        while size > _SMALLEST_STEP:
            loss, found = _posterior(labels, value, log_slope - size * along, intercept - size * shift)
            if loss <= best:
                break
            size /= 2
        if not loss <= best:
            break
        log_slope, intercept = log_slope - size * along, intercept - size * shift
    return float(log_slope), float(intercept)


def _posterior(
    labels: IntArray, value: FloatArray, log_slope: float, intercept: float
) -> tuple[float, FloatArray]:
    """Negative logarithm of the posterior density, but for a constant, and probabilities (images,)."""
    score = np.exp(min(log_slope, _LARGEST_LOG)) * value + intercept
    apart = (log_slope - np.log(_PRIOR_SLOPE)) / _PRIOR_SPREAD
    small = np.exp(-np.abs(score))
    loss = np.maximum(score, 0.0).sum() + np.log1p(small).sum() - labels @ score + apart**2 / 2
    return float(loss), np.where(score >= 0, 1.0, small) / (1.0 + small)
