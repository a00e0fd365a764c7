"""`lda`: linear discriminant analysis with a covariance that is shrunk towards a multiple of the identity."""

from typing import Final

import numpy as np

from trainables.common.types import Float64Array
from trainables.config.trial_config import TrialConfig
from trainables.estimators.estimator import Estimator, Rows
from trainables.estimators.fitted import FittedEstimator
from trainables.estimators.preparation import linear_space

_LEAST_SHRINKAGE: Final = 1e-6  # keeps the covariance of more columns than rows invertible
_LEAST_SPREAD: Final = 1e-6  # within classes, of the whole variance: columns that tell the class have none


def fit_lda(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Fit class means and one pooled covariance; class weights multiply the shares of the classes."""
    config = trial.classical
    space = linear_space(config, rows)
    coordinates, present = space.coordinates, rows.present
    means = np.stack([coordinates[rows.labels == label].mean(axis=0) for label in present])
    within = coordinates - means[np.searchsorted(present, rows.labels)]
    wanted = config.shrinkage
    shrinkage = ledoit_wolf(within, space.columns) if wanted == "auto" else float(wanted)
    shrinkage = max(shrinkage, _LEAST_SHRINKAGE)
    covariance = within.T @ within / len(within)
    whole = coordinates.var(axis=0).sum()
    spread = max(np.trace(covariance), _LEAST_SPREAD * whole) / space.columns
    covariance *= 1.0 - shrinkage
    covariance.flat[:: len(covariance) + 1] += shrinkage * spread
    coefficients = np.linalg.solve(covariance, means.T)
    shares = np.bincount(rows.labels, rows.weights, minlength=rows.classes)[present]
    intercept = np.log(shares / shares.sum()) - 0.5 * (means.T * coefficients).sum(axis=0)
    return FittedEstimator(space.affine(rows, coefficients, intercept), present)


def ledoit_wolf(centred: Float64Array, columns: int) -> float:
    """Shrinkage that Ledoit and Wolf expect to be closest to the true covariance, in [0, 1].

    It depends on lengths alone, so that rows in the coordinates of their own space give the same value as
    rows of all columns.

    Args:
        centred: Rows without their mean, in any orthonormal coordinates of their space, shape (rows, r).
        columns: Number of columns that the rows have, at least r.

    Source:
        Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance matrices".
    """
    rows, lengths = len(centred), (centred**2).sum(axis=1)
    small = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    squared, mean_variance = (small**2).sum() / rows**2, lengths.sum() / rows / columns
    distance = squared / columns - mean_variance**2
    error = ((lengths**2).sum() / rows - squared) / (columns * rows)
    return 0.0 if distance <= 0.0 else float(min(max(error, 0.0), distance) / distance)


LDA: Final = Estimator("lda", "linear discriminant analysis, shrunk covariance", fit_lda, ("shrinkage",))
