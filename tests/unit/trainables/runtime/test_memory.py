import numpy as np
import pytest
import torch

from trainables.runtime.memory import PeakMemory, machine_bytes


def test_the_peak_of_a_trial_on_a_cpu_is_how_far_the_process_grew(monkeypatch: pytest.MonkeyPatch) -> None:
    # What an earlier test held when the first trial of this process began may have been freed since.
    monkeypatch.setattr(PeakMemory, "_resident_at_first", None)
    peak = PeakMemory(torch.device("cpu"))
    before = peak.use()
    filled = np.ones(2**25)
    del filled
    after = peak.use()
    assert before is not None
    assert after is not None
    assert after.peak_bytes - before.peak_bytes > 0.8 * 2**28 or after.peak_bytes > 2**28


def test_a_machine_has_memory() -> None:
    assert 2**28 < machine_bytes() < 2**50
