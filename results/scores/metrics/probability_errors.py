"""Errors of probabilities: log loss and Brier score. Smaller is better."""

import numpy as np

from results.scores.decisions import scored_classes
from results.scores.metric import Metric
from trainables.common.types import FloatArray, IntArray


def log_loss(labels: IntArray, probabilities: FloatArray) -> float:
    """Mean negative natural logarithm of the true class's probability, clipped away from 0 and 1."""
    tiny = np.finfo(np.float64).eps
    given = np.clip(probabilities.astype(np.float64), tiny, 1 - tiny)
    return float(-np.log(given[np.arange(len(labels)), labels]).mean())


def brier(labels: IntArray, probabilities: FloatArray) -> float:
    """Mean squared distance from the truth: of the positive probability, or summed over more classes."""
    truth = np.eye(probabilities.shape[-1])[labels]
    return float(((probabilities - truth) ** 2)[:, list(scored_classes(truth.shape[1]))].sum(axis=1).mean())


LOG_LOSS = Metric(
    name="log_loss",
    kind="probabilities",
    function=log_loss,
    header="LogLoss",
    higher_is_better=False,
    high=float("inf"),
    is_standard=True,
    digits=3,
    place=100,
)
BRIER = Metric(
    name="brier",
    kind="probabilities",
    function=brier,
    header="Brier",
    higher_is_better=False,
    high=2.0,
    is_standard=True,
    digits=3,
    place=110,
)
