"""`kernel_logistic`: logistic regression in the space of a radial kernel, in place of a Gaussian process.

Of more rows than `MOST_POINTS` a seeded sample stands for the others (the Nyström method); below that it is
exact. A Gaussian process chooses its width and height itself, and was as good as a well chosen width and
penalty, but took 6 to 24 times as long: see docs/lab_log.md.

Source:
    Zhu and Hastie (2005), "Kernel logistic regression and the import vector machine"; Williams and Seeger
    (2001), "Using the Nyström method to speed up kernel machines".
"""

from typing import Final

import numpy as np

from trainables.common.types import Float64Array
from trainables.config.trial_config import TrialConfig
from trainables.estimators.estimator import Estimator, Rows
from trainables.estimators.fitted import FittedEstimator, RadialKernel
from trainables.estimators.logistic_solver import solve_logistic
from trainables.estimators.preparation import prepared_inputs
from trainables.estimators.radial import gamma_of, radial_kernel
from trainables.estimators.remembered import MEMORY

MOST_POINTS: Final = 1000
_SMALLEST: Final = 1e-10  # eigenvalue of the kernel, as a share of the largest; less is rounding

_Embedding = tuple[Float64Array, Float64Array, Float64Array]


def fit_kernel_logistic(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Fit a logistic regression on the coordinates of the rows in the kernel's space."""
    config = trial.classical
    inputs, projection = prepared_inputs(config, rows)
    gamma = gamma_of(config, inputs)
    space = (config.standardize, config.pca, config.gamma, seed if len(inputs) > MOST_POINTS else None)
    coordinates, points, axes = (
        MEMORY.recall(("kernel", rows.key, space), lambda: _embedded(inputs, gamma, seed))
        if rows.key
        else _embedded(inputs, gamma, seed)
    )
    coefficients, intercept = solve_logistic(config.c, coordinates, rows, space=("kernel", *space))
    rule = RadialKernel(points, axes @ coefficients, intercept, np.asarray(gamma))
    return FittedEstimator(rule, rows.present, inputs=projection)


def _embedded(inputs: Float64Array, gamma: float, seed: int) -> _Embedding:
    """Coordinates of the rows (rows, r), points (P, d), and the way from their kernel to the axes (P, r)."""
    chosen = np.arange(len(inputs))
    if len(inputs) > MOST_POINTS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(inputs), MOST_POINTS, replace=False))
    points = inputs[chosen]
    values, vectors = np.linalg.eigh(radial_kernel(points, points, gamma))
    kept = values > _SMALLEST * values[-1]
    axes = vectors[:, kept] / np.sqrt(values[kept])
    return radial_kernel(inputs, points, gamma) @ axes, points, axes


KERNEL_LOGISTIC: Final = Estimator(
    "kernel_logistic", "logistic regression, radial kernel", fit_kernel_logistic, ("c", "gamma")
)
