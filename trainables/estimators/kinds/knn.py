"""`knn`: shares of the classes among the nearest rows."""

from typing import Final

import numpy as np

from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig
from trainables.estimators.estimator import Estimator, Rows
from trainables.estimators.fitted import FittedEstimator, Neighbours
from trainables.estimators.preparation import prepared_inputs


def fit_knn(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Keep the rows.

    Raises:
        ConfigError: If there are fewer rows than neighbours.
    """
    config = trial.classical
    if config.neighbours > len(rows.labels):
        raise ConfigError(
            f"classical.neighbours={config.neighbours} needs as many training rows, a fold has "
            f"{len(rows.labels)}; set fewer neighbours"
        )
    inputs, projection = prepared_inputs(config, rows)
    rule = Neighbours(
        points=inputs,
        labels=np.searchsorted(rows.present, rows.labels),
        count=np.asarray(config.neighbours),
        exponent=np.asarray(config.minkowski_p),
    )
    return FittedEstimator(rule, rows.present, inputs=projection, counted=len(rows.labels))


KNN: Final = Estimator(
    "knn",
    "nearest neighbours",
    fit_knn,
    ("neighbours", "minkowski_p"),
    weighs_classes=False,
    learns_one_class=True,
)
