"""The scenarios, and how often each injects which fault: what `make chaos` asks for in full."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.chaos import database, disks, files, kills, nodes, stops
from benchmarks.chaos.arena import Arena
from benchmarks.chaos.ledger import Outcome, not_run

TRIALS: Final = 36  # of the longest search; what others run is its beginning
FOLD_TRIALS: Final = 8  # of searches with a process for each fold
UNDISTURBED_FOLDS: Final = "undisturbed-folds"  # a search with a process for each fold that nobody disturbs

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Some faults that are injected into searches of one kind.

    Attributes:
        run: Injects them; it takes the arena, and how often each is asked for, in the order of `faults`.
        faults: Name of each -> number of times in full.
        scaled: Those that a share of the kills makes fewer; none of the others.
        waits: Patience of Ray, of the watchdog or a time limit is waited out in it.
    """

    run: Callable[..., list[Outcome]]
    faults: Counts
    scaled: frozenset[str] = frozenset()
    waits: bool = False

    def asked(self, share: float) -> dict[str, int]:
        """Fault -> number of times that a share of the whole, in (0, 1], asks for; at least one.

        >>> SCENARIOS["nodes"].asked(0.1)
        {'SIGKILL of a raylet (node)': 1, 'SIGSTOP of a node': 1}
        """
        return {
            fault: max(1, round(share * count)) if fault in self.scaled else count
            for fault, count in self.faults.items()
        }

    def outcomes(self, arena: Arena, share: float) -> list[Outcome]:
        """Inject the faults; a row for each of them, whatever comes back."""
        asked = self.asked(share)
        return completed(self.run(arena, *asked.values()), asked)

    def left_out(self, share: float, reason: str) -> list[Outcome]:
        """Rows of a scenario that was not run."""
        return completed([], self.asked(share), reason)


def completed(
    outcomes: list[Outcome], asked: Counts, reason: str = "the scenario says nothing of it"
) -> list[Outcome]:
    """Return outcomes with a row for each fault that was asked for and has none, as one that was not run.

    >>> [own.fault for own in completed([], {"SIGHUP": 1, "SIGTERM": 1})]
    ['SIGHUP', 'SIGTERM']
    """
    there = {own.fault for own in outcomes}
    return [
        *outcomes,
        *(not_run(fault, count, reason) for fault, count in asked.items() if fault not in there),
    ]


def _kills(run: Callable[..., list[Outcome]], faults: Counts, *, waits: bool = False) -> Scenario:
    """A scenario all of whose faults a share of the kills makes fewer."""
    return Scenario(run, faults, frozenset(faults), waits)


def _damage(arena: Arena, *asked: int) -> list[Outcome]:
    return files.damage(arena, dict(zip(files.KINDS, asked, strict=True)), TRIALS // 3)


def _signals(arena: Arena, early: int, term: int, hangup: int) -> list[Outcome]:
    return stops.polite_signals(
        arena, {signal.SIGTERM: term, signal.SIGHUP: hangup}, TRIALS // 2, early=early
    )


# Long ones first, so that the lanes end together.
SCENARIOS: Final[dict[str, Scenario]] = {
    "drivers": _kills(
        lambda arena, count: [kills.kill_drivers(arena, count, TRIALS)], {"SIGKILL of the driver": 20}
    ),
    "limit": Scenario(
        lambda arena, count: [stops.stop_worker_with_deadline(arena, count)],
        {"SIGSTOP of a worker, with a time limit": 1},
        waits=True,
    ),
    "workers": _kills(
        lambda arena, kill, term: kills.kill_workers(arena, kill, term, TRIALS),
        {"SIGKILL of a worker": 20, "SIGTERM of a worker": 3},
    ),
    "folds": _kills(
        lambda arena, worker, driver: kills.kill_workers_of_folds(
            arena, worker, driver, FOLD_TRIALS, UNDISTURBED_FOLDS
        ),
        {"SIGKILL of a worker, folds in processes": 6, "SIGKILL of the driver, folds in processes": 2},
    ),
    "nodes": Scenario(
        lambda arena, kill, stop: nodes.all_of(arena, kill, stop, TRIALS // 2),
        {"SIGKILL of a raylet (node)": 5, "SIGSTOP of a node": 1},
        frozenset({"SIGKILL of a raylet (node)"}),
    ),
    "heads": _kills(
        lambda arena, count: [kills.kill_heads(arena, count, TRIALS // 3)],
        {"SIGKILL of the head (GCS)": 3},
        waits=True,
    ),
    "damage": Scenario(_damage, dict.fromkeys(files.KINDS, 1)),
    "signals": Scenario(
        _signals, {"SIGTERM before the first trial": 1, "SIGTERM of the driver": 1, "SIGHUP of the driver": 1}
    ),
    "stop": Scenario(
        lambda arena, stop, second: stops.stop_worker(arena, stop, second, TRIALS // 4),
        {"SIGSTOP of a worker": 1, "two drivers on one folder": 2},
        waits=True,
    ),
    "database": Scenario(
        lambda arena, count: [database.restart(arena, count, TRIALS // 3)], {database.FAULT: 2}
    ),
    "clock": Scenario(
        lambda arena, count: [stops.set_clock_back(arena, count, TRIALS // 4)],
        {"clock set back, then ahead": 2},
    ),
    "disk": Scenario(
        lambda arena, count: [disks.fill_disk_of_runs(arena, count, TRIALS // 3)],
        {"full disk of the run folder": 1},
    ),
    "store": Scenario(
        lambda arena, start, later: disks.fill_disk_of_store(arena, start, later, TRIALS // 2),
        {"full disk of the store": 1, "disk of the store fills up in mid-search": 1},
    ),
}
