"""Damaged and missing files of a run, and disks that are full."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.chaos.arena import Arena
from benchmarks.chaos.checks import snapshot
from benchmarks.chaos.ledger import Outcome
from benchmarks.chaos.processes import wait_for

_SMALL_DISK: Final = "12m"
_FILLER: Final = "filler"
_NO_MOUNT: Final = "not run: no file system may be mounted here"


def damage(arena: Arena, trials: int) -> list[Outcome]:
    """Damage files of a search that has ended half of its trials, up to two kinds at a time, and resume."""
    name = "damage"
    driver = arena.search(name, trials // 2)
    found = list[Outcome]()
    if (code := driver.wait(arena.patience)) != 0:
        return [Outcome("damaged files", 1, 0, faults=(f"the search itself ended with {code}",))]
    folder = arena.run(name).path
    kinds: tuple[dict[str, Callable[[], list[int]]], ...] = (
        {
            "damaged record and lost predictions": lambda: _cut_record(arena, name),
            "damaged split": lambda: _spoil(folder / "split.json", arena),
        },
        {
            "damaged journal": lambda: _spoil(folder / "study.log", arena),
            "damaged feature files": lambda: _spoil_features(arena),
        },
        {"journal gone": lambda: _remove(folder / "study.log")},
        # Beside a lost journal a resume names them, and leaves it to its user to go on without them.
        {"damaged initial points": lambda: _spoil(folder / "initial_points.json", arena)},
    )
    for place, together in enumerate(kinds):
        started, before = time.monotonic(), snapshot(arena.run(name))
        again = [number for inject in together.values() for number in inject()]
        for number in again:  # these trials are run again, as they must be
            before.records.pop(number, None)
        asked = trials // 2 + (place + 1) * (trials // 2) // len(kinds)
        faults = arena.finish(name, "--trials", str(asked))
        verdict, seconds = arena.judged(name, [before], trials=asked), time.monotonic() - started
        for fault in together:
            others = ", ".join(together.keys() - {fault})
            note = f"together with: {others}" if others else ""
            found.append(verdict.outcome(fault, 1, seconds, *faults, note=note))
    return found


def _cut_record(arena: Arena, name: str) -> list[int]:
    """Cut a record in the middle, and remove the predictions of another trial."""
    run = arena.run(name)
    complete = [own.number for own in run.records() if own.state == "complete"]
    one, other = arena.random.sample(complete, 2)
    content = run.record_file(one).read_bytes()
    run.record_file(one).write_bytes(content[: len(content) // 2])
    (run.trial(other) / "oof.npz").unlink()
    return [one, other]


def _spoil(path: Path, arena: Arena) -> list[int]:
    """Overwrite a piece of a file by NULs, as a disk does after a power cut."""
    content = bytearray(path.read_bytes())
    place = arena.random.randrange(max(1, len(content) // 2))
    content[place : place + 64] = bytes(len(content[place : place + 64]))
    path.write_bytes(bytes(content))
    return []


def _remove(path: Path) -> list[int]:
    path.unlink()
    return []


def _spoil_features(arena: Arena) -> list[int]:
    for path in sorted((arena.runs / ".store" / "prefix").glob("*/*/*.npy")):
        _spoil(path, arena)
    return []


def fill_disk_of_runs(arena: Arena, trials: int) -> Outcome:
    """The disk of the run folder fills up in mid-search; then there is room again."""
    name, started, faults = "disk-runs", time.monotonic(), list[str]()
    place = arena.run(name).path.parent
    with _small_disk() as disk:
        if disk is None:
            return Outcome("full disk of the run folder", 0, 0, note=_NO_MOUNT)
        own = Arena(disk / "arena", 0, {"CHAOS_RUNS": str(disk / "runs")}, arena.patience)
        own.runs = disk / "runs"
        shutil.copytree(arena.runs / ".store", arena.folder / "store-of-disk", dirs_exist_ok=True)
        options = ("--runs", str(own.runs), "--store", str(arena.folder / "store-of-disk"))
        driver = own.search(name, trials, *options)
        own.wait_for_trials(name, 2, driver)
        _fill(disk)
        ended = wait_for(lambda: driver.has_ended or "space" in driver.printed.lower(), seconds=60)
        before = [snapshot(own.run(name))]
        (disk / _FILLER).unlink()
        if not ended:
            faults.append("nobody said that the disk is full")
        code = driver.wait(arena.patience)
        if "Traceback" in driver.printed:
            faults.append("a traceback was printed")
        if code != 0:
            faults += own.finish(name)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copytree(own.run(name).path, arena.run(name).path)
        own.end()
    verdict = arena.judged(name, before, trials=trials)
    return verdict.outcome("full disk of the run folder", 1, time.monotonic() - started, *faults)


def fill_disk_of_store(arena: Arena, trials: int) -> Outcome:
    """The store lies on a disk that is full from the start: features are computed and not kept."""
    name, started, faults = "disk-store", time.monotonic(), list[str]()
    with _small_disk() as disk:
        if disk is None:
            return Outcome("full disk of the store", 0, 0, note=_NO_MOUNT)
        store = disk / "store"
        shutil.copytree(arena.runs / ".store" / "data", store / "data")
        _fill(disk)
        driver = arena.search(name, trials, "--store", str(store))
        if (code := driver.wait(arena.patience)) != 0:
            faults.append(f"the search ended with {code}: {driver.printed[-300:]}")
            faults += arena.finish(name)
        (disk / _FILLER).unlink()
        verdict = arena.judged(name, [], trials=trials)
    return verdict.outcome("full disk of the store", 1, time.monotonic() - started, *faults)


def _fill(disk: Path) -> None:
    """Write until nothing more goes onto a disk."""
    with (disk / _FILLER).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 12))
        except OSError:
            return


@contextmanager
def _small_disk() -> Iterator[Path | None]:
    """A file system in memory of a few MB; None where none may be mounted."""
    with tempfile.TemporaryDirectory(prefix="chaos-disk-") as folder:
        call = ["mount", "-t", "tmpfs", "-o", f"size={_SMALL_DISK}", "chaos", folder]
        tried = subprocess.run(call, capture_output=True, check=False, timeout=30)
        if tried.returncode != 0:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], capture_output=True, check=False, timeout=30)
