"""Whether a long search grows: memory, file handles and processes while short trials follow each other.

    python -m benchmarks.soak [--minutes 60] [--every 20] [--json FILE]

One search with two workers: closed-form heads on the statistics of small synthetic patches, so that a trial
takes a fraction of a second, with everything that a search does: records, predictions, TensorBoard, study.
Every `--every` seconds the driver and all processes below it are looked at. At the end the last look is
compared with that of the tenth minute, or of a quarter of the time where that is less. It ends with 1 if the
memory of driver or workers is more than 10 % larger, or there are more file handles or processes than then.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

_MIB: Final = 2**20
_REFERENCE_MINUTES: Final = 10.0
_MAY_GROW: Final = 1.1
_MORE_HANDLES: Final = 4  # files that are open for a moment
_NO_END: Final = 1_000_000  # trials
_WORKER: Final = re.compile(r"ray::(?!DashboardAgent|RuntimeEnvAgent)")


@dataclass(frozen=True, slots=True)
class Look:
    """What the processes of a search hold at one moment.

    Attributes:
        minutes: Minutes since its first trial began.
        trials: Trials that have ended.
        driver_mib: Memory of the driver, that of no other process included.
        workers_mib: The same of its workers together.
        driver_handles: Open files of the driver.
        workers_handles: Open files of the workers.
        processes: Processes below the driver.
        workers: Number of workers among them.
    """

    minutes: float
    trials: int
    driver_mib: float
    workers_mib: float
    driver_handles: int
    workers_handles: int
    processes: int
    workers: int


class Watch:
    """Looks at this process and those below it, from a thread, until it is told to stop.

    Args:
        run: Folder of the run, whose records are counted.
        every: Seconds between two looks.

    Attributes:
        looks: What it has seen.
    """

    def __init__(self, run: Path, every: float) -> None:
        self.looks: list[Look] = []
        self._run, self._every, self._is_over = run, every, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        began = None
        while not self._is_over.wait(self._every):
            trials = _ended(self._run / "trials")
            if trials and began is None:
                began = time.monotonic()
            if began is not None and (found := look((time.monotonic() - began) / 60.0, trials)) is not None:
                self.looks.append(found)
                print(_line(found), flush=True)


def _ended(trials: Path) -> int:
    """Number of trials, one after the other: a list of all of them would be memory of the driver."""
    with suppress(FileNotFoundError), os.scandir(trials) as found:
        return sum(1 for _ in found)
    return 0


def look(minutes: float, trials: int) -> Look | None:
    """Look at this process and all below it; None if no worker runs."""
    below = _below(os.getpid())
    workers = [pid for pid, name in below.items() if _WORKER.match(name)]
    if not workers:
        return None
    return Look(
        minutes,
        trials,
        driver_mib=_own_mib(os.getpid()),
        workers_mib=sum(map(_own_mib, workers)),
        driver_handles=_handles(os.getpid()),
        workers_handles=sum(map(_handles, workers)),
        processes=len(below),
        workers=len(workers),
    )


def faults(looks: list[Look], *, reference_minutes: float) -> list[str]:
    """Return what has grown between a reference and the end of a soak, in words; nothing if all is well.

    Args:
        looks: Looks in order of their times, at least two.
        reference_minutes: Minutes after which things must have settled.
    """
    early = next((one for one in looks if one.minutes >= reference_minutes), looks[-1])
    late = looks[-1]
    found = []
    for name in ("driver_mib", "workers_mib"):
        before, after = getattr(early, name), getattr(late, name)
        if after > _MAY_GROW * before:
            found.append(f"{name} grew from {before:.0f} to {after:.0f} MiB")
    for name in ("driver_handles", "workers_handles", "processes"):
        before, after = getattr(early, name), getattr(late, name)
        if after > before + (_MORE_HANDLES if name != "processes" else 0):
            found.append(f"{name} grew from {before} to {after}")
    return found


def _below(pid: int) -> dict[int, str]:
    """Process number -> command line of all processes below one."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found: dict[int, str] = {}
    for own in parents:
        above = own
        while above in parents and above != pid:
            above = parents[above]
        if above == pid and own != pid:
            with suppress(OSError):
                text = Path(f"/proc/{own}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[own] = text
    return found


def _own_mib(pid: int) -> float:
    """Memory that no other process shares with it."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return sum(int(kb) for kb in re.findall(r"Private_\w+:\s+(\d+) kB", text)) * 1024 / _MIB
    return 0.0


def _handles(pid: int) -> int:
    with suppress(OSError):
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return 0


def _line(one: Look) -> str:
    return (
        f"{one.minutes:6.1f} min {one.trials:6} trials   driver {one.driver_mib:5.0f} MiB "
        f"{one.driver_handles} files   {one.workers} workers {one.workers_mib:5.0f} MiB "
        f"{one.workers_handles} files   {one.processes} processes"
    )


def soak(folder: Path, *, minutes: float, every: float) -> list[Look]:
    """Run a search of short trials.

    Args:
        folder: Folder for store and run.
        minutes: Its length.
        every: Seconds between two looks.
    """
    from orchestrator import SearchRequest, run_search

    fixed: Mapping[str, object] = {"model.backbone": "intensity", "classical.name": "logistic"}
    request = SearchRequest(
        task="benign_malignant",
        name="soak",
        runs=folder / "runs",
        store=folder / "store",
        fixed_params=dict(fixed),
        trials=_NO_END,
        minutes=minutes,
        workers=2,
        may_download=False,
    )
    with Watch(folder / "runs" / "benign_malignant" / "soak", every) as watch:
        run_search(request, address="local", progress=False)
    return watch.looks


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two looks")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        looks = soak(Path(name), minutes=asked.minutes, every=asked.every)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(one) for one in looks], indent=1) + "\n")
    if len(looks) < 2:
        print("the search was over before it was looked at twice", file=sys.stderr)
        return 1
    found = faults(looks, reference_minutes=min(_REFERENCE_MINUTES, asked.minutes / 4))
    print("\n".join(found) or "nothing grew")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
