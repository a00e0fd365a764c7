"""Ray's own multi-node test cluster, with GPUs that are pretended, on this machine alone."""

import contextlib
import importlib
import logging
import os
import time
from collections.abc import Iterator
from typing import Any, Final

from cluster.connect import QUIET_ENVIRONMENT
from cluster.resources import Machine, machines_of

_QUIET: Final[dict[str, Any]] = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
_NO_PORT: Final = 1  # where nobody listens
_AGENTS: Final = ("--dashboard_agent_command", "--runtime_env_agent_command")
_PORTS: Final = ("--metrics-agent-port", "--metrics_export_port", "--runtime_env_agent_port")


class FakeCluster:
    """A cluster of this machine whose head runs no trials; this process is connected to it.

    Nodes may be added and removed while a search runs.
    """

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, **_QUIET})
        self.address = str(self._cluster.address)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """The machines that trials may run on."""
        import ray

        return tuple(one for one in machines_of(ray.nodes()) if one.cpus)

    def add(self, *, cpus: int, gpus: int = 0) -> Any:
        """Add a node with so many pretended CPUs and GPUs; returns it."""
        return self._cluster.add_node(num_cpus=cpus, num_gpus=gpus, **_QUIET)

    def remove(self, node: Any) -> None:
        """Kill the processes of a node."""
        self._cluster.remove_node(node, allow_graceful=False)

    def drain(self, node: Any, *, seconds: float = 60.0) -> None:
        """Announce that a node is about to be taken away, as a spot machine is."""
        # Ray has no stubs of what it compiles and generates.
        from ray._raylet import GcsClient  # type: ignore[attr-defined]
        from ray.core.generated.autoscaler_pb2 import DrainNodeReason  # type: ignore[attr-defined]

        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        ends = int(1e3 * (time.time() + seconds))
        is_accepted, why = GcsClient(address=self.address).drain_node(node.node_id, reason, "spot", ends)
        if not is_accepted:
            raise RuntimeError(f"the node stays: {why}")

    def shut_down(self) -> None:
        """End all of it."""
        self._cluster.shutdown()


@contextlib.contextmanager
def _without_agents() -> Iterator[None]:
    """Let nodes that start meanwhile do without their two agents: 150 MB and four seconds of a core a node.

    They serve dashboard, metrics, and packages that workers ask for, of which there are none here. Ray
    insists on a command for each, ends the node with it, and waits until they have written their ports.
    """
    from ray._private import services

    _raylet: Any = importlib.import_module("ray._raylet")  # it has no stubs
    start = services.start_ray_process
    names = (
        _raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME,
        _raylet.METRICS_AGENT_PORT_NAME,
        _raylet.METRICS_EXPORT_PORT_NAME,
        _raylet.RUNTIME_ENV_AGENT_PORT_NAME,
    )

    def replaced(argument: str) -> str:
        name, _, _ = argument.partition("=")
        if name in _AGENTS:
            return f"{name}=sleep infinity"
        return f"{name}={_NO_PORT}" if name in _PORTS else argument

    def start_without(command: list[str], kind: str, **options: Any) -> Any:
        if kind == "raylet":
            command = [replaced(argument) for argument in command]
            given = dict(argument[2:].partition("=")[::2] for argument in command)
            for name in names:
                _raylet.persist_port(given["session_dir"], given["node_id"], name, _NO_PORT)
        return start(command, kind, **options)

    vars(services)["start_ray_process"] = start_without
    try:
        yield
    finally:
        vars(services)["start_ray_process"] = start


@contextlib.contextmanager
def fake_cluster(*, has_agents: bool = True) -> Iterator[FakeCluster]:
    """Start a cluster without machines for trials, and connect to it; all of it ends with the context.

    Args:
        has_agents: Its nodes run Ray's agents, which tell the metrics and the packages of a node.
    """
    os.environ.update(QUIET_ENVIRONMENT)
    os.environ["RAY_AUTH_MODE"] = "disabled"  # of a cluster of this machine alone that ends with us
    # Idle workers would take the memory. Ray spells these names so.
    os.environ.update({"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"})
    import ray

    with contextlib.nullcontext() if has_agents else _without_agents():
        cluster = FakeCluster()
        try:
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shut_down()
