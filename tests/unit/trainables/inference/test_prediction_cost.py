"""What heads on a table cost: as much as there are of them."""

import numpy as np
import pytest
import torch

from trainables.config.trial_config import decode
from trainables.estimators.estimator import Rows
from trainables.estimators.modules import as_state
from trainables.inference.prediction_cost import table_cost
from trainables.validation.classical import fit_estimator


def nearest_neighbours(columns: int) -> dict[str, torch.Tensor]:
    random = np.random.default_rng(0)
    rows = Rows(
        inputs=random.normal(size=(40, columns)).astype(np.float32),
        labels=np.arange(40) % 2,
        groups=np.arange(40).astype(str),
        classes=2,
        class_weights=None,
        key="rows",
    )
    config = decode({"model.backbone": "table", "classical.name": "knn"})
    return as_state(fit_estimator(config, rows, seed=0))


def test_heads_on_a_table_cost_as_much_as_there_are_of_them() -> None:
    head = nearest_neighbours(50)
    one_ms, one_mb = table_cost([head], columns=50, classes=2)
    eight_ms, eight_mb = table_cost(
        [{name: value.clone() for name, value in head.items()} for _ in range(8)], columns=50, classes=2
    )
    assert eight_ms > 2 * one_ms > 0
    assert eight_mb == pytest.approx(8 * one_mb)
    assert one_mb >= 40 * 50 * 4 / 1e6


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    table_cost([nearest_neighbours(5)], columns=5, classes=2)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
