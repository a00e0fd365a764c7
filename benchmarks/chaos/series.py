"""Searches of the same settings one after the other, for as long as faults are to be injected into them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from benchmarks.chaos.arena import ATTEMPTS, NO_RAY, UNDISTURBED, Arena, Driver, Verdict
from benchmarks.chaos.checks import Snapshot, snapshot
from benchmarks.chaos.ledger import Outcome

_MOST_SEARCHES: Final = 4


@dataclass(slots=True)
class Hit:
    """What was done of one kind of fault.

    Attributes:
        fault: Name of the fault.
        asked: Number of times that it is to be injected.
        note: What the reader must know of how.
        injected: Number of times that it was.
        moments: Search and its state at each of these times.
        faults: What was wrong with it, in sentences.
    """

    fault: str
    asked: int
    note: str = ""
    injected: int = 0
    moments: list[tuple[str, Snapshot]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def is_wanted(self) -> bool:
        """True while it was not injected as often as asked."""
        return self.injected < self.asked


class Series:
    """A search that is hit, and a further one each time that it comes to its end before it was hit enough.

    Args:
        arena: Where they run.
        name: Name of the first search; later ones have a number behind it.
        trials: Number of trials of each.
        options: Options of all.
        waits: A search begins with its first trial; False for one that may be hit before.
        reference: Search that nobody disturbed, with the same trials.
        environment: Environment of all.

    Attributes:
        names: Names of the searches so far.
        driver: Process of the last one.
        faults: What was wrong with the searches apart from the hits.
    """

    def __init__(
        self,
        arena: Arena,
        name: str,
        trials: int,
        *options: str,
        waits: bool = True,
        reference: str = UNDISTURBED,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.arena, self.trials, self.reference = arena, trials, reference
        self._first, self._options, self._environment = name, options, environment or {}
        self._start: Callable[..., Driver] = arena.search if waits else arena.begin
        self._again = 0
        self.started = time.monotonic()
        self.names: list[str] = []
        self.faults: list[str] = []
        self._driver: Driver | None = None

    @property
    def name(self) -> str:
        """Name of the last search."""
        return self.names[-1]

    @property
    def driver(self) -> Driver:
        """Process of the last search."""
        if self._driver is None:
            raise RuntimeError("no search has begun yet; ask is_running first")
        return self._driver

    def is_running(self) -> bool:
        """Make sure that a search runs which can be hit, and begin or resume one if none does.

        Returns:
            False where it is too late for a fault, or searches end again and again.
        """
        while not self.arena.is_late:
            if self._driver is None or (self._driver.has_ended and self._driver.process.returncode == 0):
                if len(self.names) == _MOST_SEARCHES:
                    return False
                self.names.append(f"{self._first}-{len(self.names) + 1}" if self.names else self._first)
                self._driver = self._start(self.name, self.trials, *self._options, **self._environment)
            elif not self._driver.has_ended:
                return True
            elif not self._may_go_on(self._driver):
                return False
            else:
                self.go_on()
        return False

    def go_on(self) -> Driver:
        """Resume the last search, whose driver was ended; one that was not begun yet begins anew."""
        if self.arena.begun(self.name):
            self._driver = self.arena.resume(self.name, *self._address, **self._environment)
        else:
            self._driver = self.arena.begin(self.name, self.trials, *self._options, **self._environment)
        return self._driver

    def wait_for_trials(self, more: int, *, seconds: float | None = None) -> bool:
        """Wait until so many more trials of the last search are handed out; False if they were not."""
        return self.arena.wait_for_trials(self.name, more, self.driver, seconds=seconds)

    def note(self, hit: Hit, injected: int = 1) -> None:
        """Note that the last search was hit, with what it had finished by then."""
        hit.injected, self._again = hit.injected + injected, 0
        if self.arena.run(self.name).path.is_dir():
            hit.moments.append((self.name, snapshot(self.arena.run(self.name))))

    def closed(self, *hits: Hit) -> list[Outcome]:
        """Wait for the end of the last search, look all of them through, and return a row for each kind."""
        if self._driver is not None:
            while self._driver.wait(self.arena.patience) != 0:
                if not self._may_go_on(self._driver):
                    break
                self.go_on()
        seconds = time.monotonic() - self.started
        return [self._outcome(hit, seconds) for hit in hits]

    def _may_go_on(self, driver: Driver) -> bool:
        """Note that a driver ended by itself as it should not; False once that happens too often."""
        code = driver.process.returncode
        if not driver.has_said(NO_RAY):
            said = " ".join(driver.printed.strip().splitlines()[-3:])
            self.faults.append(f"{self.name} ended with {code}: {said[-300:]}")
        self._again += 1
        return self._again <= ATTEMPTS

    @property
    def _address(self) -> tuple[str, ...]:
        return self._options[:2] if self._options[:1] == ("--address",) else ()

    def _outcome(self, hit: Hit, seconds: float) -> Outcome:
        lost, repeated, faults = list[str](), list[str](), list[str]()
        for name in self.names:
            moments = [moment for place, moment in hit.moments if place == name]
            own = self.arena.judged(name, moments, trials=self.trials, reference=self.reference)
            lost += [f"{name}: {text}" for text in own.lost]
            repeated += [f"{name}: {text}" for text in own.repeated]
            faults += [f"{name}: {text}" for text in own.faults]
        note = hit.note + (f"; {len(self.names)} searches" if len(self.names) > 1 else "")
        also = (*hit.faults, *self.faults)
        verdict = Verdict(lost, repeated, faults)
        return verdict.outcome(hit.fault, hit.asked, hit.injected, seconds, *also, note=note)
