"""What the parts of the Ray backend share: who runs what, what waits for room, and the first error."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.study.trial_spec import TrialSpec
from orchestrator.tuning.allocation import ResourceAllocator, ResourceRequest
from orchestrator.tuning.parcel import deliver
from orchestrator.tuning.ray_depot import DepotKeeper
from orchestrator.tuning.ray_features import FeatureServers
from orchestrator.tuning.trial_manager import TrialManager
from trainables.config.trial_config import TrialConfig

if TYPE_CHECKING:  # it imports torch, which the workers of a benchmark that trains nothing do without
    from orchestrator.tuning.trial_runner import WorkerReport


@dataclass(slots=True)
class SharedState:
    """State shared by searcher, scheduler and callback.

    Tune takes errors that these three raise for failures of the trial at hand, or wraps them in its own. So
    they note an error here, and the search stops with it after the step.

    Attributes:
        manager: Manager of the trials.
        allocator: Allocator of resources.
        numbers: Tune's trial id -> trial number.
        waiting: Trial number -> resources of a trial whose worker does not run yet.
        heads: Numbers of trials that were given to machines without a GPU.
        asking_ends: Reading of `time.monotonic()` after which no further trial is proposed in this step.
        depot: Serves the machines that do not see the run folder; None for a search that has no such.
        servers: Lend features of one machine to others; None where none are lent.
        error: First error of searcher, scheduler or callback.
    """

    manager: TrialManager
    allocator: ResourceAllocator
    numbers: dict[str, int]
    waiting: dict[int, ResourceRequest]
    heads: set[int] = field(default_factory=set)
    asking_ends: float = math.inf
    depot: DepotKeeper | None = None
    servers: FeatureServers | None = None
    error: Exception | None = None

    @contextmanager
    def noting_errors(self) -> Iterator[None]:
        """Note an error, and hand out no further trial after it."""
        try:
            yield
        except Exception as error:
            self.error = self.error or error
            self.manager.is_stopping = True

    def request(self, spec: TrialSpec) -> ResourceRequest:
        """Return the resources of a trial that is about to be handed out."""
        if spec.is_alone:
            return self.allocator.alone()
        self.heads &= self.manager.running.keys()
        request = self.allocator.request(spec.config, heads=len(self.heads - {spec.number}))
        if request.nodes:
            self.heads.add(spec.number)
        return request

    def lenders(self, request: ResourceRequest) -> tuple[str, ...]:
        """Return the names of the servers that lend features to a trial, which are started if need be."""
        if self.servers is None or not request.lenders:
            return ()
        return self.servers.open(dict(request.lenders))

    def may_start(self, request: ResourceRequest) -> bool:
        """Tell whether a trial takes no room from a larger one that waits for it.

        A large trial waits for enough free resources, which smaller ones that start first would take again
        and again. A head on machines without a GPU takes nothing from the others.
        """
        if request.nodes:
            return True
        return not any(waiting.is_larger_than(request) for waiting in self.waiting.values())

    def receive(self, number: int, result: dict[str, Any]) -> "WorkerReport":
        """Write what a trial on another machine has left, note who holds features, and return its report."""
        if (parcel := result.pop("parcel", None)) is not None:
            deliver(parcel, self.manager.run)
        holder, config = result.pop("holder", None), self.config_of(number)
        if holder is not None and config is not None:
            self.allocator.holds(config, *holder)
        step: WorkerReport = result["step"]
        if step.needs_depot and self.depot is not None:
            self.depot.open()
        return step

    def config_of(self, number: int) -> TrialConfig | None:
        """Return the configuration of a running trial; None if it does not run any more."""
        trial = self.manager.running.get(number)
        return trial.spec.config if trial else None
