"""How busy a device is while something runs, asked five times a second: the mean, and the share of idle time.

On a GPU a sample is the driver's: the share of the last moments in which a kernel ran, not how much of the
card it filled. On a CPU it is the processor time of this process and of all that it has started, over the
time and the cores.
"""

import functools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

IDLE_BELOW: Final = 0.05  # a sample below this share counts as idle
_EVERY_SECONDS: Final = 0.2
_PROCESSES: Final = Path("/proc")
# Of /proc/PID/stat, counted from the one behind the name: the parent, and times in ticks of the process and
# of children that it has waited for.
_PARENT, _TIMES = 1, slice(11, 15)


class DeviceWatch:
    """Measures how busy a device is between `with` and its end.

    Args:
        device: Device that is worked on.
        cores: Number of cores that are there for the work, for a CPU.

    Attributes:
        seconds: Wall time.
        busy: Mean over the time in [0, 1], above 1 where more cores worked than were given; None if the
            driver does not say.
        idle: Share of samples in [0, 1] in which the device was less busy than `IDLE_BELOW`; None likewise.
    """

    def __init__(self, device: torch.device, *, cores: int) -> None:
        self.seconds, self.busy, self.idle = 0.0, None, None
        self._read = _gpu_share(device) if device.type == "cuda" else _ProcessorShare(cores)
        self._stop = threading.Event()
        self._samples: list[float] = []

    seconds: float
    busy: float | None
    idle: float | None

    def __enter__(self) -> "DeviceWatch":
        self._began = time.perf_counter()
        self._read()  # a share of the processor counts from here
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        self._stop.set()
        self._thread.join()
        self._sample()
        if self._samples:
            self.busy = sum(self._samples) / len(self._samples)
            self.idle = sum(one < IDLE_BELOW for one in self._samples) / len(self._samples)

    def _look(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            self._sample()

    def _sample(self) -> None:
        share = self._read()
        if share is not None:
            self._samples.append(share)


class _ProcessorShare:
    """Share of some cores that this process and its descendants have used since it was last asked."""

    def __init__(self, cores: int) -> None:
        self._cores, self._before, self._at = cores, 0.0, 0.0

    def __call__(self) -> float | None:
        used, now = processor_seconds(os.getpid()), time.perf_counter()
        worked, passed = used - self._before, now - self._at
        is_first, self._before, self._at = not self._at, used, now
        # Processes that end without a parent that waits take their time with them.
        return None if is_first or passed <= 0 else max(0.0, worked) / passed / self._cores


def processor_seconds(root: int) -> float:
    """Return the processor time of a process and of all that it has started, in seconds."""
    if not (_PROCESSES / "self" / "stat").is_file():
        return sum(os.times()[:4])  # of this process, and of children that have ended
    parents, ticks = dict[int, int](), dict[int, int]()
    for folder in _PROCESSES.iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            parents[int(folder.name)] = int(fields[_PARENT])
            ticks[int(folder.name)] = sum(map(int, fields[_TIMES]))
    family = {root}
    while more := {own for own, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks.get(own, 0) for own in family) / os.sysconf("SC_CLK_TCK")


def _gpu_share(device: torch.device) -> Callable[[], float | None]:
    """Return a function that asks the driver, by its library where Python has it, else by its program."""
    try:
        torch.cuda.utilization(device)
    except Exception:  # no pynvml here, or a library that may not ask: its errors have a class of their own
        return functools.partial(_asked_of_program, _identifier(device))
    return lambda: torch.cuda.utilization(device) / 100


def _identifier(device: torch.device) -> str | None:
    """Name of a GPU that the driver knows, whatever is hidden from this process; None if torch tells none."""
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return None if uuid is None else f"GPU-{uuid}".replace("GPU-GPU-", "GPU-")


def _asked_of_program(identifier: str | None) -> float | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    query += [] if identifier is None else [f"--id={identifier}"]
    asked = subprocess.run(query, capture_output=True, text=True, check=False)
    number = asked.stdout.strip().splitlines()[:1]
    return float(number[0]) / 100 if number and number[0].strip().isdigit() else None
