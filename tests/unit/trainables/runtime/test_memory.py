import errno
import os

import cv2
import numpy as np
import pytest
import torch

from trainables.runtime.memory import PeakMemory, is_out_of_memory, machine_bytes


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


@pytest.mark.parametrize(
    ("allocate", "kind"),
    [
        (lambda: torch.empty(2**50, dtype=torch.uint8), RuntimeError),
        (lambda: np.empty(2**60, dtype=np.uint8), MemoryError),
        (lambda: cv2.resize(np.ones((4, 4), np.uint8), (2**30, 2**30)), cv2.error),
    ],
)
def test_what_libraries_say_of_too_little_memory_is_understood(allocate, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        allocate()
    assert is_out_of_memory(caught.value)


def test_an_error_of_the_operating_system_says_by_its_number_whether_memory_was_short() -> None:
    assert is_out_of_memory(OSError(errno.ENOMEM, "fold 1: something"))
    for number in (errno.ENOSPC, errno.EIO, errno.EACCES):
        assert not is_out_of_memory(OSError(number, os.strerror(number)))
