"""Measurement of what a closed-form head takes on this machine, on random features and before a search."""

import contextlib
from typing import Final

import numpy as np
import torch

from trainables.common.types import IntArray
from trainables.config.trial_config import TrialConfig
from trainables.data.split_checks import trained_and_predicted
from trainables.estimators.estimator import Rows
from trainables.estimators.modules import as_state
from trainables.training.cost_probe import clock_on
from trainables.training.folds import NanLossError
from trainables.validation.classical import fit_estimator, predicted

_IMAGES: Final = 128  # of a measured fit, more than the neighbours of any head; the time is in proportion


def measure_fits(config: TrialConfig, columns: int, *, folds: IntArray) -> float:
    """Time the closed-form heads of all folds, from the fit to the predictions, in seconds.

    Args:
        config: The trial.
        columns: Numbers of each image that the head reads.
        folds: Fold of each image of the training part, or `TRAINING`, shape (images,).

    Returns:
        Seconds on one worker; 0 for a head whose weights became NaN or infinite, which ends its trial.
    """
    trained, held_out = trained_and_predicted(folds)
    clock, places = clock_on(torch.device("cpu")), np.arange(_IMAGES)
    rows = Rows(
        inputs=np.random.default_rng(0).normal(size=(_IMAGES, columns)).astype(np.float32),
        labels=places % 2,
        groups=places.astype(np.str_),
        classes=2,
        class_weights=np.ones(2),
        units=places,
    )
    fits, predictions = [], []
    with contextlib.suppress(NanLossError):
        for _ in range(2):  # the first one imports what it needs
            began = clock()
            state = as_state(fit_estimator(config, rows, seed=0))
            fitted = clock()
            predicted(state, rows.inputs, classes=2)
            fits.append(fitted - began)
            predictions.append(clock() - fitted)
    return (trained * min(fits, default=0.0) + held_out * min(predictions, default=0.0)) / _IMAGES
