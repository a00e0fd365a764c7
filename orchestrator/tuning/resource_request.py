"""What a trial asks of a machine: cores, GPUs, memory, and which machines may run it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cluster.resources import Machine


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """CPUs, GPUs and memory that one trial asks of a machine.

    Attributes:
        cpus: Number of CPU cores, at least 0.
        gpus: Number of GPUs: eighths of one, or the number that the user set.
        memory_bytes: Bytes of the machine's memory; 0 if memory need not be counted.
        nodes: Names of the machines that may run it; empty for any.
        avoids: Names of machines that may not run it, even of those in `nodes`.
        lenders: Name of each machine that lends its features to that one, and the store on it.
    """

    cpus: float
    gpus: float
    memory_bytes: int = 0
    nodes: tuple[str, ...] = ()
    avoids: tuple[str, ...] = ()
    lenders: tuple[tuple[str, str], ...] = ()

    def is_larger_than(self, other: "ResourceRequest") -> bool:
        """Tell whether this takes more of anything than another request."""
        return self.cpus > other.cpus or self.gpus > other.gpus or self.memory_bytes > other.memory_bytes

    def for_folds(self) -> "ResourceRequest":
        """Return what another worker asks for, to train folds of this trial: whole GPUs, on any machine.

        >>> ResourceRequest(1.0, 0.25).for_folds().gpus, ResourceRequest(1.0, 0.0).for_folds().gpus
        (1.0, 0.0)
        """
        return replace(self, gpus=float(math.ceil(self.gpus)), nodes=(), lenders=())

    def fits_on(self, machine: Machine) -> bool:
        """Tell whether a machine on which nothing else runs could run this.

        >>> own = ResourceRequest(2.0, 1.0, avoids=("bad",))
        >>> own.fits_on(Machine(4, 1, 0, "good")), own.fits_on(Machine(4, 1, 0, "bad"))
        (True, False)
        """
        is_large_enough = (
            machine.cpus >= self.cpus
            and machine.gpus >= self.gpus
            and machine.memory_bytes >= self.memory_bytes
        )
        is_named = not self.nodes or machine.node_id in self.nodes
        return is_large_enough and is_named and machine.node_id not in self.avoids

    def fits_in(self, available: Mapping[str, float]) -> int:
        """Return how many times this fits into what a machine has left; 0 where nothing is asked for.

        Args:
            available: Ray's name of a resource -> amount.

        >>> ResourceRequest(2.0, 1.0).fits_in({"CPU": 7.0, "GPU": 2.0, "memory": 1e9})
        2
        """
        asked = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_bytes}
        fits = [available.get(name, 0.0) / amount for name, amount in asked.items() if amount]
        return math.floor(min(fits, default=0.0) + 1e-9)
