"""The attention head: it finds the image of a unit that tells, and its module does what its formula says."""

import numpy as np
import pytest
import torch

from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig, decode
from trainables.estimators.estimator import Rows
from trainables.estimators.fitted import GatedAttention
from trainables.estimators.modules import EstimatorModule, as_state
from trainables.models.unit_pooling import pooled
from trainables.validation.classical import fit_estimator, predicted

UNITS, IMAGES, COLUMNS = 240, 4, 6


def config(**settings: object) -> TrialConfig:
    asked = {"model.backbone": "vgg16", "classical.name": "attention", "unit.combine": "attention"}
    return decode({**asked, "classical.lr": 0.02, "classical.epochs": 300, "classical.l2": 0.001, **settings})


def rows_of(seed: int) -> Rows:
    """Units of four images: one, which column 0 marks, shows the class in column 1; the others show noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(UNITS) % 2
    inputs = random.normal(0.0, 1.0, (UNITS, IMAGES, COLUMNS)).astype(np.float32)
    inputs[:, :, 0] = -1.0
    telling = random.integers(0, IMAGES, UNITS)
    inputs[np.arange(UNITS), telling, 0] = 1.0
    inputs[np.arange(UNITS), telling, 1] = 2 * labels - 1 + random.normal(0.0, 0.5, UNITS)
    units = np.repeat(np.arange(UNITS), IMAGES)
    flat = inputs.reshape(-1, COLUMNS)
    return Rows(flat, labels[units], units.astype(np.str_), 2, np.ones(2), units=units)


def test_it_attends_to_the_image_that_tells_and_beats_the_mean() -> None:
    rows, new = rows_of(0), rows_of(1)
    state = as_state(fit_estimator(config(), rows, seed=0))
    found = predicted(state, new.inputs, classes=2)
    assert found.shape == (UNITS * IMAGES, 3)
    assert new.units is not None
    labels = new.labels[::IMAGES]
    attended, mean = pooled(found, new.units, "attention"), pooled(found[:, :2], new.units, "mean_logit")
    accuracy = [float(((one[:, 1] > 0.5) == labels).mean()) for one in (attended, mean)]
    assert accuracy[0] > 0.9
    assert accuracy[0] > accuracy[1] + 0.05


def test_the_module_is_the_formula_of_gated_attention() -> None:
    rows = rows_of(0)
    fitted = fit_estimator(config(**{"classical.epochs": 5}), rows, seed=3)
    rule = fitted.rule
    assert isinstance(rule, GatedAttention)
    x = rows.inputs.astype(np.float64)
    gate = 1 / (1 + np.exp(-(x @ rule.gate + rule.gate_bias)))
    expected = (np.tanh(x @ rule.signal + rule.signal_bias) * gate) @ rule.attention
    module = EstimatorModule(as_state(fitted), classes=2)
    inputs = torch.from_numpy(rows.inputs)
    np.testing.assert_allclose(module.attention(inputs).numpy(), expected, rtol=1e-9)
    score = (x @ rule.coefficients + rule.intercept)[:, 0]
    np.testing.assert_allclose(module(inputs).numpy()[:, 1], score, rtol=1e-9)


def test_the_same_seed_gives_the_same_head_and_another_one_another() -> None:
    rows = rows_of(0)
    one, same, other = (fit_estimator(config(**{"classical.epochs": 3}), rows, seed=s) for s in (0, 0, 1))
    assert isinstance(one.rule, GatedAttention)
    assert isinstance(same.rule, GatedAttention)
    assert isinstance(other.rule, GatedAttention)
    np.testing.assert_array_equal(one.rule.signal, same.rule.signal)
    assert not np.array_equal(one.rule.signal, other.rule.signal)


def test_head_and_rule_are_set_together_and_images_are_not_drawn_again() -> None:
    with pytest.raises(ConfigError, match="set both, or neither"):
        decode({"model.backbone": "vgg16", "classical.name": "attention"})
    with pytest.raises(ConfigError, match="set both, or neither"):
        decode({"model.backbone": "vgg16", "unit.combine": "attention"})
    with pytest.raises(ConfigError, match=r"set training.sampling=none"):
        config(**{"training.sampling": "over"})
