"""Ray's own multi-node test cluster, with GPUs that are pretended, on this machine alone."""

import contextlib
import logging
import os
from collections.abc import Iterator

from cluster.connect import QUIET_ENVIRONMENT
from cluster.resources import Machine, machines_of

_STORE_BYTES = 80 * 2**20


@contextlib.contextmanager
def fake_cluster(*, nodes: int, gpus: int, cpus: int | None = None) -> Iterator[tuple[Machine, ...]]:
    """Start a cluster whose head runs no trials, and connect to it; all of it ends with the context.

    Args:
        nodes: Number of nodes besides the head.
        gpus: Number of pretended GPUs of a node.
        cpus: Number of CPUs of a node, which are pretended too; None takes as many as GPUs.

    Yields:
        The machines that trials run on.
    """
    os.environ.update(QUIET_ENVIRONMENT)
    os.environ["RAY_AUTH_MODE"] = "disabled"  # of a cluster of this machine alone that ends with us
    # Idle workers would take the memory. Ray spells these names so.
    os.environ.update({"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"})
    import ray
    from ray.cluster_utils import Cluster

    quiet = {"object_store_memory": _STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, **quiet})
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=gpus if cpus is None else cpus, num_gpus=gpus, **quiet)
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        yield tuple(one for one in machines_of(ray.nodes()) if one.cpus)
    finally:
        ray.shutdown()
        cluster.shutdown()
