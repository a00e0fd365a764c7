"""Processes of a search on this machine, found below its driver, and what is done to them."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

_LOOK_SECONDS: Final = 0.02
_NEW_SECONDS: Final = 0.5  # between two looks for new processes: one takes seconds until it runs a trial


def below(pid: int) -> dict[int, str]:
    """Return process id -> command line of every process below another one."""
    parents = dict[int, int]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rsplit(") ", 1)[1].split()[:2]
            except OSError:  # it has ended meanwhile
                continue
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    found, layer = set[int](), {pid}
    while layer:
        layer = {own for own, parent in parents.items() if parent in layer} - found
        found |= layer
    commands = {own: _command(own) for own in found}
    return {own: command for own, command in commands.items() if command is not None}


def _command(pid: int) -> str | None:
    """Command line of a process; None if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None


def trial_workers(pid: int) -> list[int]:
    """Processes below a driver, or a raylet, that run trials now; one carries its name only in a step."""
    return [own for own, command in below(pid).items() if _is_step(command)]


def _is_step(command: str) -> bool:
    return command.startswith("ray::") and "Trainable" in command  # as Ray names a worker that runs something


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
    """Wait for workers in a step of a trial; returns them, or nothing once their driver has ended.

    Processes are read again far less often than their names, which costs the searches little of their cores.
    """
    end, again, known = time.monotonic() + seconds, 0.0, list[int]()
    while True:
        if time.monotonic() >= again:
            known, again = [*below(pid)], time.monotonic() + _NEW_SECONDS
        found = [own for own in known if _is_step(_command(own) or "")]
        if found or has_ended() or time.monotonic() >= end:
            return found
        time.sleep(_LOOK_SECONDS)
