"""Torch's own random streams in checkpoints."""

import pytest
import torch
from torch import Tensor

from trainables.training.random_streams import load_shared_state, shared_state


def test_the_stream_of_the_device_is_part_of_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    device, streams = torch.device("cuda", 1), {torch.device("cuda", 1): torch.tensor([1, 2])}

    def put(state: Tensor, device: torch.device) -> None:
        streams[device] = state

    monkeypatch.setattr(torch.cuda, "get_rng_state", streams.__getitem__)
    monkeypatch.setattr(torch.cuda, "set_rng_state", put)
    kept = shared_state(device)
    expected = torch.rand(2)
    put(torch.tensor([3, 4]), device)
    load_shared_state(kept, device)
    assert streams[device].tolist() == [1, 2]
    assert torch.equal(torch.rand(2), expected)
    assert set(shared_state(torch.device("cpu"))) == {"rng"}


def test_a_checkpoint_of_another_device_or_version_goes_on_with_what_it_has() -> None:
    kept = shared_state(torch.device("cpu"))
    expected = torch.rand(2)
    load_shared_state({}, torch.device("cpu"))
    load_shared_state({**kept, "rng_cuda": torch.zeros(16)}, torch.device("cpu"))
    assert torch.equal(torch.rand(2), expected)
    load_shared_state(kept, torch.device("cuda"))  # leaves a GPU's stream as it is
