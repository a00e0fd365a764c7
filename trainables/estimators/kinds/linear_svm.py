"""`linear_svm`: a linear support vector machine, calibrated on held-out patients."""

from typing import Final

from trainables.config.trial_config import TrialConfig
from trainables.estimators.estimator import Estimator, Rows
from trainables.estimators.fitted import FittedEstimator
from trainables.estimators.preparation import linear_space
from trainables.estimators.sigmoids import fit_with_sigmoids, weights_by_class

_MOST_ITERATIONS: Final = 2000  # unscaled columns may need more; the score shows whether that mattered


def fit_linear_svm(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Fit a linear machine with the squared hinge loss, one score for each class."""
    from sklearn.svm import LinearSVC

    config = trial.classical
    space = linear_space(config, rows)
    estimator = LinearSVC(
        C=config.c, class_weight=weights_by_class(rows), max_iter=_MOST_ITERATIONS, random_state=seed
    )
    model, sigmoids = fit_with_sigmoids(estimator, space.coordinates, config, rows, seed)
    rule = space.affine(rows, model.coef_.T, model.intercept_)
    return FittedEstimator(rule, rows.present, sigmoids=sigmoids)


LINEAR_SVM: Final = Estimator("linear_svm", "linear support vector machine", fit_linear_svm, ("c",))
