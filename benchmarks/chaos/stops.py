"""What freezes a search or ends it politely: SIGSTOP of a worker, SIGTERM, SIGHUP, a clock set back.

While a worker hangs, second drivers of its search are refused.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.chaos.arena import Arena, Driver
from benchmarks.chaos.checks import snapshot
from benchmarks.chaos.ledger import Outcome, not_run
from benchmarks.chaos.processes import send, workers_in_a_step
from benchmarks.chaos.series import Hit, Series
from results.run.records import TrialRecord
from trainables.common.errors import INTERRUPTED

REFUSED: Final = 2
STALL: Final = ("--stall-minutes", "0.5")
_MINUTES: Final = 1
_OVERDUE: Final = 300.0  # seconds: Ray is given two minutes, and this program another
_HOUR: Final = 3600  # seconds
_CLOCK: Final = Path(__file__).with_name("moved_clock.c")


def stop_worker(arena: Arena, asked: int, drivers: int, trials: int) -> list[Outcome]:
    """SIGSTOP of a worker: the watchdog ends it, and its trial is handed out again.

    Meanwhile a second `resume` and a second `search` of the same name are tried, and both are refused.
    """
    stopped = Hit(
        "SIGSTOP of a worker", asked, "the time limit without progress is 30 s here, 10 min by default"
    )
    refused = Hit("two drivers on one folder", drivers, "while that worker hung")
    series = Series(arena, "worker-stop", trials, *STALL)
    while stopped.is_wanted and series.is_running():
        if not series.wait_for_trials(2) or not _stopped(series):
            continue
        series.note(stopped)
        name, driver = series.name, series.driver
        seconds = {
            f"is being searched by another process (process {driver.pid} ": arena.resume(name),
            "exists and is left as it is": arena.begin(name, trials),
        }
        for words, second in seconds.items():
            _note_refusal(series, refused, second, words)
        driver.wait(arena.patience)
        if not driver.has_said("its worker is ended"):
            stopped.faults.append("nobody said that the worker hangs")
    return series.closed(stopped, refused)


def _stopped(series: Series) -> bool:
    """Freeze the workers that are in a step of a trial; False if there are none."""
    driver = series.driver
    return send(workers_in_a_step(driver.pid, lambda: driver.has_ended, seconds=60), signal.SIGSTOP) > 0


def _note_refusal(series: Series, hit: Hit, second: Driver, words: str) -> None:
    """Wait for the end of a second driver, which must have been refused with these words."""
    code = second.wait(series.arena.patience)
    series.note(hit)
    if code != REFUSED or not second.has_said(words):
        said = " ".join(second.printed.split())[-200:]
        hit.faults.append(f"the second driver ended with {code} and did not say {words!r}: {said}")


def stop_worker_with_deadline(arena: Arena, asked: int) -> Outcome:
    """SIGSTOP of a worker with a time limit of the search: it holds though nobody answers."""
    name, started, faults = "worker-stop-limit", time.monotonic(), list[str]()
    fault = "SIGSTOP of a worker, with a time limit"
    driver = arena.search(name, 10_000, "--minutes", str(_MINUTES), "--trial-minutes", "10")
    if not arena.wait_for_trials(name, 2, driver):
        return not_run(fault, asked, f"the search ended before: {driver.printed[-300:]}")
    workers = workers_in_a_step(driver.pid, lambda: driver.has_ended, seconds=60)
    injected = min(1, send(workers, signal.SIGSTOP))
    before, stopped = [snapshot(arena.run(name))], time.monotonic()
    code = driver.wait(60 * _MINUTES + _OVERDUE)
    if code is None:
        faults.append(f"the search outlived its time limit by {_OVERDUE:.0f} s")
    seconds, kept = time.monotonic() - stopped, snapshot(arena.run(name))
    ended = len(arena.run(name).records())
    verdict = arena.judged(name, before, trials=ended, reference=None)
    note = (
        f"{len(kept.records)} trials stayed; over {seconds:.0f} s after the stop; the limit is {_MINUTES} min"
    )
    return verdict.outcome(fault, asked, injected, time.monotonic() - started, *faults, note=note)


def polite_signals(
    arena: Arena, asked: Mapping[signal.Signals, int], trials: int, *, early: int = 1
) -> list[Outcome]:
    """SIGTERM and SIGHUP of the driver: it closes the search, says how to go on, and ends with 130.

    Args:
        arena: Where the search runs; it is one search, resumed after each signal.
        asked: Signals, one after the other, and how often each is sent.
        trials: Number of its trials.
        early: Number of times that SIGTERM comes first, while the search still reads and measures.
    """
    series, hits = Series(arena, "signals", trials, waits=False), list[Hit]()
    if early:
        hits.append(Hit("SIGTERM before the first trial", early))
        while hits[-1].is_wanted and series.is_running():
            time.sleep(arena.random.uniform(1.0, 5.0))
            if arena.handed_out(series.name) or series.driver.has_ended:
                break  # the first trial is there, so that it is too late for this one
            _signalled(series, hits[-1], signal.SIGTERM, INTERRUPTED, -signal.SIGTERM)
            if arena.run(series.name).path.is_dir() and not arena.begun(series.name):
                hits[-1].faults.append("half a run folder is left")
            series.go_on()
    for number, count in asked.items():
        hits.append(Hit(f"{number.name} of the driver", count))
        while hits[-1].is_wanted and series.is_running():
            if not series.wait_for_trials(3):
                continue
            time.sleep(arena.random.uniform(0.0, 1.0))
            if series.driver.has_ended:
                continue
            driver = _signalled(series, hits[-1], number, INTERRUPTED)
            if driver.process.returncode == 0:
                continue  # its last trial had ended; a further search begins
            if not driver.has_said("orchestrate resume"):
                hits[-1].faults.append("it did not say how to go on")
            series.go_on()
    return series.closed(*hits)


def _signalled(series: Series, hit: Hit, number: signal.Signals, *codes: int) -> Driver:
    """Send a signal to the driver, wait for its end, and check its exit code; returns that driver.

    A search that came to its end all the same does not count as hit.
    """
    driver = series.driver
    driver.process.send_signal(number)
    code = driver.wait(series.arena.patience)
    if code != 0:
        series.note(hit)
    if code not in (*codes, 0):
        hit.faults.append(f"the driver ended with {code} instead of {codes[0]}: {driver.printed[-200:]}")
    return driver


def set_clock_back(arena: Arena, asked: int, trials: int) -> Outcome:
    """The wall clock of driver, workers and Ray jumps an hour back, later two hours ahead, in mid-search."""
    hit = Hit("clock set back, then ahead", asked)
    hit.note = (
        "a library that shifts the wall clock of all processes of the search: an hour back, then two ahead"
    )
    library = build_clock(arena.folder)
    if library is None:
        return not_run(hit.fault, asked, "no C compiler is here")
    shift = arena.folder / "clock.shift"
    moved = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(shift)}
    shift.write_text("0")
    options = ("--minutes", "30", "--trial-minutes", "10", *STALL)
    series = Series(arena, "clock", trials, *options, environment=moved)
    while hit.is_wanted and series.is_running():
        if series.wait_for_trials(3):
            shift.write_text(str(-_HOUR if hit.injected % 2 == 0 else _HOUR))
            series.note(hit)
    series.closed()
    records = [own for name in series.names for own in arena.run(name).records()]
    hit.faults += faults_of_clock(records, injected=hit.injected)
    return series.closed(hit)[0]


def faults_of_clock(records: Sequence[TrialRecord], *, injected: int) -> list[str]:
    """Return what is wrong with records of trials that ran while their clock was moved, as sentences."""
    found = [
        f"trial {own.number} took {own.wall_seconds:.0f} s"
        for own in records
        if own.wall_seconds is not None and not 0.0 <= own.wall_seconds < 600.0
    ]
    # An hour back and an hour ahead differ from the true time by as much, less what the search took.
    hours = [(own.finished_at.timestamp() - time.time()) / _HOUR for own in records]
    if injected >= 1 and not any(hour < -0.99 for hour in hours):
        found.append("no trial ended an hour ago by its own clock, so that it was not moved back")
    if injected >= 2 and not any(hour > 0.25 for hour in hours):
        found.append("no trial ended in the future by its own clock, so that it was not moved ahead")
    return found


def build_clock(folder: Path) -> Path | None:
    """Compile the library that shifts the wall clock into a folder; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "moved_clock.so"
    call = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_CLOCK), "-ldl"]
    subprocess.run(call, check=True, timeout=60)
    return library
