"""Metrics of a model that stays as it is: each at the threshold that it is judged at, within its range."""

import numpy as np
import pytest

from results.scores.calibration import sigmoid
from results.scores.fixed_model import fixed_model_metrics
from results.scores.metrics import STANDARD, metric_named
from trainables.common.types import FloatArray, IntArray


def drawn(patients: int, strength: float, seed: int = 0) -> tuple[IntArray, FloatArray, IntArray]:
    """Labels, calibrated probabilities and patients of two images each."""
    random = np.random.default_rng(seed)
    labels = np.repeat(random.integers(0, 2, patients), 2)
    logits = strength * (2 * labels - 1) + random.normal(size=2 * patients) * np.sqrt(2 * strength)
    return labels, np.stack([sigmoid(-logits), sigmoid(logits)], axis=1), np.repeat(np.arange(patients), 2)


def test_each_metric_of_decisions_judges_those_at_its_own_threshold() -> None:
    labels, probabilities, patients = drawn(100, 1.0)
    own = {"f2": 0.2, "f1": 0.4}
    found = fixed_model_metrics(
        labels,
        probabilities,
        probabilities,
        patients.astype(str),
        threshold_of=lambda name: own.get(name, 0.7),
        seed=0,
    )
    assert list(found) == list(STANDARD)
    for name, threshold in (*own.items(), ("recall", 0.7), ("mcc", 0.7)):
        called = (probabilities[:, 1] >= threshold).astype(int)
        matrix = np.array([[np.sum((labels == a) & (called == b)) for b in (0, 1)] for a in (0, 1)])
        assert found[name].estimate == pytest.approx(float(metric_named(name)(matrix)))


def test_errors_of_probabilities_have_intervals_that_cover_and_stay_above_nothing() -> None:
    truth = drawn(200_000, 3.0, seed=9)
    right = {name: float(metric_named(name)(*truth[:2])) for name in ("log_loss", "brier")}
    inside, lowest, sets = {"log_loss": 0, "brier": 0}, 1.0, 200
    for seed in range(sets):
        labels, probabilities, patients = drawn(30, 3.0, seed)
        if np.ptp(labels) == 0:
            continue
        found = fixed_model_metrics(
            labels, probabilities, probabilities, patients.astype(str), threshold_of=lambda _: 0.5, seed=0
        )
        for name, value in right.items():
            inside[name] += found[name].low <= value <= found[name].high
            lowest = min(lowest, found[name].low)
    assert lowest >= 0
    assert min(inside.values()) >= 0.88 * sets  # nominal 95 % with 30 patients and skewed errors
