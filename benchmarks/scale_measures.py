"""What `benchmarks.scale` notes of a driver and its workers: memory, proposals, and spans of work."""

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_MB: Final = 2**20


def memory_mib() -> float:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MB


def below_mib() -> float:
    """Return the memory of all processes below this one; what they share counts once."""
    parents, found = dict[int, int](), 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    below, new = set[int](), {os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new}
        below |= new
    for pid in below:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            found += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return found / 2**10


class TimedStudy:
    """The study of a search, whose proposals are timed.

    Attributes:
        asked: Processor seconds of each proposal.
    """

    def __init__(self, study: Any) -> None:
        self._study = study
        self.asked: list[float] = []

    def ask(self) -> Any:
        """Propose a trial."""
        begun = time.process_time()
        spec = self._study.ask()
        self.asked.append(time.process_time() - begun)
        return spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)


@dataclass(slots=True)
class Spans:
    """Spans of the workers' work, to find out how full they were.

    Attributes:
        begun: Time of the beginning of each step.
        ended: Time of its end.
    """

    begun: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)

    def add(self, begun: float, ended: float) -> None:
        """Add a step."""
        self.begun.append(begun)
        self.ended.append(ended)

    def busy(self, since: float, until: float) -> float:
        """Seconds of work between two times, of all workers."""
        pairs = zip(self.begun, self.ended, strict=True)
        return sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in pairs)
