"""What a prediction costs: more for larger nets, and measured once for each structure."""

import numpy as np
import pytest
import torch

from trainables.config.trial_config import decode
from trainables.estimators.estimator import Rows
from trainables.estimators.modules import as_state
from trainables.inference.finished_trials import FinishedTrial, ImageFormat
from trainables.inference.prediction_cost import net_cost, table_cost
from trainables.training.assembly import assemble_part
from trainables.validation.classical import fit_estimator

IMAGE = ImageFormat((64, 64), 255.0)


def trial(folds=2, **settings):
    config = decode(
        {
            "model.backbone": "scratch4",
            "model.weights": "random",
            "model.trained_stages": "all",
            "model.head.hidden": [],
            "input.size_px": 64,
            "training.augmentation": "none",
            **settings,
        }
    )
    part = assemble_part(config, (1, 64, 64), weights=None, image_channels=1, classes=2)
    return FinishedTrial(config, [part.kept_state() for _ in range(folds)], None)


def test_more_fold_models_and_more_views_cost_more():
    few, many = net_cost(trial(2), IMAGE, classes=2), net_cost(trial(8), IMAGE, classes=2)
    assert many.ms_per_image > 1.5 * few.ms_per_image > 0
    assert many.megabytes == pytest.approx(4 * few.megabytes, rel=0.05)
    views = net_cost(trial(2, **{"training.augmentation": "d4"}), IMAGE, classes=2)
    assert views.ms_per_image > 1.5 * few.ms_per_image
    assert views.megabytes == few.megabytes


def test_the_size_is_that_of_the_weights():
    one = trial(1)
    wanted = sum(tensor.numel() * tensor.element_size() for tensor in one.folds[0].values())
    assert net_cost(one, IMAGE, classes=2).megabytes == pytest.approx(wanted / 1e6, rel=0.05)


def test_trials_of_one_structure_are_measured_once():
    first = net_cost(trial(3), IMAGE, classes=2)
    assert net_cost(trial(3, **{"optimizer.lr": 1e-4}), IMAGE, classes=2) is first
    assert net_cost(trial(3, **{"model.head.hidden": [8]}), IMAGE, classes=2) is not first


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    net_cost(trial(5), IMAGE, classes=2)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def logistic_head(columns: int) -> dict[str, torch.Tensor]:
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
    head = logistic_head(50)
    one = table_cost([head], columns=50, classes=2)
    eight = table_cost(
        [{name: value.clone() for name, value in head.items()} for _ in range(8)], columns=50, classes=2
    )
    assert eight.ms_per_image > 2 * one.ms_per_image > 0
    assert eight.megabytes == pytest.approx(8 * one.megabytes)
    assert one.megabytes >= 40 * 50 * 4 / 1e6
