"""Processes of a search on this machine, found below its driver, and what is done to them."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

_WORKER: Final = b"ray::"  # how Ray names a worker that runs something
_IDLE: Final = b"ray::IDLE"
_LOOK_SECONDS: Final = 0.02


def below(pid: int) -> dict[int, str]:
    """Return process id -> command line of every process below another one."""
    commands, parents = dict[int, str](), dict[int, int]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it has ended meanwhile
                continue
            if stat[0] != "Z":
                parents[int(entry.name)], commands[int(entry.name)] = int(stat[1]), command
    found, layer = set[int](), {pid}
    while layer:
        layer = {own for own, parent in parents.items() if parent in layer} - found
        found |= layer
    return {own: commands[own] for own in found}


def trial_workers(pid: int) -> list[int]:
    """Processes below a driver, or a raylet, that run trials now; one carries its name only in a step."""
    return [own for own, command in below(pid).items() if "Trainable" in command and "ray::" in command]


def servers(pid: int, kind: str) -> list[int]:
    """Return Ray's servers of a kind, `gcs_server` or `raylet`, below a process."""
    return [own for own, command in below(pid).items() if command.split(" ")[0].endswith(f"/{kind}")]


def send(pids: Iterable[int], number: signal.Signals) -> int:
    """Send a signal to processes; returns how many were still there."""
    reached = 0
    for pid in pids:
        try:
            os.kill(pid, number)
            reached += 1
        except ProcessLookupError:
            continue
    return reached


def are_gone(pids: Iterable[int], *, seconds: float) -> list[int]:
    """Wait until processes have ended; returns those that have not."""
    left = [*pids]
    wait_for(lambda: not [own for own in left if _lives(own)], seconds=seconds)
    return [own for own in left if _lives(own)]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], object], *, seconds: float) -> bool:
    """Wait until something holds; returns False if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(_LOOK_SECONDS if seconds < 5 else 10 * _LOOK_SECONDS)
    return True


def workers_in_a_step(pid: int, has_ended: Callable[[], bool], *, seconds: float) -> list[int]:
    """Wait for workers in a step of a trial; returns them, or nothing once their driver has ended."""
    end = time.monotonic() + seconds
    while not (found := trial_workers(pid)) and not has_ended() and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
    return found
