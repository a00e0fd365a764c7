"""The scenarios, and how often each injects which fault: what `make chaos` asks for in full.

Every kind has its turn before the time can be up: first what is injected once or a few times and the first
kills, then what takes minutes, then further kills, for which the time that is left may not suffice.
"""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.chaos import database, disks, files, kills, nodes, stops
from benchmarks.chaos.arena import Arena
from benchmarks.chaos.ledger import Outcome, not_run

TRIALS: Final = 18  # of the longest search; what others run is its beginning
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
        portions: Number of scenes that the faults are divided into, each with a search of its own.
    """

    run: Callable[..., list[Outcome]]
    faults: Counts
    scaled: frozenset[str] = frozenset()
    waits: bool = False
    portions: int = 1

    def asked(self, share: float) -> list[dict[str, int]]:
        """For each portion: fault -> number of times that it asks for, for a share of the whole, in (0, 1].

        Every fault is in the first portion, and a small share needs no other.

        >>> SCENARIOS["nodes"].asked(0.1)
        [{'SIGSTOP of a node': 1, 'SIGKILL of a raylet (node)': 1}]
        """
        whole = {
            fault: max(1, round(share * count)) if fault in self.scaled else count
            for fault, count in self.faults.items()
        }
        most = {fault: -(-count // self.portions) for fault, count in self.faults.items()}
        portions = [
            {fault: min(most[fault], max(0, count - place * most[fault])) for fault, count in whole.items()}
            for place in range(self.portions)
        ]
        return [own for own in portions if any(own.values())]

    def outcomes(self, arena: Arena, asked: Counts) -> list[Outcome]:
        """Inject the faults of a portion; a row for each that is asked for, whatever comes back."""
        rows = self.run(arena, *asked.values())
        return completed([own for own in rows if asked.get(own.fault, 1)], asked)


def completed(
    outcomes: list[Outcome], asked: Counts, reason: str = "the scenario says nothing of it"
) -> list[Outcome]:
    """Return outcomes with a row for each fault that was asked for and has none, as one that was not run.

    >>> [own.fault for own in completed([], {"SIGHUP": 1, "SIGTERM": 1})]
    ['SIGHUP', 'SIGTERM']
    """
    there = {own.fault for own in outcomes}
    missing = [fault for fault, count in asked.items() if count and fault not in there]
    return [*outcomes, *(not_run(fault, asked[fault], reason) for fault in missing)]


def _kills(
    run: Callable[..., list[Outcome]], faults: Counts, *, waits: bool = False, portions: int = 1
) -> Scenario:
    """A scenario all of whose faults a share of the kills makes fewer."""
    return Scenario(run, faults, frozenset(faults), waits, portions)


def _damage(arena: Arena, *asked: int) -> list[Outcome]:
    return files.damage(arena, dict(zip(files.KINDS, asked, strict=True)), 2 * TRIALS // 3)


def _signals(arena: Arena, early: int, term: int, hangup: int) -> list[Outcome]:
    return stops.polite_signals(arena, {signal.SIGTERM: term, signal.SIGHUP: hangup}, TRIALS, early=early)


# In the order of their turns: what is injected a few times, the first kills, then what takes minutes.
SCENARIOS: Final[dict[str, Scenario]] = {
    "damage": Scenario(_damage, dict.fromkeys(files.KINDS, 1)),
    "signals": Scenario(
        _signals, {"SIGTERM before the first trial": 1, "SIGTERM of the driver": 1, "SIGHUP of the driver": 1}
    ),
    "database": Scenario(
        lambda arena, count: [database.restart(arena, count, 2 * TRIALS // 3)], {database.FAULT: 2}
    ),
    "clock": Scenario(
        lambda arena, count: [stops.set_clock_back(arena, count, TRIALS // 2)],
        {"clock set back, then ahead": 2},
    ),
    "disk": Scenario(
        lambda arena, count: [disks.fill_disk_of_runs(arena, count, 2 * TRIALS // 3)],
        {"full disk of the run folder": 1},
    ),
    "store": Scenario(
        lambda arena, start, later: disks.fill_disk_of_store(arena, start, later, TRIALS),
        {"full disk of the store": 1, "disk of the store fills up in mid-search": 1},
    ),
    "workers": _kills(
        lambda arena, term, kill: kills.kill_workers(arena, term, kill, 2 * TRIALS // 3),
        {"SIGTERM of a worker": 3, "SIGKILL of a worker": 20},
        portions=3,
    ),
    "drivers": _kills(
        lambda arena, count: [kills.kill_drivers(arena, count, 2 * TRIALS // 3)],
        {"SIGKILL of the driver": 20},
        portions=3,
    ),
    "stop": Scenario(
        lambda arena, stop, second: stops.stop_worker(arena, stop, second, TRIALS // 2),
        {"SIGSTOP of a worker": 1, "two drivers on one folder": 2},
        waits=True,
    ),
    "limit": Scenario(
        lambda arena, count: [stops.stop_worker_with_deadline(arena, count)],
        {"SIGSTOP of a worker, with a time limit": 1},
        waits=True,
    ),
    "heads": _kills(
        lambda arena, count: [kills.kill_heads(arena, count, 2 * TRIALS // 3)],
        {"SIGKILL of the head (GCS)": 3},
        waits=True,
    ),
    "nodes": Scenario(
        lambda arena, stop, kill: nodes.all_of(arena, stop, kill, TRIALS),
        {"SIGSTOP of a node": 1, "SIGKILL of a raylet (node)": 5},
        frozenset({"SIGKILL of a raylet (node)"}),
    ),
    "folds": _kills(
        lambda arena, driver, worker: kills.kill_workers_of_folds(
            arena, driver, worker, FOLD_TRIALS, UNDISTURBED_FOLDS
        ),
        {"SIGKILL of the driver, folds in processes": 2, "SIGKILL of a worker, folds in processes": 6},
    ),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """A portion of a scenario.

    Attributes:
        name: Name of the scenario, a key of `SCENARIOS`.
        portion: Number of the portion, from 0.
        asked: Fault -> number of times that it is to be injected.
    """

    name: str
    portion: int
    asked: Counts

    @property
    def place(self) -> str:
        """Name of its working folder.

        >>> Turn("drivers", 1, {}).place
        'drivers-2'
        """
        return f"{self.name}-{self.portion + 1}"


def turns_of(names: Sequence[str], share: float) -> list[Turn]:
    """Return the portions of scenarios as their turns come: the first of each, then the second ones.

    >>> [turn.place for turn in turns_of(["drivers", "clock"], 1.0)]
    ['clock-1', 'drivers-1', 'drivers-2', 'drivers-3']
    """
    turns = [
        Turn(name, portion, asked)
        for name in SCENARIOS
        if name in names
        for portion, asked in enumerate(SCENARIOS[name].asked(share))
    ]
    return sorted(turns, key=lambda turn: turn.portion)
