"""Cores that this process may use. Importing this takes no torch."""

import os
from pathlib import Path
from typing import Final

_CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")


def count_cpus(control_groups: Path = _CONTROL_GROUPS) -> int:
    """Number of CPU cores that this process may use: the machine's, or fewer if its control group says so.

    Args:
        control_groups: Folder in which Linux shows control groups, of version 2 or 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = _quota(control_groups)
    except (OSError, ValueError):
        return cores
    return cores if share <= 0 or period <= 0 else max(1, min(cores, share // period))


def _quota(folder: Path) -> tuple[int, int]:
    """Microseconds of all cores together in so many of the clock; the first is below 1 without a limit."""
    try:
        share, period = (folder / "cpu.max").read_text().split()
    except FileNotFoundError:
        names = "cpu.cfs_quota_us", "cpu.cfs_period_us"
        share, period = ((folder / "cpu" / name).read_text() for name in names)
    return -1 if share == "max" else int(share), int(period)
