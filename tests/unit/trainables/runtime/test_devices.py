"""Threads of a worker: those of all libraries are limited, not torch's alone. And GPUs that have failed."""

import json
import subprocess
import sys
from typing import Any

import pytest
import torch

from trainables.common.errors import ConfigError
from trainables.runtime.devices import choose_device, device_of_trials, has_failed

PROGRAM = """
import json, sys
import numpy as np
from threadpoolctl import threadpool_info
from trainables.runtime.devices import limit_threads

np.ones((2, 2)) @ np.ones((2, 2))
before = [pool["num_threads"] for pool in threadpool_info()]
limit_threads(float(sys.argv[1]))
import scipy.linalg
from sklearn.ensemble import HistGradientBoostingClassifier
import torch
print(json.dumps({"before": before, "after": threadpool_info(), "torch": torch.get_num_threads()}))
"""


def found_after(cpus: float) -> dict[str, Any]:
    """Threads of each library of a process that has NumPy when it is limited, and loads others later."""
    command = [sys.executable, "-c", PROGRAM, str(cpus)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return dict(json.loads(said.stdout))


@pytest.mark.long
def test_libraries_that_are_there_and_those_that_come_later_have_one_thread() -> None:
    found = found_after(1.0)
    assert found["torch"] == 1
    assert len(found["after"]) > len(found["before"])
    assert {pool["num_threads"] for pool in found["after"]} == {1}


@pytest.mark.long
def test_a_trial_with_half_a_core_has_a_thread_and_one_with_two_has_two() -> None:
    assert found_after(0.5)["torch"] == 1
    assert {pool["num_threads"] for pool in found_after(2.0)["after"]} == {2}


def test_a_gpu_that_answers_nothing_more_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: torch.device) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert not has_failed(gpu)
    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    assert has_failed(gpu)
    assert not has_failed(torch.device("cpu"))


def test_a_gpu_that_is_only_full_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: torch.device) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    assert not has_failed(torch.device("cuda"))


def test_the_device_of_trials_is_not_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of_trials(0.25).type == "cuda"
    assert device_of_trials(0.0).type == "cpu"
    with pytest.raises(ConfigError, match="--gpus-per-trial 0"):
        choose_device(0.25)
