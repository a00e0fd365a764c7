"""The run of a search on a worker's machine: its folder where that is seen, else a copy from the depot."""

from pathlib import Path

from orchestrator.tuning.node_copy import NodeCopy, own_folder, sees
from orchestrator.tuning.ray_depot import find_depot, this_node
from orchestrator.tuning.run_copy import RunCopy
from results.run.run_folder import RunFolder


class RunHere:
    """The run as one process has it, for all trials that it works for.

    Args:
        run: Path of the run folder on the machine of its owner.
        mark: The owner's mark, by which others tell that they see the folder; empty if all do.
        node: Ray's name of the owner's machine.
    """

    def __init__(self, run: str, mark: str, node: str) -> None:
        self._folder, self._mark, self._node = RunFolder(Path(run)), mark, node
        self._copy: NodeCopy | None = None
        self._has_seen = False  # it is the same folder for all trials of a process

    def seen(self) -> RunFolder | None:
        """Return the run folder; None where it is not seen. On the machine of its owner nobody looks."""
        self._has_seen = self._has_seen or (self._copy is None and self._sees())
        return self._folder if self._has_seen else None

    def filled(self, number: int) -> RunCopy | None:
        """Fill this machine for a trial, unless that was done; None while the depot has not been started."""
        depot = find_depot(self._mark)
        if depot is None:
            return None
        if self._copy is None:
            self._copy = NodeCopy(self._mark, own_folder())
        return RunCopy(self._copy.fill(depot), number, depot)

    def close(self) -> None:
        """Let the next search remove the copy."""
        if self._copy is not None:
            self._copy.close()

    def _sees(self) -> bool:
        return not self._mark or this_node() == self._node or sees(self._folder, self._mark)
