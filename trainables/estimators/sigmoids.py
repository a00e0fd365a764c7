"""Platt scaling of scores on patients that are held out inside the training part."""

from typing import Any, Final

import numpy as np

from trainables.common.errors import ConfigError
from trainables.common.types import Float64Array, IntArray
from trainables.config.classical_config import ClassicalConfig
from trainables.estimators.estimator import Rows
from trainables.estimators.fitted import Sigmoids

Fold = tuple[IntArray, IntArray]  # rows to train on, and rows that are held out

_INNER_FOLDS: Final = 5
_DEALS: Final = 20


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


def inner_folds(config: ClassicalConfig, rows: Rows, seed: int) -> list[Fold]:
    """Training and held-out rows of folds inside the training part, which keep patients whole.

    The training rows of each fold hold every class that the rows have.

    Raises:
        ConfigError: If a class has fewer than two patients.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    patients = [len(np.unique(rows.groups[rows.labels == label])) for label in rows.present]
    if min(patients) < 2:
        raise ConfigError(
            f"classical.name={config.name} is calibrated on held-out patients (or images, where patients are "
            f"unknown), at least 2 of each class; a fold's training part has {min(patients)} of one class. "
            "Take another classical.name, or fewer --folds"
        )
    cut = StratifiedGroupKFold(min(_INNER_FOLDS, *patients), shuffle=True, random_state=seed)
    found = list(cut.split(rows.labels, rows.labels, rows.groups))
    return found if _trains_on_all_classes(rows, found) else _dealt(rows, seed)


def _trains_on_all_classes(rows: Rows, folds: list[Fold]) -> bool:
    return all(len(np.unique(rows.labels[training])) == len(rows.present) for training, _ in folds)


def _dealt(rows: Rows, seed: int) -> list[Fold]:
    """Folds to which patients are dealt by chance, for a few patients whom the splitter parts badly.

    Where chance leaves a class to a single fold again and again, each patient is a fold of its own: that
    takes no class away, since each has two patients.
    """
    names, patient = np.unique(rows.groups, return_inverse=True)
    random = np.random.default_rng(seed)
    deals = [random.permutation(len(names)) % _INNER_FOLDS for _ in range(_DEALS)]
    folds = (_by_part(deal[patient]) for deal in (*deals, np.arange(len(names))))
    return next(found for found in folds if _trains_on_all_classes(rows, found))


def _by_part(parts: IntArray) -> list[Fold]:
    return [(np.flatnonzero(parts != own), np.flatnonzero(parts == own)) for own in np.unique(parts)]


def weights_by_class(rows: Rows) -> dict[int, float] | None:
    """Class weights as scikit-learn takes them; None where all are one."""
    if (rows.class_weights == 1.0).all():
        return None
    return {int(label): float(rows.class_weights[label]) for label in rows.present}
