"""`mlp`: a perceptron of 64 and 48 units, trained by stochastic gradient descent."""

from typing import Any, Final

import numpy as np

from trainables.config.trial_config import TrialConfig
from trainables.estimators.estimator import Estimator, Rows
from trainables.estimators.fitted import FittedEstimator, Perceptron
from trainables.estimators.preparation import prepared_inputs

_UNITS: Final = (64, 48)


def fit_mlp(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Train for the epochs of the settings, without early stopping."""
    from sklearn.neural_network import MLPClassifier

    config = trial.classical
    inputs, projection = prepared_inputs(config, rows)
    model: Any = MLPClassifier(
        _UNITS,
        solver="sgd",
        alpha=config.l2,
        batch_size=min(trial.training.batch_size, len(rows.labels)),
        learning_rate_init=config.lr,
        max_iter=config.epochs,
        n_iter_no_change=config.epochs,  # all epochs are run
        random_state=seed,
    ).fit(inputs, rows.labels, sample_weight=rows.weights)
    rule = Perceptron(
        weights=np.concatenate([layer.ravel() for layer in model.coefs_]),
        biases=np.concatenate(model.intercepts_),
        widths=np.array([inputs.shape[1], *(len(layer) for layer in model.intercepts_)]),
    )
    return FittedEstimator(rule, rows.present, inputs=projection)


MLP: Final = Estimator(
    "mlp", "perceptron of 64 and 48 units", fit_mlp, ("l2", "lr", "epochs"), weighs_rows=True
)
