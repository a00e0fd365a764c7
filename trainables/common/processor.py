"""Name of this machine's processor, for measurements that hold on it alone."""

import contextlib
import os
from pathlib import Path


def processor_name() -> str:
    """Return the model of the processor, where the system tells it, and the number of its cores."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    return f"{os.cpu_count()} cores"
