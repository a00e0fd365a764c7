"""`svm`: a support vector machine with a radial kernel, calibrated on held-out patients."""

from itertools import combinations
from typing import Any, Final

import numpy as np

from trainables.common.types import Float64Array
from trainables.config.trial_config import TrialConfig
from trainables.estimators.estimator import Estimator, Rows
from trainables.estimators.fitted import FittedEstimator, PairwiseVotes, RadialKernel
from trainables.estimators.preparation import prepared_inputs
from trainables.estimators.radial import gamma_of
from trainables.estimators.sigmoids import fit_with_sigmoids, weights_by_class


def fit_svm(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Fit a machine with the kernel exp(-gamma |x - y|^2)."""
    from sklearn.svm import SVC

    config = trial.classical
    inputs, projection = prepared_inputs(config, rows)
    gamma = gamma_of(config, inputs)
    estimator = SVC(C=config.c, gamma=gamma, class_weight=weights_by_class(rows))
    model, sigmoids = fit_with_sigmoids(estimator, inputs, config, rows, seed)
    kind = RadialKernel if len(rows.present) == 2 else PairwiseVotes
    rule = kind(
        points=model.support_vectors_,
        coefficients=_of_pairs(model),
        intercept=model.intercept_,
        gamma=np.asarray(gamma),
    )
    return FittedEstimator(rule, rows.present, inputs=projection, sigmoids=sigmoids)


def _of_pairs(model: Any) -> Float64Array:
    """Coefficient of each support vector in the score of each pair of classes, (vectors, pairs)."""
    if len(model.classes_) == 2:
        return np.asarray(model.dual_coef_.T)
    own = np.repeat(np.arange(len(model.classes_)), model.n_support_)
    pairs = list(combinations(range(len(model.classes_)), 2))
    found = np.zeros((len(own), len(pairs)))
    for column, (first, second) in enumerate(pairs):
        # A vector's row k compares its class with the k-th of the other classes.
        found[own == first, column] = model.dual_coef_[second - 1, own == first]
        found[own == second, column] = model.dual_coef_[first, own == second]
    return found


SVM: Final = Estimator("svm", "support vector machine, radial kernel", fit_svm, ("c", "gamma"))
