"""Choice of the device and number of threads of a process."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from trainables.common.errors import ConfigError
from trainables.runtime.memory import is_out_of_memory

Device = torch.device

_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def choose_device(gpus: float) -> torch.device:
    """Return the GPU if this process was given one, else the CPU.

    Raises:
        ConfigError: If a GPU was given that torch cannot use.
    """
    if gpus <= 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(
            "a trial was given a GPU, but torch sees none; is the installed torch built for CUDA? "
            "To search without one: --gpus-per-trial 0"
        )
    return torch.device("cuda")


def device_of_trials(gpus: float) -> torch.device:
    """Return the device of trials that have so many GPUs each, whatever this process itself could use."""
    return torch.device("cuda" if gpus > 0 else "cpu")


def has_failed(device: torch.device) -> bool:
    """Tell whether a GPU does nothing more for this process.

    After an illegal access or a fault of the card each further call fails, to the end of the process. A card
    that is only full is no such card: a process that has no context on it yet cannot synchronise either.
    """
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
    except Exception as error:  # torch has a class for some of CUDA's errors
        return not is_out_of_memory(error)
    return False


def free_cached(device: torch.device) -> None:
    """Give back what this process keeps of a GPU's memory without using it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def available_device() -> torch.device:
    """Return the GPU if torch can use one, else the CPU."""
    return choose_device(1.0 if torch.cuda.is_available() else 0.0)


@contextmanager
def single_precision() -> Iterator[None]:
    """Switch off TF32, torch's default for convolutions on CUDA, so that CPU and GPU compute the same."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def limit_threads(cpus: float) -> None:
    """Use as many threads as cores were given, so that parallel trials do not compete for cores.

    The libraries behind NumPy, SciPy and scikit-learn begin with a thread for each core of the machine, and
    their idle threads spin: two workers on two cores then take several times as long for a decomposition.
    """
    from threadpoolctl import threadpool_limits  # of scikit-learn

    count = max(1, math.floor(cpus))
    torch.set_num_threads(count)
    os.environ.update(dict.fromkeys(_THREADS, str(count)))  # for libraries that are loaded later
    threadpool_limits(count)


def limit_torch_threads(cpus: float) -> None:
    """Let torch compute on as many threads as a trial will have; other libraries stay as they are."""
    torch.set_num_threads(max(1, math.floor(cpus)))


@contextmanager
def kept_threads() -> Iterator[None]:
    """Give the process its number of threads back, which measurements as in a worker have changed."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def describe_devices() -> list[tuple[str, str]]:
    """Name and description of each device, for `orchestrate doctor`."""
    devices = [("CPU", f"{os.cpu_count()} cores")]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            memory = f"{properties.total_memory / 2**30:.0f} GiB"
            devices.append((f"GPU {index}", f"{properties.name}, {memory}"))
    else:
        devices.append(("GPU", "none that torch can use"))
    return devices
