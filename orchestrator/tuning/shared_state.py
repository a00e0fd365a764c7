"""What the parts of the Ray backend share: who runs what, what waits for room, and the first error."""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.study.patience import disk_reason
from orchestrator.study.trial_spec import TrialFailure, TrialSpec
from orchestrator.tuning.allocation import ResourceAllocator
from orchestrator.tuning.idle_workers import EPOCH_SECONDS
from orchestrator.tuning.parcel import deliver
from orchestrator.tuning.ray_depot import DepotKeeper
from orchestrator.tuning.ray_features import FeatureServers
from orchestrator.tuning.ray_shared_store import Newcomers
from orchestrator.tuning.resource_request import ResourceRequest
from orchestrator.tuning.trial_manager import TrialManager
from orchestrator.tuning.unfit_machines import FULL_SECONDS, IN_A_ROW, UnfitMachines
from orchestrator.tuning.watchdog import minutes_text
from trainables.common.text import count_text
from trainables.config.trial_config import TrialConfig

if TYPE_CHECKING:  # it imports torch, which the workers of a benchmark that trains nothing do without
    from orchestrator.tuning.worker_report import WorkerReport
    from trainables.runtime.memory import MemoryUse


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
        given: Trial number -> resources that a running trial was given.
        asking_ends: Reading of `time.monotonic()` after which no further trial is proposed in this step.
        depot: Serves the machines that do not see the run folder; None for a search that has no such.
        servers: Lend features of one machine to others; None where none are lent.
        newcomers: Asks machines that join whether they see the shared store; None without one.
        shares_idle: Trials that run on for long may give folds to workers that are idle.
        offers: Trial number -> number of idle workers that it may give folds to.
        helpers: Trial number -> number of idle workers that train folds of it.
        unhelped: Trials that get no idle workers any more, since one of them has failed.
        begun: Trials whose worker has reported since it was given the trial.
        faults: Machines that cannot run trials.
        places: Trial number -> Ray's name of the machine that it has failed on.
        error: First error of searcher, scheduler or callback.
    """

    manager: TrialManager
    allocator: ResourceAllocator
    numbers: dict[str, int]
    waiting: dict[int, ResourceRequest]
    heads: set[int] = field(default_factory=set)
    given: dict[int, ResourceRequest] = field(default_factory=dict)
    asking_ends: float = math.inf
    depot: DepotKeeper | None = None
    servers: FeatureServers | None = None
    newcomers: Newcomers | None = None
    shares_idle: bool = False
    offers: dict[int, int] = field(default_factory=dict)
    helpers: dict[int, int] = field(default_factory=dict)
    unhelped: set[int] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)
    faults: UnfitMachines = field(default_factory=UnfitMachines)
    places: dict[int, str] = field(default_factory=dict)
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
        running = self.manager.running.keys()
        self.heads &= running
        self.given = {number: own for number, own in self.given.items() if number in running}
        request = self._asked(spec, self.faults.avoided_by(spec.number))
        if request.nodes:
            self.heads.add(spec.number)
        self.given[spec.number] = request
        return request

    def note_memory(self, number: int, memory: "MemoryUse", *, has_trained: bool) -> None:
        """Note the peak memory of a trial so far; the share of its like follows only once it has trained.

        Args:
            number: The trial.
            memory: What its worker has measured.
            has_trained: An epoch or the trial has ended. Before that it has yet to take most of its memory.
        """
        self.manager.on_memory(number, memory.peak_bytes)
        config = self.config_of(number)
        if config is None or not has_trained:
            return
        if number not in self.heads:  # the memory of a machine says nothing about that of a GPU
            self.allocator.measured(config, memory.peak_bytes, memory.total_bytes)
        self.allocator.resident(config, memory.worker_bytes)

    def _asked(self, spec: TrialSpec, avoids: Collection[str]) -> ResourceRequest:
        if spec.is_alone:
            return self.allocator.alone(avoids=avoids)
        return self.allocator.request(spec.config, heads=len(self.heads - {spec.number}), avoids=avoids)

    def seconds_left(self) -> dict[int, float]:
        """Seconds that each trial whose folds may be shared will take yet; none while a trial waits."""
        manager = self.manager
        if not manager.nothing_waits or self.waiting or manager.search.request.process_per_fold:
            return {}
        limit = math.inf if manager.deadline is None else manager.deadline - manager.clock()
        return {
            number: min(limit, trial.seconds_left)
            for number, trial in manager.running.items()
            if (number in self.offers or (trial.epoch_seconds or 0.0) >= EPOCH_SECONDS)
            and number not in self.unhelped
            and not trial.spec.is_alone
            and trial.spec.config.classical.name == "none"
        }

    def request_for_folds(self, number: int) -> ResourceRequest:
        """Return the resources of an idle worker that trains folds of a running trial."""
        return self.given[number].for_folds()

    def unoffered(self, room: int) -> int:
        """Return the number of idle workers that no trial has been offered, where Ray has room for so many.

        No more work at once than the user wants.
        """
        running = self.manager.running
        offered = sum(count for number, count in self.offers.items() if number in running)
        helping = sum(self.helpers.get(number, 0) for number in running)
        most = math.inf if self.allocator.workers is None else self.allocator.workers
        return int(max(0, min(room + helping, most - len(running)) - offered))

    def lenders(self, request: ResourceRequest) -> tuple[str, ...]:
        """Return the names of the servers that lend features to a trial, which are started if need be."""
        if self.servers is None or not request.lenders:
            return ()
        return self.servers.open(dict(request.lenders))

    def may_start(self, request: ResourceRequest) -> bool:
        """Tell whether a trial takes no room from a larger one that waits for it.

        A large trial waits for enough free resources, which smaller ones that start first would take again
        and again. A head on machines without a GPU takes nothing from the others. A trial that avoids the
        machine which failed it holds nobody back, since that machine would lie idle.
        """
        if request.nodes:
            return True
        unfit = self.faults.unfit
        return not any(
            waiting.is_larger_than(request) and unfit.issuperset(waiting.avoids)
            for waiting in self.waiting.values()
        )

    def receive(self, number: int, result: dict[str, Any]) -> "WorkerReport":
        """Write what a trial on another machine has left, note who holds features, and return its report.

        Remarks of its worker are passed on to the user.
        """
        self.begun.add(number)
        for text in result.pop("remarks", ()):
            self.manager.remarks.add(text)
        if (parcel := result.pop("parcel", None)) is not None:
            self.manager.patience.done(lambda: deliver(parcel, self.manager.run), disk_reason)
        holder, config = result.pop("holder", None), self.config_of(number)
        if holder is not None and config is not None:
            self.allocator.holds(config, *holder)
        step: WorkerReport = result["step"]
        if (place := result.pop("place", None)) is not None:
            self._note_place(number, place, step)
        if step.failure is not None and step.failure.is_helpers and not step.failure.is_taken:
            self.unhelped.add(number)
        if step.needs_depot and self.depot is not None:
            self.depot.open()
        self.note_helpers(number, 0 if step.is_end else step.helpers)
        return step

    def _note_place(self, number: int, place: str, step: "WorkerReport") -> None:
        """Note the machine of a trial: that it could run it, or where it failed."""
        if step.epochs or step.failure is None:
            self.faults.ran(place)
        if step.failure is not None:
            self.places[number] = place
        elif step.is_end:
            self.faults.ended(number)

    def runs_elsewhere(self, number: int, failure: TrialFailure) -> bool:
        """Hand a trial out again that its machine could not run, to one that has not failed it yet.

        A machine that fails several trials in a row gets no further ones.

        Returns:
            False if there is no such machine, or the failure is none of the machine.
        """
        place = self.places.pop(number, None)
        if place is None or failure.cause != "environment" or failure.is_disk_full:
            return False
        if failure.is_machine_full:
            return self._leaves_full_machine(number, place, failure.reason)
        goes_on = self._note_fault(number, place, failure.reason)
        if goes_on:
            self.manager.run_elsewhere(number, failure.reason)
        return goes_on

    def died_at_start(self, number: int, place: str) -> None:
        """Note that a worker died before it reported anything of its trial.

        The trial avoids the machine if another one may run it. Why it died nobody knows: as after other
        deaths, the trial is given up after some.

        Args:
            number: Trial number.
            place: Ray's name of the machine.
        """
        self._note_fault(number, place, "their workers died before they began")

    def _note_fault(self, number: int, place: str, reason: str) -> bool:
        """Note that a machine could not run a trial; tells whether another one may, and says what follows."""
        faults, known = self.faults, self.faults.given_up
        own = self._asked(self.manager.running[number].spec, {*faults.avoided_by(number), place})
        is_needed = not self.allocator.is_enough_without({*faults.unfit, place})
        goes_on = faults.runs_elsewhere(number, place, self.allocator.able(own), is_needed=is_needed)
        if faults.given_up - known:
            self.manager.say(
                f"the machine of trial {number} gets no further trials, since it could not run {IN_A_ROW} in "
                f"a row: {reason}. Mend it, and start Ray on it anew"
            )
        if again := known - faults.given_up:
            self.manager.say(
                f"{count_text(len(again), 'machine')} that got no further trials may run them again: trial "
                f"{number}, which failed there, could not run on any other machine, either"
            )
        return goes_on

    def _leaves_full_machine(self, number: int, place: str, reason: str) -> bool:
        """Hand a trial out again to a machine whose disks have room; False if there is no such machine.

        The machine that is full gets no trials for a while, unless some can run nowhere else.
        """
        avoided = {*self.faults.avoided_by(number), place}
        own = self._asked(self.manager.running[number].spec, avoided)
        if not avoided.issuperset(self.allocator.able(own)):
            if place not in self.faults.unfit and self.allocator.is_enough_without(avoided):
                self.faults.filled(place)
                self.manager.say(
                    f"the machine of trial {number} gets no trials for {minutes_text(FULL_SECONDS)}, since a "
                    f"disk of it is full, and the others go on: {reason}. Make room there"
                )
            self.manager.run_elsewhere(number, reason)
            return True
        return False

    def note_helpers(self, number: int, count: int) -> None:
        """Count the workers that train folds of a trial as busy, and say it when there are more of them.

        Args:
            number: Trial number.
            count: How many there are; 0 once the trial's own worker is gone, since they end with it.
        """
        before = self.helpers.get(number, 0)
        if count == before:
            return
        self.helpers[number] = count
        self.manager.worker_time.helped(number, count)
        if count > before:
            self.manager.say(f"trial {number} trains its folds on {count_text(count, 'idle worker')}, too")

    def config_of(self, number: int) -> TrialConfig | None:
        """Return the configuration of a running trial; None if it does not run any more."""
        trial = self.manager.running.get(number)
        return trial.spec.config if trial else None
