"""The machine at hand as if it were a cluster of one, for estimates that start no Ray."""

from cluster.connect import Connection
from trainables.common.cores import count_cpus
from trainables.training.cost_probe import count_gpus


def this_machine() -> Connection:
    """Return a connection that only counts: no Ray is started, and nothing can run on it."""
    return Connection("", True, float(count_cpus()), float(count_gpus()), 1, "")
