"""Kills of the driver, of workers and of Ray's head, at random moments of one long search each."""

import signal
import time
from collections import Counter
from typing import Final

from benchmarks.chaos.arena import FOLDS, PATIENCE, Arena
from benchmarks.chaos.checks import HANDED_OUT
from benchmarks.chaos.epochs import TrialEpochs, epochs_of
from benchmarks.chaos.ledger import Outcome
from benchmarks.chaos.processes import are_gone, below, send, servers, wait_for, workers_in_a_step
from benchmarks.chaos.series import Hit, Series

_OWN_LIMIT: Final = 2  # deaths of its worker after which a trial is handed out again by the search itself
_START_SECONDS: Final = 12.0  # what a driver takes to its first trial on a quiet machine
# For what belonged to a killed driver to end by itself: an agent of Ray that was just connecting to the
# control process gives up after a minute (seen: 70 s).
GONE_SECONDS: Final = 100.0
# Ray ends a driver when its control process has been away for a minute; here it takes it for gone earlier.
QUICK_HEAD: Final = {"RAY_gcs_rpc_server_reconnect_timeout_s": "15"}
_TAKEN: Final = "its worker was taken away"  # and not that it died, which a trial may do twice only
_SAID_SECONDS: Final = 30.0
_LEAVING_SECONDS: Final = 40.0  # of a worker that was asked to end; it has 25 s itself


def kill_drivers(arena: Arena, asked: int, trials: int) -> Outcome:
    """SIGKILL of the driver, half of the time while it starts, half of the time while trials run."""
    hit, left = Hit("SIGKILL of the driver", asked), set[int]()
    series = Series(arena, "driver-kills", trials, waits=False)
    while hit.is_wanted and series.is_running():
        if hit.injected % 2:
            series.wait_for_trials(1)
            time.sleep(arena.random.uniform(0.0, 1.5))
        else:
            seconds = arena.random.uniform(0.2, _START_SECONDS) * arena.patience / PATIENCE
            series.wait_for_trials(1, seconds=seconds)  # or less, if a trial ends meanwhile
        if series.driver.has_ended:
            continue
        left |= set(below(series.driver.pid))
        series.driver.kill()
        series.note(hit)
        series.go_on()
    hit.note = f"at random moments of a search of {trials} trials and of its resumes"
    return _closed_after_driver(series, left, hit)[0]


def _closed_after_driver(series: Series, left: set[int], hit: Hit, *others: Hit) -> list[Outcome]:
    """Close a series, and say which processes of killed drivers have outlived them for too long."""
    series.closed()
    hit.faults += [f"process {pid} still runs" for pid in are_gone(left, seconds=GONE_SECONDS)]
    return series.closed(hit, *others)


def kill_workers(arena: Arena, terminations: int, kills: int, trials: int) -> list[Outcome]:
    """SIGTERM of the worker, then SIGKILL, at most twice for one trial: after the third it would be lost.

    A worker that is asked to end writes a checkpoint first, of all epochs that its trial has finished. Only
    those are counted that were in the middle of a trial.
    """
    series, hits = Series(arena, "worker-kills", trials), Counter[tuple[str, int]]()
    killed = Hit("SIGKILL of a worker", kills, "at random moments of steps of trials")
    asked = Hit(
        "SIGTERM of a worker", terminations, "in mid-trial; it goes on from the checkpoint that was written"
    )
    for hit, number in ((asked, signal.SIGTERM), (killed, signal.SIGKILL)):
        while hit.is_wanted and series.is_running():
            workers = workers_in_a_step(series.driver.pid, lambda: series.driver.has_ended, seconds=60)
            time.sleep(arena.random.uniform(0.0, 0.4))
            trial = latest_trial(arena, series.name)
            if hits[series.name, trial] >= _OWN_LIMIT:
                series.wait_for_trials(1)
                continue
            reached = send(workers, number)
            hits[series.name, trial] += reached
            if reached and (number == signal.SIGKILL or _left_in_order(series, hit, workers)):
                series.note(hit)
    return series.closed(asked, killed)


def _left_in_order(series: Series, hit: Hit, workers: list[int]) -> bool:
    """Wait until workers that were asked to end are gone, and look what the log says of their trial.

    Returns:
        False if none of them was in mid-trial: it had trained nothing yet, or its trial had ended.
    """
    if left := are_gone(workers, seconds=_LEAVING_SECONDS):
        hit.faults.append(f"workers {left} outlived SIGTERM by {_LEAVING_SECONDS:.0f} s")
        return True
    found = epochs_of(series.arena.log(series.name), FOLDS)
    met = [(number, own, worker) for number, own in found.items() for worker in map(str, workers)]
    met = [
        (number, own, worker) for number, own, worker in met if own.by_worker.get(worker) and not own.is_ended
    ]
    hit.faults += [
        f"the worker of trial {number} ended and left {own.unkept_of(worker)} epochs in no checkpoint"
        for number, own, worker in met
        if own.unkept_of(worker)
    ]
    driver = series.driver
    if met and not wait_for(lambda: driver.has_said(_TAKEN), seconds=_SAID_SECONDS):
        hit.faults.append(f"the search did not say that {_TAKEN}")
    return bool(met)


def kill_workers_of_folds(
    arena: Arena, driver_kills: int, kills: int, trials: int, reference: str
) -> list[Outcome]:
    """SIGKILL of the driver, then of the worker, while each fold of a trial trains in a process of its own.

    Kills wait in turn for none, one and two finished folds of the trial at hand, then for a moment.
    """
    series = Series(arena, "fold-kills", trials, "--process-per-fold", reference=reference)
    hits, left, finished = Counter[tuple[str, int]](), set[int](), 0
    killed = Hit("SIGKILL of a worker, folds in processes", kills)
    driver_killed = Hit("SIGKILL of the driver, folds in processes", driver_kills)
    for hit in (driver_killed, killed):
        while hit.is_wanted and series.is_running():
            trial = latest_trial(arena, series.name)
            wanted = hit.injected % FOLDS if hit is killed else 1 + hit.injected % (FOLDS - 1)
            if hits[series.name, trial] >= _OWN_LIMIT or not _has_folds(series, trial, wanted):
                series.wait_for_trials(1, seconds=5)
                continue
            time.sleep(arena.random.uniform(0.0, 0.3))
            now = _trial_now(series, trial)
            if now.is_ended or latest_trial(arena, series.name) != trial or series.driver.has_ended:
                continue
            if hit is driver_killed:
                left |= set(below(series.driver.pid))
                series.driver.kill()
                series.note(hit)
                series.go_on()
            else:
                workers = workers_in_a_step(series.driver.pid, lambda: series.driver.has_ended, seconds=5)
                if send(workers, signal.SIGKILL) == 0:
                    continue
                series.note(hit)
                are_gone(workers, seconds=5)
            hits[series.name, trial] += 1
            finished += len(now.kept)
    killed.note = f"`--process-per-fold`; with those of the driver {finished} finished folds were at stake"
    if not finished and (killed.injected > 1 or driver_killed.injected):
        killed.faults.append("no kill met a trial of which a fold had finished")
    return _closed_after_driver(series, left, driver_killed, killed)


def _has_folds(series: Series, trial: int, wanted: int) -> bool:
    """Wait until so many folds of a trial are finished, and it is not at its end; False if it ends before."""
    for _ in range(400):
        now = _trial_now(series, trial)
        if now.is_ended or series.driver.has_ended:
            return False
        if len(now.kept) >= wanted and now.by_worker:
            return len(now.kept) < FOLDS
        time.sleep(0.05)
    return False


def _trial_now(series: Series, trial: int) -> TrialEpochs:
    return epochs_of(series.arena.log(series.name), FOLDS).get(trial, TrialEpochs())


def kill_heads(arena: Arena, asked: int, trials: int) -> Outcome:
    """SIGKILL of Ray's control process; Ray then ends the driver, and the search is resumed."""
    hit = Hit("SIGKILL of the head (GCS)", asked, "Ray waits 15 s for it here, 60 s by default")
    series = Series(arena, "head-kills", trials, environment=QUICK_HEAD)
    while hit.is_wanted and series.is_running():
        if not series.wait_for_trials(1):
            continue
        time.sleep(arena.random.uniform(0.0, 1.0))
        driver = series.driver
        if send(servers(driver.pid, "gcs_server"), signal.SIGKILL) == 0:
            continue
        code = driver.wait(arena.patience)
        if code == 0:
            continue  # its last trial had ended
        series.note(hit)
        if code is None:
            hit.faults.append("the driver outlived the head by minutes")
        elif not driver.has_said("orchestrate resume"):
            hit.faults.append(f"the driver ended with {code} and did not say how to go on")
        series.go_on()
    return series.closed(hit)[0]


def latest_trial(arena: Arena, name: str) -> int:
    """Number of the trial that was handed out last; -1 before the first."""
    try:
        lines = (arena.run(name).path / HANDED_OUT).read_text().split()
    except FileNotFoundError:
        return -1
    return int(lines[-1]) if lines else -1
