"""Which device a process computes on, and with how many threads."""

import math
import os

import torch

from trainables.errors import ConfigError

Device = torch.device


def choose_device(gpus: float) -> torch.device:
    """The GPU, where this process was given one, else the CPU.

    Raises:
        ConfigError: If a GPU was given that torch cannot use.
    """
    if gpus <= 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("a trial was given a GPU, but torch sees none; is the installed torch built for CUDA?")
    return torch.device("cuda")


def limit_threads(cpus: float) -> None:
    """Compute with as many threads as cores were given, so that trials side by side do not fight."""
    torch.set_num_threads(max(1, math.floor(cpus)))


def describe_devices() -> list[str]:
    """One sentence a device, for `orchestrate doctor`."""
    lines = [f"CPU: {os.cpu_count()} cores"]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            lines.append(f"GPU {index}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    else:
        lines.append("GPU: none that torch can use")
    return lines
