"""Platt scaling: slope and intercept that turn a score into a calibrated probability."""

from typing import Final

import numpy as np
from pydantic import Field, FiniteFloat

from results.run.records import OutOfFold
from results.scores.cross_fitting import crossfit_parts
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray

LOGIT_CLIP: Final = 1e-6  # probabilities are kept this far from 0 and 1 before their logit is taken

_NEWTON_STEPS: Final = 100


def logit(probability: FloatArray) -> FloatArray:
    """Return ln(p / (1 - p)) with p clipped to [1e-6, 1 - 1e-6]; any shape."""
    clipped = np.clip(np.asarray(probability, dtype=np.float64), LOGIT_CLIP, 1 - LOGIT_CLIP)
    return np.log(clipped) - np.log1p(-clipped)


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

    def apply(self, probability: FloatArray) -> FloatArray:
        """Calibrate positive probabilities through their logits; any shape.

        >>> Platt(slope=1.0, intercept=0.0).apply(np.array([0.25]))
        array([0.25])
        """
        return self.apply_to_scores(logit(probability))

    def apply_to_scores(self, value: FloatArray) -> FloatArray:
        """Turn real-valued scores, such as logits or distances to a margin, into probabilities; any shape."""
        return sigmoid(self.slope * value + self.intercept)


def fit_platt(labels: IntArray, positive_probability: FloatArray) -> Platt:
    """Fit a calibration to predictions that were made out of fold.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        positive_probability: Probability of the positive class in [0, 1], shape (images,).

    Returns:
        The calibration; the identity if the labels do not rise with the score, since a negative slope would
        reverse the ranking.

    Source:
        Platt (1999), "Probabilistic outputs for support vector machines": logistic regression without a
        penalty, towards targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), which keep it finite on separable data.
    """
    return fit_platt_to_scores(labels, logit(positive_probability))


def fit_platt_to_scores(labels: IntArray, value: FloatArray) -> Platt:
    """Fit a calibration to real-valued scores, shape (images,); otherwise as `fit_platt`."""
    centre, spread = float(value.mean()), float(value.std())
    if spread < 1e-12 or not 0 < labels.sum() < len(labels):
        return Platt()
    slope, intercept = _newton(_platt_targets(labels), (value - centre) / spread) / np.array([spread, 1.0])
    # With such a small slope all scores would get the same probability.
    return Platt(slope=slope, intercept=intercept - slope * centre) if slope > 1e-9 else Platt()


def cross_fitted_calibration(out_of_fold: OutOfFold) -> FloatArray:
    """Calibrate each fold by a Platt scaling fitted on the other folds, for two classes.

    Returns:
        Probabilities, shape (images, 2). A single fold is cut into parts that take the place of folds; if it
        has too few patients for that, the probabilities stay as given.
    """
    positive = out_of_fold.probabilities[:, 1].astype(np.float64)
    calibrated = positive.copy()
    parts = crossfit_parts(out_of_fold)
    for part in np.unique(parts):
        own, others = parts == part, parts != part
        if others.any():
            calibrated[own] = fit_platt(out_of_fold.labels[others], positive[others]).apply(positive[own])
    return np.stack([1 - calibrated, calibrated], axis=1)


def _platt_targets(labels: IntArray) -> FloatArray:
    positives = int(labels.sum())
    negatives = len(labels) - positives
    return np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def _newton(targets: FloatArray, value: FloatArray) -> FloatArray:
    """Minimise the cross-entropy of sigmoid(slope * value + intercept), returning both, shape (2,)."""
    design = np.stack([value, np.ones_like(value)], axis=1)
    found = np.array([0.0, float(logit(targets.mean()))])
    loss = _cross_entropy(targets, design @ found)
    for _ in range(_NEWTON_STEPS):
        given = sigmoid(design @ found)
        curvature = design.T @ (design * (given * (1 - given))[:, None]) + 1e-10 * np.eye(2)
        step = np.linalg.solve(curvature, design.T @ (given - targets))
        # A full step may overshoot far from the optimum; halving keeps every step downhill.
        while (next_loss := _cross_entropy(targets, design @ (found - step))) > loss and np.abs(
            step
        ).max() > 1e-12:
            step = step / 2
        found, loss = found - step, next_loss
        if np.abs(step).max() < 1e-10:
            break
    return found


def _cross_entropy(targets: FloatArray, value: FloatArray) -> float:
    return float((np.logaddexp(0.0, value) - targets * value).sum())
