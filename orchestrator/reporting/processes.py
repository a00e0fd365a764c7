"""Processes of this machine that hold run folders: which, what they run, and whether they live."""

from collections.abc import Iterator
from dataclasses import dataclass
from os import geteuid
from pathlib import Path
from typing import Final

from cluster.verbs import STAY_HERE, verb_in

_PROCESSES: Final = Path("/proc")
_LOCK: Final = ".lock"
# Of /proc/PID/stat, counted from the one behind the name: the state, and the time of the start in ticks.
_STATE, _STARTED = 0, 19
_ENDED: Final = ("Z", "X", "x")  # nothing of it is left but its number, until its parent asks


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A process of this machine, told from a later one that has its number.

    Attributes:
        pid: Its number.
        started: When it was started, in ticks of the kernel.
        verb: Verb of orchestrate that it runs; empty for another program, such as a notebook.
    """

    pid: int
    started: int
    verb: str

    @property
    def lives(self) -> bool:
        """True until it has ended."""
        now = running_process(self.pid)
        return now is not None and now.started == self.started


def running_process(pid: int, processes: Path = _PROCESSES) -> RunningProcess | None:
    """Return a process by its number; None if there is none, or where there is no /proc.

    Args:
        pid: Its number.
        processes: Folder in which the kernel shows them.
    """
    try:
        # The name, in brackets, may hold anything.
        told = (processes / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        words = (processes / str(pid) / "cmdline").read_bytes()
    except OSError:  # it has ended
        return None
    if len(told) <= _STARTED or told[_STATE] in _ENDED:
        return None
    command = words.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    return RunningProcess(pid, int(told[_STARTED]), verb_in(command))


def lock_holders(processes: Path = _PROCESSES) -> dict[Path, int]:
    """Return run folder -> process of this user that runs a search there; empty where there is no /proc.

    Args:
        processes: Folder in which the kernel shows them.
    """
    found: dict[Path, int] = {}
    for entry in sorted(_numbered(processes), key=lambda path: int(path.name), reverse=True):
        try:
            if entry.stat().st_uid != geteuid():
                continue
            opened = [path for link in (entry / "fd").iterdir() if (path := _target(link)) is not None]
        except OSError:  # it ended meanwhile
            continue
        folders = [path.parent for path in opened if path.name == _LOCK]
        if not folders or _runs_no_search(int(entry.name), processes):
            continue
        # A child that was forked later has the same file open; the lowest number is the search itself.
        found |= dict.fromkeys(folders, int(entry.name))
    return found


def _runs_no_search(pid: int, processes: Path) -> bool:
    """Tell whether a process holds a folder for another reason than a search, as `fetch` does."""
    process = running_process(pid, processes)
    return process is not None and process.verb in STAY_HERE


def _target(link: Path) -> Path | None:
    try:
        return link.readlink()
    except OSError:  # closed meanwhile
        return None


def _numbered(folder: Path) -> Iterator[Path]:
    try:
        yield from (entry for entry in folder.iterdir() if entry.name.isdigit())
    except OSError:
        return
