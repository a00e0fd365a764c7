"""Platt scaling of scores on patients that are held out inside the training part."""

from typing import Any, Final

import numpy as np

from trainables.common.errors import ConfigError
from trainables.common.types import Float64Array, IntArray
from trainables.config.classical_config import ClassicalConfig
from trainables.estimators.estimator import Rows
from trainables.estimators.fitted import Sigmoids

_INNER_FOLDS: Final = 5


def fit_with_sigmoids(
    estimator: Any, inputs: Float64Array, config: ClassicalConfig, rows: Rows, seed: int
) -> tuple[Any, Sigmoids]:
    """Fit an estimator of scikit-learn that has scores and no probabilities, and calibrate its scores.

    Args:
        estimator: Estimator with a `decision_function`.
        inputs: Prepared rows, shape (rows, d).
        config: Settings; named in errors.
        rows: Labels and patients of the rows.
        seed: Seed of the inner folds.

    Returns:
        The estimator fitted on all rows, and one sigmoid for each score, fitted on held-out scores.

    Raises:
        ConfigError: If a class has fewer than two patients.

    Source:
        Platt (1999), "Probabilistic outputs for support vector machines".
    """
    from sklearn.calibration import CalibratedClassifierCV

    whole = CalibratedClassifierCV(
        estimator, method="sigmoid", cv=inner_folds(config, rows, seed), ensemble=False
    ).fit(inputs, rows.labels)
    (fitted,) = whole.calibrated_classifiers_
    slopes = np.array([one.a_ for one in fitted.calibrators])
    return fitted.estimator, Sigmoids(slopes, np.array([one.b_ for one in fitted.calibrators]))


def inner_folds(config: ClassicalConfig, rows: Rows, seed: int) -> list[tuple[IntArray, IntArray]]:
    """Training and held-out rows of folds inside the training part, which keep patients whole.

    Raises:
        ConfigError: If a class has fewer than two patients.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    patients = [len(np.unique(rows.groups[rows.labels == label])) for label in rows.present]
    if min(patients) < 2:
        raise ConfigError(
            f"classical.name={config.name} is calibrated on held-out patients, at least 2 of each class; a "
            f"fold's training part has {min(patients)} of one class. Take another classical.name, or fewer "
            "--folds"
        )
    cut = StratifiedGroupKFold(min(_INNER_FOLDS, *patients), shuffle=True, random_state=seed)
    return list(cut.split(rows.labels, rows.labels, rows.groups))


def weights_by_class(rows: Rows) -> dict[int, float] | None:
    """Class weights as scikit-learn takes them; None where all are one."""
    if (rows.class_weights == 1.0).all():
        return None
    return {int(label): float(rows.class_weights[label]) for label in rows.present}
