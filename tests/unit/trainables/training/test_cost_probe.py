import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from trainables.config.trial_config import decode
from trainables.training import cost_probe
from trainables.training.cost_probe import measure_crowding, measure_epoch, measure_step
from trainables.training.folds import Folds

CPU = torch.device("cpu")


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_time_in_which_others_have_the_core_is_no_cost(one_thread: None) -> None:
    assert cost_probe._seconds(lambda: time.sleep(0.05), CPU) < 0.04


def test_of_several_threads_the_time_on_the_clock_counts(one_thread: None) -> None:
    torch.set_num_threads(2)
    assert cost_probe._seconds(lambda: time.sleep(0.05), CPU) >= 0.05


def test_workers_beside_each_other_are_timed_on_the_clock(
    one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def recorded(work: object, device: torch.device, **settings: object) -> float:
        asked.append(settings["clock"])
        return 1.0

    monkeypatch.setattr(cost_probe, "_seconds", recorded)
    assert measure_crowding(2) == 1.0
    assert set(asked) == {time.perf_counter}


def test_a_head_below_an_adapted_backbone_is_priced_by_itself() -> None:
    config = decode(
        {
            "model.backbone": "efficientnet_lite0",
            "model.channels": "conv1x1",
            "model.trained_stages": 1,
            "model.head.hidden": "8",
        }
    )
    cost = measure_epoch(config, (1280,), folds=np.arange(24) % 3, prediction_views=1, device=CPU)
    assert cost.seconds > 0
    assert cost.parameters == 1280 * 8 + 8 + 8 + 1


def out_of_memory(mode: str) -> Callable[..., Folds]:
    """Folds that find no memory in one mode, with torch's words on a CPU."""

    def built(*arguments: Any, **settings: Any) -> Folds:
        if settings["mode"] == mode:
            torch.empty(2**50, dtype=torch.uint8)
        return Folds(*arguments, **settings)

    return built


@pytest.mark.parametrize("mode", ["fused", "sequential"])
def test_models_that_do_not_fit_beside_each_other_are_timed_one_after_the_other(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = decode({"model.backbone": "efficientnet_lite0", "model.head.hidden": "8"})
    monkeypatch.setattr(cost_probe, "Folds", out_of_memory(mode))
    asked: dict[str, Any] = {"folds": np.arange(24) % 3, "prediction_views": 1, "device": CPU}
    if mode == "fused":
        assert measure_epoch(config, (1280,), **asked).parameters == 1280 * 8 + 8 + 8 + 1
    else:
        with pytest.raises(RuntimeError, match="Cannot allocate memory"):
            measure_epoch(config, (1280,), **asked)


def test_a_step_of_stages_is_timed_on_single_images_for_pairs_too() -> None:
    config = decode(
        {
            "model.backbone": "efficientnet_lite0",
            "model.pair": "diff",
            "model.type_input": "human",
            "model.head.branch": "8",
            "model.trained_stages": 2,
        }
    )
    assert measure_step(config, (192, 2, 2), CPU) > 0


def test_drawing_a_view_asks_the_network_for_nothing() -> None:
    code = """
import socket
def refuse(*arguments, **settings):
    raise AssertionError("the network was asked")
socket.socket.connect = socket.getaddrinfo = refuse
import numpy as np
from trainables.preprocessing.views import View, random_view
random_view(np.zeros((1, 32, 32), np.uint8), np.arange(1), View("affine", 0))
"""
    outcome = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
