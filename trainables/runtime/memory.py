"""Peak memory of a trial: of the GPU, or of the machine where there is no GPU."""

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

# torch does not count what CUDA itself takes for a process: kernels, libraries and their workspaces.
CUDA_CONTEXT_BYTES: Final = 600 * 2**20
_PROCESS: Final = Path("/proc/self")
# In the texts of errors: of CUDA and torch, of their libraries for products of matrices and convolutions, of
# ONNX Runtime, of the operating system, which torch quotes on a CPU, and of OpenCV.
_OUT_OF_MEMORY: Final = (
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "failed to allocate memory",
    "cannot allocate memory",
    "insufficient memory",
)


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Peak memory of a trial, and the memory of its device.

    Attributes:
        peak_bytes: Largest memory that the trial held at once, in bytes, at least 0.
        total_bytes: Total memory of the GPU or of the machine, in bytes.
        worker_bytes: Largest resident main memory of the whole process meanwhile, in bytes, with all that it
            held before the trial; 0 on a machine that does not report it.
    """

    peak_bytes: int
    total_bytes: int
    worker_bytes: int = 0


class PeakMemory:
    """Measures the peak memory of one trial, from construction on.

    On a GPU the peak is what torch reserved plus CUDA's own share. On a CPU it is the growth of the resident
    memory of the process since its first trial, so that memory that a worker keeps between trials counts too.

    Args:
        device: Device that the trial computes on.
    """

    _resident_at_first: int | None = None

    def __init__(self, device: torch.device) -> None:
        self.device = device
        _reset_resident_peak()
        if device.type == "cuda":
            torch.cuda.empty_cache()  # what an earlier trial left belongs to the trials beside this one
            torch.cuda.reset_peak_memory_stats(device)
        elif PeakMemory._resident_at_first is None:
            PeakMemory._resident_at_first = _status_bytes("VmRSS")

    def use(self) -> MemoryUse | None:
        """Return the peak so far; None on a machine that does not report it."""
        peak, first = _status_bytes("VmHWM"), PeakMemory._resident_at_first
        if self.device.type == "cuda":
            held = torch.cuda.max_memory_reserved(self.device) + CUDA_CONTEXT_BYTES
            return MemoryUse(held, torch.cuda.get_device_properties(self.device).total_memory, peak or 0)
        if peak is None or first is None:
            return None
        return MemoryUse(max(0, peak - first), machine_bytes(), peak)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory did not suffice, of the machine or of a GPU.

    Torch has a type of its own for the memory of a GPU, whose text may be anything; libraries below it, and
    errors that come from another process, only have their text.

    >>> is_out_of_memory(torch.OutOfMemoryError("no room")), is_out_of_memory(RuntimeError("no room"))
    (True, False)
    >>> is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    True
    >>> try:
    ...     torch.empty(2**50, dtype=torch.uint8)
    ... except RuntimeError as error:
    ...     is_out_of_memory(error)
    True
    >>> [is_out_of_memory(OSError(number, "fold 1")) for number in (errno.ENOMEM, errno.ENOSPC)]
    [True, False]
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()
    return any(sign in text for sign in _OUT_OF_MEMORY)


def machine_bytes() -> int:
    """Return the memory of this machine, or of the container that the process runs in."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # "max" is not a number: there is no limit
        return min(physical, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return physical


def _status_bytes(field: str) -> int | None:
    try:
        lines = (_PROCESS / "status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), None)


def _reset_resident_peak() -> None:
    with contextlib.suppress(
        OSError
    ):  # then the peak of an earlier trial counts, which is too much, not less
        (_PROCESS / "clear_refs").write_text("5")
