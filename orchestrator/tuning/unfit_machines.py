"""Machines on which no trial can run, such as one whose GPU, weights or temporary folder are missing.

Pure bookkeeping. One bad machine fails within seconds what is handed to it and asks for more, so that of a
whole cluster it would take all trials that are left. Its trials go to other machines; where all are alike,
the fault is none of a machine.
"""

import time
from collections.abc import Callable, Collection
from typing import Final

IN_A_ROW: Final = 3  # trials that a machine could not run, with none between them that could
FULL_SECONDS: Final = 300.0  # that a machine whose disk is full gets no trials: what fills a disk often goes


class UnfitMachines:
    """Notes which trials each machine could not run, and names the machines that get none any more.

    What fails a trial may be the trial's own, such as the weights of one backbone. So a trial goes to each
    machine once, counts once against each, and against none once all have failed it.

    Args:
        clock: Function that returns seconds; injected for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full: dict[str, float] = {}  # machine -> when it gets trials again
        self._failed: dict[int, set[str]] = {}  # trial -> machines that could not run it
        self._in_a_row: dict[str, set[int]] = {}  # machine -> trials that it could not run, as counted

    @property
    def unfit(self) -> frozenset[str]:
        """Ray's names of the machines that get no further trials, or none for now."""
        now = self._clock()
        return self.given_up.union(node for node, until in self._full.items() if now < until)

    @property
    def given_up(self) -> frozenset[str]:
        """Ray's names of the machines that get no further trials at all."""
        return frozenset(node for node, trials in self._in_a_row.items() if len(trials) >= IN_A_ROW)

    def avoided_by(self, number: int) -> frozenset[str]:
        """Return Ray's names of the machines that may not run a trial: unfit ones, and those that failed it.

        Args:
            number: Trial number.
        """
        return self.unfit.union(self._failed.get(number, ()))

    def filled(self, node: str) -> None:
        """Let a machine have no trials for a while, since a disk of it is full."""
        self._full[node] = self._clock() + FULL_SECONDS

    def ran(self, node: str) -> None:
        """Note that a trial could run on a machine; an unfit one stays so."""
        if node not in self.given_up:
            self._in_a_row.pop(node, None)

    def ended(self, number: int) -> None:
        """Note that a trial has ended, on the machine that could run it."""
        self._failed.pop(number, None)

    def runs_elsewhere(
        self, number: int, node: str, able: Collection[str], *, is_needed: bool = False
    ) -> bool:
        """Note that a machine could not run a trial; returns True if that is to be run on another one.

        Args:
            number: Trial number.
            node: Ray's name of the machine.
            able: Those of the machines that are large enough for the trial.
            is_needed: The other machines have no room for trials of some kinds, so that this one gets further
                trials whatever it fails.

        >>> found = UnfitMachines()
        >>> [found.runs_elsewhere(number, "a", ["a", "b"]) for number in range(3)], found.unfit
        ([True, True, True], frozenset({'a'}))
        >>> found.runs_elsewhere(0, "b", ["a", "b"]), found.unfit  # so it was the trial
        (False, frozenset())
        """
        failed = self._failed.setdefault(number, set())
        failed.add(node)
        if set(able) - self.unfit - failed:
            if not is_needed:
                self._in_a_row.setdefault(node, set()).add(number)
            return True
        for own in self._failed.pop(number):
            self._in_a_row.get(own, set()).discard(number)
        return False
