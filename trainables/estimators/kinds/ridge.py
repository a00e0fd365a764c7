"""`ridge`: least squares on class indicators with an L2 penalty, calibrated on held-out patients."""

from typing import Final

import numpy as np

from trainables.config.trial_config import TrialConfig
from trainables.estimators.estimator import Estimator, Rows
from trainables.estimators.fitted import FittedEstimator
from trainables.estimators.preparation import linear_space
from trainables.estimators.sigmoids import fit_with_sigmoids, weights_by_class


def fit_ridge(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Fit a ridge regression on targets of -1 and 1, one for each class; the penalty is 1 / c."""
    from sklearn.linear_model import RidgeClassifier

    config = trial.classical
    space = linear_space(config, rows)
    estimator = RidgeClassifier(alpha=1.0 / config.c, class_weight=weights_by_class(rows))
    model, sigmoids = fit_with_sigmoids(estimator, space.coordinates, config, rows, seed)
    rule = space.affine(rows, np.atleast_2d(model.coef_).T, np.atleast_1d(model.intercept_))
    return FittedEstimator(rule, rows.present, sigmoids=sigmoids)


RIDGE: Final = Estimator("ridge", "least squares with an L2 penalty", fit_ridge, ("c",))
