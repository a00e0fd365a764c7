"""Machines on which no trial can run, such as one whose GPU, weights or temporary folder are missing.

Pure bookkeeping. One bad machine fails within seconds what is handed to it and asks for more, so that of a
whole cluster it would take all trials that are left. Its trials go to other machines; where all are alike,
the fault is none of a machine.
"""

from collections import Counter
from collections.abc import Collection
from typing import Final

IN_A_ROW: Final = 3  # failures of a machine, with no trial between them that could run


class UnfitMachines:
    """Counts the trials that each machine could not run, and names the machines that get none any more.

    Attributes:
        unfit: Ray's names of these machines.
    """

    def __init__(self) -> None:
        self.unfit = set[str]()
        self._in_a_row = Counter[str]()

    def ran(self, node: str) -> None:
        """Note that a trial could run on a machine."""
        self._in_a_row.pop(node, None)

    def runs_elsewhere(self, node: str, able: Collection[str], *, is_needed: bool = False) -> bool:
        """Note that a machine could not run a trial; returns True if that is to be run on another one.

        Args:
            node: Ray's name of the machine.
            able: Those of the machines that are large enough for the trial.
            is_needed: The other machines have no room for trials of some kinds, so that this one gets further
                trials whatever it fails.

        >>> found = UnfitMachines()
        >>> [found.runs_elsewhere("a", ["a", "b"]) for _ in range(3)], found.unfit
        ([True, True, True], {'a'})
        >>> found.runs_elsewhere("b", ["a", "b"]), found.unfit
        (False, {'a'})
        """
        if not set(able) - self.unfit - {node}:
            return False
        self._in_a_row[node] += not is_needed
        if self._in_a_row[node] >= IN_A_ROW:
            self.unfit.add(node)
        return True
