"""Pooling of the images of a unit, against the formulas in NumPy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trainables.config.unit_config import COMBINATIONS_OF_TWO
from trainables.models.unit_pooling import pool_units, pooled

RANDOM = np.random.default_rng(0)
UNIT = np.array([0, 1, 1, 2, 0, 2, 2, 3])  # two, two, three images, and one alone
POSITIVE = RANDOM.uniform(0.01, 0.99, len(UNIT))
PREDICTIONS = np.stack([1 - POSITIVE, POSITIVE], axis=1)


def logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(p / (1 - p))


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


FORMULAS = {
    "mean": lambda p: p.mean(),
    "mean_logit": lambda p: sigmoid(logit(p).mean()),
    "max": lambda p: p.max(),
    "noisy_or": lambda p: 1 - np.prod(1 - p),
}


def of_units(
    predictions: NDArray[np.float64], rule: str, unit: NDArray[np.int64] = UNIT
) -> NDArray[np.float64]:
    found = pool_units(
        torch.from_numpy(predictions),
        torch.from_numpy(unit),
        int(unit.max()) + 1,
        rule,  # type: ignore[arg-type] # a name from the table
    )
    return np.asarray(found.numpy())


@pytest.mark.parametrize("rule", COMBINATIONS_OF_TWO)
def test_each_rule_is_its_formula_in_both_columns(rule: str) -> None:
    found = of_units(PREDICTIONS, rule)
    expected = [FORMULAS[rule](POSITIVE[unit == UNIT]) for unit in range(4)]
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)


def test_attention_is_the_weighted_mean_of_logits_and_ignores_a_common_shift() -> None:
    attention = RANDOM.normal(size=len(UNIT))
    expected = []
    for unit in range(4):
        own = unit == UNIT
        weight = np.exp(attention[own])
        expected.append(sigmoid((weight / weight.sum() * logit(POSITIVE[own])).sum()))
    for shift in (0.0, 500.0):  # an exponential of 500 would overflow without the largest taken off
        found = of_units(np.column_stack([PREDICTIONS, attention + shift]), "attention")
        np.testing.assert_allclose(found[:, 1], expected, rtol=1e-9)


@pytest.mark.parametrize("rule", [*COMBINATIONS_OF_TWO, "attention"])
def test_a_unit_of_one_image_keeps_its_probability(rule: str) -> None:
    columns = [PREDICTIONS, np.full(len(UNIT), 3.0)] if rule == "attention" else [PREDICTIONS]
    found = of_units(np.column_stack(columns), rule, np.arange(len(UNIT)))
    np.testing.assert_allclose(found, PREDICTIONS, rtol=1e-12)


@pytest.mark.parametrize("rule", COMBINATIONS_OF_TWO)
def test_the_order_of_images_and_a_leading_axis_of_folds_change_nothing(rule: str) -> None:
    order = RANDOM.permutation(len(UNIT))
    plain = of_units(PREDICTIONS, rule)
    np.testing.assert_allclose(of_units(PREDICTIONS[order], rule, UNIT[order]), plain, rtol=1e-12)
    stacked = of_units(np.stack([PREDICTIONS, PREDICTIONS[:, ::-1]]), rule)
    np.testing.assert_allclose(stacked[0], plain, rtol=1e-12)


def test_several_classes_have_a_mean_and_a_mean_of_logits() -> None:
    predictions = RANDOM.dirichlet(np.ones(4), len(UNIT))
    mean, logits = (of_units(predictions, rule) for rule in ("mean", "mean_logit"))
    for unit in range(4):
        own = predictions[unit == UNIT]
        np.testing.assert_allclose(mean[unit], own.mean(axis=0), rtol=1e-12)
        geometric = np.exp(np.log(own).mean(axis=0))
        np.testing.assert_allclose(logits[unit], geometric / geometric.sum(), rtol=1e-12)


def test_certain_predictions_stay_numbers() -> None:
    certain = np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32)
    for rule in COMBINATIONS_OF_TWO:
        found = pooled(certain, np.array([0, 0]), rule)
        assert np.isfinite(found).all()
        assert found.sum() == pytest.approx(1.0)
