"""Kills of the driver, of workers and of Ray's head, at random moments of one long search each."""

import signal
import time
from collections import Counter
from typing import Final

from benchmarks.chaos.arena import NO_RAY, PATIENCE, Arena, Driver, Verdict
from benchmarks.chaos.checks import HANDED_OUT, Snapshot, snapshot
from benchmarks.chaos.ledger import Outcome, short_of
from benchmarks.chaos.processes import are_gone, below, send, servers, workers_in_a_step

_OWN_LIMIT: Final = 2  # deaths of its worker after which a trial is handed out again by the search itself
_START_SECONDS: Final = 12.0  # what a driver takes to its first trial on a quiet machine
# For what belonged to a killed driver to end by itself: an agent of Ray that was just connecting to the
# control process gives up after a minute (seen: 70 s).
GONE_SECONDS: Final = 100.0
# Ray ends a driver when its control process has been away for a minute; here it takes it for gone earlier.
QUICK_HEAD: Final = {"RAY_gcs_rpc_server_reconnect_timeout_s": "30"}


def kill_drivers(arena: Arena, count: int, trials: int) -> Outcome:
    """SIGKILL of the driver, half of the time while it starts, half of the time while trials run."""
    name, started, moments, left = "driver-kills", time.monotonic(), list[Snapshot](), set[int]()
    driver, injected, faults = arena.begin(name, trials), 0, list[str]()
    while injected < count and not arena.is_late:
        if injected % 2:
            arena.wait_for_trials(name, 1, driver)
            time.sleep(arena.random.uniform(0.0, 1.5))
        else:
            seconds = arena.random.uniform(0.2, _START_SECONDS) * arena.patience / PATIENCE
            arena.wait_for_trials(name, 1, driver, seconds=seconds)  # or less, if a trial ends meanwhile
        if driver.has_ended:
            if NO_RAY not in driver.printed:
                break  # it has come to its end
            driver = arena.resume(name)
            continue
        left |= set(below(driver.pid))
        driver.kill()
        injected += 1
        if arena.run(name).path.is_dir():
            moments.append(snapshot(arena.run(name)))
        driver = arena.resume(name) if arena.begun(name) else arena.begin(name, trials)
    if driver.wait(arena.patience) != 0:
        faults += arena.finish(name)
    faults += [f"process {pid} still runs" for pid in are_gone(left, seconds=GONE_SECONDS)]
    verdict = arena.judged(name, moments, trials=trials)
    note = f"at random moments of one search of {trials} trials and of its resumes{short_of(injected, count)}"
    return verdict.outcome("SIGKILL of the driver", injected, time.monotonic() - started, *faults, note=note)


def kill_workers(arena: Arena, count: int, trials: int) -> Outcome:
    """SIGKILL of the worker, at most twice for one trial: the third time the search records it as lost."""
    name, started, injected, moments = "worker-kills", time.monotonic(), 0, list[Snapshot]()
    driver, killed = arena.search(name, trials), Counter[int]()
    while injected < count and not driver.has_ended and not arena.is_late:
        workers = _workers_of(driver)
        time.sleep(arena.random.uniform(0.0, 0.4))
        number = _last(arena, name)
        if killed[number] >= _OWN_LIMIT:
            arena.wait_for_trials(name, 1, driver)
            continue
        reached = send(workers, signal.SIGKILL)
        injected, killed[number] = injected + reached, killed[number] + reached
        moments.append(snapshot(arena.run(name)))
    note = f"at random moments of steps of trials{short_of(injected, count)}"
    return _closed(
        arena,
        driver,
        name,
        "SIGKILL of a worker",
        injected,
        moments,
        trials=trials,
        started=started,
        note=note,
    )


def kill_heads(arena: Arena, count: int, trials: int) -> Outcome:
    """SIGKILL of Ray's control process; Ray then ends the driver, and the search is resumed."""
    name, started, injected, moments = "head-kills", time.monotonic(), 0, list[Snapshot]()
    driver, faults = arena.search(name, trials, **QUICK_HEAD), list[str]()
    while injected < count and not arena.is_late:
        if not arena.wait_for_trials(name, 1, driver):
            break
        time.sleep(arena.random.uniform(0.0, 1.0))
        if send(servers(driver.pid, "gcs_server"), signal.SIGKILL) == 0:
            break
        injected += 1
        code = driver.wait(arena.patience)
        moments.append(snapshot(arena.run(name)))
        if code is None:
            faults.append("the driver outlived the head by minutes")
        elif "orchestrate resume" not in driver.printed:
            faults.append(f"the driver ended with {code} and did not say how to go on")
        driver = arena.resume(name, **QUICK_HEAD)
    return _closed(
        arena,
        driver,
        name,
        "SIGKILL of the head (GCS)",
        injected,
        moments,
        *faults,
        trials=trials,
        started=started,
        note=f"Ray waits 30 s for it here, 60 s by default{short_of(injected, count)}",
    )


def _closed(  # noqa: PLR0913 - the end of a scenario, with all that it knows
    arena: Arena,
    driver: Driver,
    name: str,
    fault: str,
    injected: int,
    moments: list[Snapshot],
    *faults: str,
    trials: int,
    started: float,
    note: str = "",
) -> Outcome:
    """Wait for the end of a search, resume it if it did not end well, and judge it."""
    code = driver.wait(arena.patience)
    more = [*faults, *(arena.finish(name) if code != 0 else [])]
    verdict: Verdict = arena.judged(name, moments, trials=trials)
    return verdict.outcome(fault, injected, time.monotonic() - started, *more, note=note)


def _workers_of(driver: Driver) -> list[int]:
    return workers_in_a_step(driver.pid, lambda: driver.has_ended, seconds=60)


def _last(arena: Arena, name: str) -> int:
    """Number of the trial that was handed out last."""
    lines = (arena.run(name).path / HANDED_OUT).read_text().split()
    return int(lines[-1]) if lines else -1
