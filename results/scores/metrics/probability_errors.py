"""Errors of probabilities: log loss and Brier score. Smaller is better."""

from types import MappingProxyType
from typing import Final

import numpy as np

from results.scores.decisions import scored_classes
from results.scores.metric import Metric
from trainables.common.types import FloatArray, IntArray


def log_losses(labels: IntArray, probabilities: FloatArray) -> FloatArray:
    """Negative natural logarithm of each image's true class, clipped away from 0 and 1, shape (images,)."""
    tiny = np.finfo(np.float64).eps
    given = np.clip(probabilities.astype(np.float64), tiny, 1 - tiny)
    return np.asarray(-np.log(given[np.arange(len(labels)), labels]))


def squared_distances(labels: IntArray, probabilities: FloatArray) -> FloatArray:
    """Squared distance of each image from the truth, shape (images,): of the positive probability of two
    classes, or summed over more.
    """
    truth = np.eye(probabilities.shape[-1])[labels]
    return np.asarray(((probabilities - truth) ** 2)[:, list(scored_classes(truth.shape[1]))].sum(axis=1))


def log_loss(labels: IntArray, probabilities: FloatArray) -> float:
    """Mean negative natural logarithm of the true class's probability, clipped away from 0 and 1."""
    return float(log_losses(labels, probabilities).mean())


def brier(labels: IntArray, probabilities: FloatArray) -> float:
    """Mean squared distance from the truth: of the positive probability, or summed over more classes."""
    return float(squared_distances(labels, probabilities).mean())


# Metric -> errors of single images, whose mean it is.
IMAGE_ERRORS: Final = MappingProxyType({"log_loss": log_losses, "brier": squared_distances})

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
