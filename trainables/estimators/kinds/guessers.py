"""`majority` and `stratified`: guesses that look at no image, below which no model should be."""

from typing import Final

import numpy as np

from trainables.common.types import Float64Array
from trainables.config.trial_config import TrialConfig
from trainables.estimators.estimator import Estimator, Rows
from trainables.estimators.fitted import FittedEstimator, Guess, Shares


def fit_majority(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Predict the shares of the classes for every row, and so the larger class."""
    return FittedEstimator(Shares(_shares(rows)), rows.present, counted=len(rows.labels))


def fit_stratified(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Draw a class for every row, by the shares of the classes."""
    rule = Guess(_shares(rows), np.asarray(seed))
    return FittedEstimator(rule, rows.present, counted=len(rows.labels))


def _shares(rows: Rows) -> Float64Array:
    shares: Float64Array = np.bincount(rows.labels, minlength=rows.classes)[rows.present] / len(rows.labels)
    return shares


MAJORITY: Final = Estimator(
    "majority", "the larger class for all", fit_majority, weighs_classes=False, learns_one_class=True
)
STRATIFIED: Final = Estimator(
    "stratified",
    "guesses by the class shares",
    fit_stratified,
    weighs_classes=False,
    is_random=True,
    learns_one_class=True,
)
