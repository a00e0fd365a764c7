"""`logistic`: L2-penalised logistic regression; all strengths share what depends on the rows."""

from typing import Final

from trainables.config.trial_config import TrialConfig
from trainables.estimators.estimator import Estimator, Rows
from trainables.estimators.fitted import FittedEstimator
from trainables.estimators.logistic_solver import solve_logistic
from trainables.estimators.preparation import linear_space


def fit_logistic(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Fit a logistic regression; other strengths on the same rows then take less."""
    config = trial.classical
    space = linear_space(config, rows)
    coefficients, intercept = solve_logistic(
        config.c, space.coordinates, rows, space=(config.standardize, config.pca)
    )
    return FittedEstimator(space.affine(rows, coefficients, intercept), rows.present)


LOGISTIC: Final = Estimator(
    "logistic", "L2-penalised logistic regression", fit_logistic, ("c",), weighs_rows=True
)
