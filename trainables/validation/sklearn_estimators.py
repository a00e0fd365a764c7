"""Classical models from scikit-learn: one estimator fitted once on rows of features.

Probabilities are the estimator's own. A support vector machine has none, so its decision values are
calibrated by Platt scaling, fitted on patients that are held out inside the training part.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import ConfigError
from trainables.common.types import Float32Array, IntArray
from trainables.config.trial_config import TrialConfig
from trainables.training.folds import NanLossError
from trainables.training.losses import class_weights

_MLP_UNITS: Final = (64, 48)
_MOST_ITERATIONS: Final = 2000  # limit for solvers that stop by themselves once they have converged
_PLATT_FOLDS: Final = 5
_HAVE_NO_PROBABILITIES: Final = ("svm", "linear_svm")
_COUNT_ROWS: Final = ("tree", "knn", "majority", "stratified")
_TAKE_CLASS_WEIGHTS: Final = ("svm", "linear_svm", "tree", "logistic")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that an estimator is fitted on; a row that was drawn twice is there twice.

    Attributes:
        inputs: Features, float32, shape (rows, D).
        labels: Class indices, shape (rows,).
        groups: Patient of each row, shape (rows,).
        classes: Number of classes.
    """

    inputs: Float32Array
    labels: IntArray
    groups: NDArray[np.str_]
    classes: int


class ClassicalModel:
    """A fitted estimator.

    Args:
        config: The trial; `classical` chooses the estimator. Of `training`, it uses `class_weight` where the
            estimator has weights (all but nearest neighbours and the guessers), and `batch_size` for the
            `mlp`.
        rows: Rows to fit on.
        seed: Seed of everything that the estimator draws.

    Raises:
        ConfigError: If there are too few rows or patients to fit it.
        NanLossError: If its weights became NaN or infinite.
    """

    def __init__(self, config: TrialConfig, rows: Rows, *, seed: int) -> None:
        self.classes = rows.classes
        self._rows = len(rows.labels) if config.classical.name in _COUNT_ROWS else None
        self._estimator = _fitted(config, rows, seed)

    def predict(self, inputs: Float32Array) -> Float32Array:
        """Map features (n, D) to probabilities (n, classes); 0 for a class that was not among the rows.

        Estimators that count rows answer 0 and 1, which have no logit: one more row of each class is mixed
        in, by the share that it has among all rows. Neither rankings nor decisions change.

        Raises:
            NanLossError: If a probability is not finite.
        """
        probabilities = np.zeros((len(inputs), self.classes), dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found below
            probabilities[:, self._estimator.classes_] = self._estimator.predict_proba(inputs)
        if not np.isfinite(probabilities).all():
            raise NanLossError("the predictions are not finite")
        if self._rows is None:
            return probabilities
        mixed: Float32Array = (self._rows * probabilities + 1) / np.float32(self._rows + self.classes)
        return mixed


def _fitted(config: TrialConfig, rows: Rows, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning  # slow to import, and nets do not need it

    estimator, arguments = _whole(config, rows, seed), {}
    if config.classical.name == "mlp":
        arguments["mlpclassifier__sample_weight"] = _weights(config, rows)[rows.labels]
    with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
        # Unscaled columns may need more iterations than the limit; the score shows whether that mattered.
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            return estimator.fit(rows.inputs, rows.labels, **arguments)
        except ValueError as error:
            if "non-finite" not in str(error):
                raise
            raise NanLossError(
                f"the weights of classical.name={config.classical.name} became NaN or infinite; scale the "
                "features with classical.standardize=true, or lower classical.lr"
            ) from error


def _whole(config: TrialConfig, rows: Rows, seed: int) -> Any:
    """The estimator with its scaler and its calibration."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaler = [StandardScaler()] if config.classical.standardize else []
    estimator = make_pipeline(*scaler, _estimator(config, rows, seed))
    if config.classical.name not in _HAVE_NO_PROBABILITIES:
        return estimator
    return CalibratedClassifierCV(estimator, method="sigmoid", cv=_inner_folds(rows, seed), ensemble=False)


def _estimator(config: TrialConfig, rows: Rows, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC, LinearSVC
    from sklearn.tree import DecisionTreeClassifier

    own, weights = config.classical, _weights_by_class(config, rows)
    if own.name == "svm":
        return SVC(C=own.c, class_weight=weights)
    if own.name == "linear_svm":
        return LinearSVC(C=own.c, class_weight=weights, max_iter=_MOST_ITERATIONS, random_state=seed)
    if own.name == "logistic":
        return LogisticRegression(C=own.c, class_weight=weights, max_iter=_MOST_ITERATIONS)
    if own.name == "tree":
        return DecisionTreeClassifier(max_depth=own.depth, class_weight=weights, random_state=seed)
    if own.name == "knn":
        _check_neighbours(own.neighbours, rows)
        return KNeighborsClassifier(own.neighbours, p=own.minkowski_p)
    return _perceptron(config, rows, seed) if own.name == "mlp" else _guesser(own.name, seed)


def _perceptron(config: TrialConfig, rows: Rows, seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    own = config.classical
    return MLPClassifier(
        _MLP_UNITS,
        solver="sgd",
        alpha=own.l2,
        batch_size=min(config.training.batch_size, len(rows.labels)),
        learning_rate_init=own.lr,
        max_iter=own.epochs,
        n_iter_no_change=own.epochs,  # all epochs are run
        random_state=seed,
    )


def _guesser(name: str, seed: int) -> Any:
    from sklearn.dummy import DummyClassifier

    # `prior` predicts the majority class, as `most_frequent` does, with the class shares as probabilities.
    return DummyClassifier(strategy="prior" if name == "majority" else "stratified", random_state=seed)


def _weights(config: TrialConfig, rows: Rows) -> NDArray[np.float64]:
    return class_weights(config.training.class_weight, rows.labels, rows.classes)


def _weights_by_class(config: TrialConfig, rows: Rows) -> dict[int, float] | None:
    if config.classical.name not in _TAKE_CLASS_WEIGHTS or config.training.class_weight == "none":
        return None
    weights = _weights(config, rows)
    return {int(label): float(weights[label]) for label in np.unique(rows.labels)}


def _check_neighbours(wanted: int, rows: Rows) -> None:
    if wanted > len(rows.labels):
        raise ConfigError(
            f"classical.neighbours={wanted} needs as many training rows, a fold has {len(rows.labels)}; "
            "set fewer neighbours"
        )


def _inner_folds(rows: Rows, seed: int) -> Sequence[tuple[IntArray, IntArray]]:
    """Training and held-out rows of folds inside the training part, which keep patients whole."""
    from sklearn.model_selection import StratifiedGroupKFold

    patients = [len(np.unique(rows.groups[rows.labels == label])) for label in np.unique(rows.labels)]
    if min(patients) < 2:
        raise ConfigError(
            "a support vector machine is calibrated on held-out patients, at least 2 of each class; a fold's "
            f"training part has {min(patients)} of one class. Take another classical.name, or fewer --folds"
        )
    cut = StratifiedGroupKFold(min(_PLATT_FOLDS, *patients), shuffle=True, random_state=seed)
    return list(cut.split(rows.inputs, rows.labels, rows.groups))
