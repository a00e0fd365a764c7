"""What freezes a search or ends it politely: SIGSTOP of a worker, SIGTERM, SIGHUP, a clock set back."""

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from benchmarks.chaos.arena import Arena
from benchmarks.chaos.checks import snapshot
from benchmarks.chaos.ledger import Outcome
from benchmarks.chaos.processes import send, workers_in_a_step

INTERRUPTED: Final = 130
STALL: Final = ("--stall-minutes", "0.5")
_MINUTES: Final = 1
_OVERDUE: Final = 300.0  # seconds: Ray is given two minutes, and this program another
_CLOCK: Final = Path(__file__).with_name("moved_clock.c")


def stop_worker(arena: Arena, trials: int) -> Outcome:
    """SIGSTOP of a worker: the watchdog ends it, and its trial is handed out again."""
    name, started = "worker-stop", time.monotonic()
    driver, faults = arena.search(name, trials, *STALL), list[str]()
    arena.wait_for_trials(name, 2, driver)
    workers = workers_in_a_step(driver.pid, lambda: driver.has_ended, seconds=60)
    injected = min(1, send(workers, signal.SIGSTOP))
    before = [snapshot(arena.run(name))]
    code = driver.wait(arena.patience)
    if code != 0:
        faults += ["the search did not end by itself", *arena.finish(name)]
    if "its worker is ended" not in driver.printed:
        faults.append("nobody said that the worker hangs")
    verdict = arena.judged(name, before, trials=trials)
    note = "the time limit without progress is 30 s here, 10 min by default"
    return verdict.outcome("SIGSTOP of a worker", injected, time.monotonic() - started, *faults, note=note)


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


def polite_signals(arena: Arena, number: signal.Signals, trials: int) -> Outcome:
    """SIGTERM or SIGHUP of the driver: it closes the search, says how to go on, and ends with 130."""
    name, started, faults = f"signal-{number.name.lower()}", time.monotonic(), list[str]()
    driver = arena.search(name, trials)
    arena.wait_for_trials(name, 3, driver)
    time.sleep(arena.random.uniform(0.0, 1.0))
    driver.process.send_signal(number)
    code, before = driver.wait(arena.patience), [snapshot(arena.run(name))]
    if code != INTERRUPTED:
        faults.append(f"the driver ended with {code} instead of {INTERRUPTED}")
    if "orchestrate resume" not in driver.printed:
        faults.append("it did not say how to go on")
    faults += arena.finish(name)
    verdict = arena.judged(name, before, trials=trials)
    return verdict.outcome(f"{number.name} of the driver", 1, time.monotonic() - started, *faults)


def early_signal(arena: Arena, trials: int) -> Outcome:
    """SIGTERM while the search still reads and measures: exit code 130, and nothing half-made is left."""
    name, started, faults = "signal-early", time.monotonic(), list[str]()
    driver = arena.begin(name, trials)
    time.sleep(arena.random.uniform(1.0, 5.0))
    driver.process.send_signal(signal.SIGTERM)
    code = driver.wait(arena.patience)
    if code not in (INTERRUPTED, -signal.SIGTERM):
        faults.append(f"the driver ended with {code} instead of {INTERRUPTED}: {driver.printed[-200:]}")
    if arena.run(name).path.is_dir() and not arena.begun(name):
        faults.append("half a run folder is left")
    if arena.search(name, trials).wait(arena.patience) != 0:
        faults += arena.finish(name)
    verdict = arena.judged(name, [], trials=trials)
    return verdict.outcome("SIGTERM before the first trial", 1, time.monotonic() - started, *faults)


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
