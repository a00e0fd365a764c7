"""Workers of a search as threads of a few processes, for more workers than a machine holds processes.

Tune starts an actor, which is a process, for each worker. One that has imported what a worker needs takes
some 150 MB of its own, 5 s of processor time to start and 0.7 % of a core to wait. With `hosted_workers` Tune
is given handles instead, which pass calls on to the process that serves the node on which Ray has placed the
worker's resources. Placement, calls and reports go through Ray as before; what differs is that starting a
worker is cheap and that workers share interpreters. So they may sleep, but not compute.
"""

import contextlib
import itertools
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.scale_worker import slept

_SPARE_THREADS: Final = 8  # for ends of workers while others sleep


@dataclass(slots=True)
class _Hosted:
    """A worker in a host."""

    worker: Future[Any] = field(default_factory=Future)
    lock: threading.Lock = field(default_factory=threading.Lock)
    first_step: float | None = None


class WorkerHost:
    """A process that keeps workers, and calls each of them one call after another."""

    def __init__(self) -> None:
        self._hosted: defaultdict[int, _Hosted] = defaultdict(_Hosted)
        self._first_steps: list[float] = []

    def is_up(self) -> bool:
        """Import what workers need, so that it is not a part of the search; returns True."""
        import orchestrator.tuning.ray_worker

        return bool(orchestrator.tuning.ray_worker.Worker)

    def start(self, number: int, make: Callable[..., Any], options: Mapping[str, Any]) -> None:
        """Make a worker."""
        own = self._hosted[number].worker
        try:
            own.set_result(make(**options))
        except Exception as error:
            own.set_exception(error)

    def call(self, number: int, name: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Call a method of a worker, as soon as the worker has been made."""
        own = self._hosted[number]
        worker = own.worker.result()
        if name == "__ray_ready__":
            return True
        if name == "__ray_terminate__":
            return self.end(number)
        with own.lock:
            if name == "train" and own.first_step is None:
                own.first_step = time.time()
                self._first_steps.append(own.first_step)
            return getattr(worker, name)(*arguments, **options)

    def end(self, number: int) -> None:
        """Forget a worker."""
        self._hosted.pop(number, None)

    def seen(self) -> tuple[list[tuple[float, float]], list[float]]:
        """Return beginnings and ends of the sleep of all workers, and the time of the first step of each."""
        return slept(), self._first_steps


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of a worker, as Ray offers it."""

    host: Any
    number: int
    name: str

    def remote(self, *arguments: Any, **options: Any) -> Any:
        """Call it; returns Ray's reference to the result."""
        return self.host.call.remote(self.number, self.name, arguments, options)


class HostedWorker:
    """What Tune has in its hands instead of an actor.

    Args:
        host: Ray's handle of the process that keeps the worker.
        number: Number of the worker.
    """

    def __init__(self, host: Any, number: int) -> None:
        self.host, self.number = host, number

    def __getattr__(self, name: str) -> _Method:
        if name.startswith("__") and not name.startswith("__ray_"):  # what copy and pickle ask for
            raise AttributeError(name)
        return _Method(self.host, self.number, name)


class Hosts:
    """The processes that keep the workers of all nodes.

    Args:
        node_ids: Ray's names of the nodes.
        workers: Largest number of workers of a node.
        processes: Number of processes; they lie on the first nodes.
    """

    def __init__(self, node_ids: Sequence[str], *, workers: int, processes: int) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        threads = workers * math.ceil(len(node_ids) / processes) + _SPARE_THREADS
        host = ray.remote(WorkerHost)
        self._made: dict[Any, Any] = {}  # class of a worker -> Ray's reference to it
        self.started = 0
        self._hosts: list[Any] = [
            host.options(
                num_cpus=0,
                max_concurrency=threads,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            ).remote()
            for node in node_ids[:processes]
        ]
        self._of_node = dict(zip(node_ids, itertools.cycle(self._hosts), strict=False))
        ray.get([one.is_up.remote() for one in self._hosts])

    def start(self, actor: Any, group: Any, options: Mapping[str, Any]) -> HostedWorker:
        """Start a worker on the node of a placement group."""
        import ray

        (node,) = ray.util.placement_group_table(group)["bundles_to_node_id"].values()
        if actor not in self._made:
            self._made[actor] = ray.put(actor.__ray_metadata__.modified_class)
        self.started += 1
        worker = HostedWorker(self._of_node[node], self.started)
        worker.host.start.remote(worker.number, self._made[actor], options)
        return worker

    def seen(self) -> tuple[list[tuple[float, float]], list[float]]:
        """Return what all processes have seen, see `WorkerHost.seen`."""
        import ray

        found = ray.get([host.seen.remote() for host in self._hosts])
        return [span for spans, _ in found for span in spans], [at for _, first in found for at in first]


@contextlib.contextmanager
def hosted_workers(hosts: Hosts) -> Iterator[None]:
    """Let Tune start its workers in processes that are there already, as long as this lasts."""
    import ray
    from ray.air.execution.resources.placement_group import PlacementGroupAcquiredResources

    @dataclass(frozen=True, slots=True)
    class Place:
        actor: Any
        group: Any

        def remote(self, **options: Any) -> HostedWorker:
            return hosts.start(self.actor, self.group, options)

    def placed(self: Any, entity: Any, bundle: Any, bundle_index: int) -> Place:
        return Place(entity, self.placement_group)

    kill = ray.kill

    def end(actor: Any, **options: Any) -> None:
        if isinstance(actor, HostedWorker):
            actor.host.end.remote(actor.number)
        else:
            kill(actor, **options)

    owner: Any = PlacementGroupAcquiredResources
    annotate = owner._annotate_remote_entity
    owner._annotate_remote_entity, ray.kill = placed, end
    try:
        yield
    finally:
        owner._annotate_remote_entity, ray.kill = annotate, kill
