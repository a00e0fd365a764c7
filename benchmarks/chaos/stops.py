"""What freezes a search or ends it politely: SIGSTOP of a worker, SIGTERM, SIGHUP, a clock set back.

While a worker hangs, second drivers of its search are refused.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.chaos.arena import Arena
from benchmarks.chaos.checks import Snapshot, snapshot
from benchmarks.chaos.ledger import Outcome
from benchmarks.chaos.processes import send, workers_in_a_step

INTERRUPTED: Final = 130
REFUSED: Final = 2
STALL: Final = ("--stall-minutes", "0.5")
_MINUTES: Final = 1
_OVERDUE: Final = 300.0  # seconds: Ray is given two minutes, and this program another
_CLOCK: Final = Path(__file__).with_name("moved_clock.c")


def stop_worker(arena: Arena, trials: int) -> list[Outcome]:
    """SIGSTOP of a worker: the watchdog ends it, and its trial is handed out again.

    Meanwhile a second `resume` and a second `search` of the same name are tried, and both are refused.
    """
    name, started = "worker-stop", time.monotonic()
    driver, faults = arena.search(name, trials, *STALL), list[str]()
    arena.wait_for_trials(name, 2, driver)
    workers = workers_in_a_step(driver.pid, lambda: driver.has_ended, seconds=60)
    injected = min(1, send(workers, signal.SIGSTOP))
    before, refused = [snapshot(arena.run(name))], list[str]()
    for second in [arena.resume(name), arena.begin(name, trials)]:
        code = second.wait(arena.patience)
        if code != REFUSED:
            refused.append(f"the second driver ended with {code}: {second.printed[-200:]}")
    code = driver.wait(arena.patience)
    if code != 0:
        faults += ["the search did not end by itself", *arena.finish(name)]
    if "its worker is ended" not in driver.printed:
        faults.append("nobody said that the worker hangs")
    verdict, seconds = arena.judged(name, before, trials=trials), time.monotonic() - started
    note = "the time limit without progress is 30 s here, 10 min by default"
    return [
        verdict.outcome("SIGSTOP of a worker", injected, seconds, *faults, note=note),
        verdict.outcome("two drivers on one folder", 2, seconds, *refused, note="while that worker hung"),
    ]


def stop_worker_with_deadline(arena: Arena) -> Outcome:
    """SIGSTOP of a worker with a time limit of the search: it holds though nobody answers."""
    name, started, faults = "worker-stop-limit", time.monotonic(), list[str]()
    driver = arena.search(name, 10_000, "--minutes", str(_MINUTES), "--trial-minutes", "10")
    arena.wait_for_trials(name, 2, driver)
    workers = workers_in_a_step(driver.pid, lambda: driver.has_ended, seconds=60)
    injected = min(1, send(workers, signal.SIGSTOP))
    before, stopped = [snapshot(arena.run(name))], time.monotonic()
    code = driver.wait(60 * _MINUTES + _OVERDUE)
    if code is None:
        faults.append(f"the search outlived its time limit by {_OVERDUE:.0f} s")
    seconds, kept = time.monotonic() - stopped, snapshot(arena.run(name))
    ended = len(arena.run(name).records())
    verdict = arena.judged(name, before, trials=ended, is_whole=False)
    note = (
        f"{len(kept.records)} trials stayed; over {seconds:.0f} s after the stop; the limit is {_MINUTES} min"
    )
    return verdict.outcome(
        "SIGSTOP of a worker, with a time limit", injected, time.monotonic() - started, *faults, note=note
    )


def polite_signals(
    arena: Arena, numbers: Sequence[signal.Signals], trials: int, *, is_early: bool = True
) -> list[Outcome]:
    """SIGTERM and SIGHUP of the driver: it closes the search, says how to go on, and ends with 130.

    Args:
        arena: Where the search runs; it is one search, resumed after each signal.
        numbers: Signals, one after the other.
        trials: Number of its trials.
        is_early: SIGTERM while the search still reads and measures comes first.
    """
    name, started = "signals", time.monotonic()
    hits: list[tuple[str, list[Snapshot], list[str]]] = []
    if is_early:
        hits.append(("SIGTERM before the first trial", [], _early_signal(arena, name, trials)))
    driver = arena.search(name, trials)
    for number in numbers:
        faults = list[str]()
        arena.wait_for_trials(name, 3, driver)
        time.sleep(arena.random.uniform(0.0, 1.0))
        driver.process.send_signal(number)
        code = driver.wait(arena.patience)
        hits.append((f"{number.name} of the driver", [snapshot(arena.run(name))], faults))
        if code != INTERRUPTED:
            faults.append(f"the driver ended with {code} instead of {INTERRUPTED}")
        if "orchestrate resume" not in driver.printed:
            faults.append("it did not say how to go on")
        driver = arena.resume(name)
    if driver.wait(arena.patience) != 0:
        hits[-1][2].extend(arena.finish(name))
    seconds = time.monotonic() - started
    return [
        arena.judged(name, before, trials=trials).outcome(fault, 1, seconds, *faults)
        for fault, before, faults in hits
    ]


def _early_signal(arena: Arena, name: str, trials: int) -> list[str]:
    """SIGTERM while a search still reads and measures: exit code 130, and nothing half-made is left."""
    faults, driver = list[str](), arena.begin(name, trials)
    time.sleep(arena.random.uniform(1.0, 5.0))
    driver.process.send_signal(signal.SIGTERM)
    code = driver.wait(arena.patience)
    if code not in (INTERRUPTED, -signal.SIGTERM):
        faults.append(f"the driver ended with {code} instead of {INTERRUPTED}: {driver.printed[-200:]}")
    if arena.run(name).path.is_dir() and not arena.begun(name):
        faults.append("half a run folder is left")
    return faults


def set_clock_back(arena: Arena, trials: int) -> Outcome:
    """The wall clock of driver, workers and Ray jumps an hour back, later two hours ahead, in mid-search."""
    name, started, faults = "clock", time.monotonic(), list[str]()
    library = build_clock(arena.folder)
    if library is None:
        return Outcome("clock set back, then ahead", 0, 0, note="not run: no C compiler is here")
    shift = arena.folder / "clock.shift"
    shift.write_text("0")
    moved = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(shift)}
    driver = arena.search(name, trials, "--minutes", "30", "--trial-minutes", "10", *STALL, **moved)
    injected = 0
    for seconds in (-3600, 3600):
        if not arena.wait_for_trials(name, 2, driver):
            break
        shift.write_text(str(seconds))
        injected += 1
    before = [snapshot(arena.run(name))]
    code = driver.wait(arena.patience)
    if code != 0:
        faults += [f"the search ended with {code}: {driver.printed[-300:]}", *arena.finish(name)]
    faults += [
        f"trial {own.number} took {own.wall_seconds:.0f} s"
        for own in arena.run(name).records()
        if own.wall_seconds is not None and not 0.0 <= own.wall_seconds < 600.0
    ]
    verdict = arena.judged(name, before, trials=trials)
    note = "a library that shifts the wall clock of all processes of the search: an hour back, then two ahead"
    return verdict.outcome(
        "clock set back, then ahead", injected, time.monotonic() - started, *faults, note=note
    )


def build_clock(folder: Path) -> Path | None:
    """Compile the library that shifts the wall clock into a folder; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "moved_clock.so"
    call = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_CLOCK), "-ldl"]
    subprocess.run(call, check=True, timeout=60)
    return library
