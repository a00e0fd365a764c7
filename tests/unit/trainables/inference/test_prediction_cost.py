"""What a prediction costs: more for larger nets, and measured once for each structure."""

import numpy as np
import pytest
import torch

from trainables.config.trial_config import decode
from trainables.inference.finished_trials import FinishedTrial, ImageFormat
from trainables.inference.prediction_cost import classical_cost, net_cost
from trainables.training.assembly import assemble_part

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


class Slow:
    """A model whose prediction takes a known time of this thread, and whose pickle is of known size."""

    def __init__(self, steps):
        self.steps, self.weights = steps, np.zeros(1000)

    def predict(self, inputs):
        for _ in range(self.steps):
            np.sort(np.arange(20_000)[::-1])


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


def test_a_classical_model_costs_its_estimators_and_its_stages():
    config = decode({"model.backbone": "table", "classical.name": "logistic"})
    inputs = np.zeros((1, 3), np.float32)
    one = classical_cost(config, None, None, [Slow(4)], inputs)
    three = classical_cost(config, None, None, [Slow(4)] * 3, inputs)
    assert three.ms_per_image > 2 * one.ms_per_image > 0
    assert three.megabytes == pytest.approx(3 * one.megabytes)
    assert 0.008 < one.megabytes < 0.009
