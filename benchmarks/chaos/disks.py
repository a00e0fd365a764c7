"""Disks that fill up, of the run folder and of the store, and have room again later."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.chaos.arena import TASK, UNDISTURBED, Arena, Driver
from benchmarks.chaos.ledger import Outcome, not_run
from benchmarks.chaos.processes import wait_for
from benchmarks.chaos.series import Hit, Series
from results.run.records import TrialRecord

_RUNS_SIZE: Final = "48m"  # a search goes on once 16 MB are free
_STORE_SIZE: Final = "48m"  # features, and the exported stages of a small net
_FILLER: Final = "filler"
_NO_MOUNT: Final = "no file system may be mounted here"
_NO_ROOM: Final = ("until there is room on the disk", "looks again meanwhile")  # what a search then says
_SECONDS: Final = 60.0  # for a search to notice


def fill_disk_of_runs(arena: Arena, asked: int, trials: int) -> Outcome:
    """The disk of the run folder fills up in mid-search; once the search says so there is room again."""
    hit = Hit("full disk of the run folder", asked, "in mid-search; room again once the search had said so")
    with _small_disk(_RUNS_SIZE) as disk:
        if disk is None:
            return not_run(hit.fault, asked, _NO_MOUNT)
        runs, store = disk / "runs", arena.folder / "store-of-disk"
        # What is printed and logged is kept elsewhere, so that only the search meets the full disk.
        own = Arena(arena.folder / "of-disk", 0, {"CHAOS_RUNS": str(runs)}, arena.patience, arena.until)
        own.runs = runs
        (runs / TASK).mkdir(parents=True)
        (runs / TASK / UNDISTURBED).symlink_to(arena.run(UNDISTURBED).path)
        shutil.copytree(arena.runs / ".store", store, dirs_exist_ok=True)
        series = Series(own, "disk-runs", trials, "--runs", str(runs), "--store", str(store))
        while hit.is_wanted and series.is_running():
            if not series.wait_for_trials(2):
                continue
            driver = series.driver
            _fill(disk)
            if _says_so(driver):
                series.note(hit)
            elif not driver.has_ended:
                hit.faults.append("nobody said that the disk is full")
            (disk / _FILLER).unlink()
            if hit.faults:
                break
        series.closed()
        if series.names and "Traceback" in series.driver.printed:
            hit.faults.append("a traceback was printed")
        try:
            return series.closed(hit)[0]
        finally:
            own.end()


def _says_so(driver: Driver) -> bool:
    """Wait until a search has said that its disk is full; False if it ends before, or does not in time."""
    wait_for(lambda: driver.has_ended or driver.has_said(*_NO_ROOM), seconds=_SECONDS)
    return driver.has_said(*_NO_ROOM)


def fill_disk_of_store(arena: Arena, at_start: int, in_between: int, trials: int) -> list[Outcome]:
    """The disk of the store is full from the start, has room later, and fills up in mid-search once more.

    The second time the features go, as when another search has removed them, so that a trial must write.
    While it is full, features are computed for each trial alone; once there is room they are kept.
    """
    first = Hit("full disk of the store", at_start, "from the start; then there was room")
    second = Hit("disk of the store fills up in mid-search", in_between)
    second.note = "its features were removed, and none could be kept; then there was room again"
    with _small_disk(_STORE_SIZE) as disk:
        if disk is None:
            return [not_run(hit.fault, hit.asked, _NO_MOUNT) for hit in (first, second)]
        store = disk / "store"
        for part in ("data", "fusion"):  # the last digits depend on how models are trained together
            if (arena.runs / ".store" / part).is_dir():
                shutil.copytree(arena.runs / ".store" / part, store / part)
        series = Series(arena, "disk-store", trials, "--store", str(store))
        for hit in (first, second):
            while hit.is_wanted:
                _fill(disk)
                if not series.is_running():
                    break
                if hit is second:
                    shutil.rmtree(store / "prefix", ignore_errors=True)
                    _fill(disk)
                if _ends_trial(series, is_kept=False):
                    series.note(hit)
                (disk / _FILLER).unlink()
                if not _ends_trial(series, is_kept=True) and not series.driver.has_ended:
                    hit.faults.append("there was room again, and no trial kept features in the store")
        return series.closed(first, second)


def _ends_trial(series: Series, *, is_kept: bool) -> bool:
    """Wait for the record of a further trial that kept its features in the store, or could not.

    Returns:
        False if the search ended before, or it took too long.
    """
    run, driver = series.arena.run(series.name), series.driver
    known = {own.number for own in run.records()}

    def is_there() -> bool:
        return any(
            is_kept == keeps_features(own) for own in run.records() if own.number not in known and _fills(own)
        )

    wait_for(lambda: is_there() or driver.has_ended, seconds=_SECONDS)
    return is_there()


def _fills(record: TrialRecord) -> bool:
    """Tell whether a trial computed features, rather than read them."""
    return record.prefix is not None and record.prefix.computed > 0


def keeps_features(record: TrialRecord) -> bool:
    """Tell whether all features that a trial computed are in the store, by its record."""
    return record.prefix is not None and not record.prefix.note


def _fill(disk: Path) -> None:
    """Write until nothing more goes onto a disk."""
    with (disk / _FILLER).open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 12))
        except OSError:
            return


@contextmanager
def _small_disk(size: str) -> Iterator[Path | None]:
    """A file system in memory of a few MB; None where none may be mounted."""
    with tempfile.TemporaryDirectory(prefix="chaos-disk-") as folder:
        if not _mounted(folder, size):
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], capture_output=True, check=False, timeout=30)


def _mounted(folder: str, size: str) -> bool:
    """Mount a file system in memory; False where that is not allowed, or there is no such command."""
    call = ["mount", "-t", "tmpfs", "-o", f"size={size}", "chaos", folder]
    try:
        return subprocess.run(call, capture_output=True, check=False, timeout=30).returncode == 0
    except FileNotFoundError:
        return False
