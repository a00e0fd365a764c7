"""Cores that this process may use. Importing this takes no torch."""

import os
from pathlib import Path
from typing import Final

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def count_cpus(quota: Path = _QUOTA) -> int:
    """Number of CPU cores that this process may use: the machine's, or fewer if its control group says so.

    Args:
        quota: File in which Linux keeps the share of its control group.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if share == "max" else max(1, min(cores, int(share) // int(period)))
