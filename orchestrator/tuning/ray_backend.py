"""The Ray Tune backend: one Searcher, one Trainable and one Scheduler around the trial manager.

Tune schedules and keeps workers alive; the trial manager decides what runs, what stops and what is recorded.
Tune's own experiment state is not used: the run folder is the truth, so a killed search resumes from it.
"""

import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ray
from ray import tune
from ray.tune import PlacementGroupFactory
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cluster.resources import Machine
from orchestrator.tuning.allocation import ResourceAllocator, report_seconds
from orchestrator.tuning.heartbeat import Ear
from orchestrator.tuning.interrupts import interruptible
from orchestrator.tuning.lifeline import Lifeline, end_program, watched
from orchestrator.tuning.ray_depot import DepotKeeper, this_node
from orchestrator.tuning.ray_failures import explained
from orchestrator.tuning.ray_features import FeatureServers
from orchestrator.tuning.ray_followed import FollowedWorkers, NotPickled
from orchestrator.tuning.ray_private import (
    KeyValueBoard,
    NoTrialProgress,
    forget_ended,
    release_workers,
    selected_machines,
    survive_out_of_memory,
    take_waiting_workers,
)
from orchestrator.tuning.ray_shared_store import Newcomers
from orchestrator.tuning.ray_worker import Runner, Worker
from orchestrator.tuning.resource_request import ResourceRequest
from orchestrator.tuning.shared_state import SharedState
from orchestrator.tuning.time_limit import time_left
from orchestrator.tuning.trial_manager import GRACE_SECONDS, TrialManager, TrialSpec
from results.run.records import Cause
from results.run.run_folder import RunFolder
from trainables.common.registered import packed

if TYPE_CHECKING:  # it imports torch, which the workers of a benchmark that trains nothing do without
    from orchestrator.tuning.worker_report import WorkerReport

_QUIET: Final = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "600",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "600",
    # Our state is the run folder. Tune's grows with the trials and stops the driver while it is written, so
    # that it is written at the start and at the end only, which it insists on.
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints a table even with verbose=0
}

_MOST_PENDING: Final = 4096  # trials that Tune takes before their workers start: more than ever run at once


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of one trial, and the number of trials at once.

    Attributes:
        cpus: Number of CPU cores of a trial.
        gpus: Number of GPUs of a trial, a fraction if several share one.
        slots: Number of trials at once.
        machines: Machines that Ray runs on; empty if they are not known.
        is_measured: Each trial gets a share of a GPU by its measured need, not `gpus`.
        workers: Largest number of trials at once that the user wants; None for no limit.
        shares_features: All machines reach the stored features: heads may train where there is no GPU.
        lends_features: Machines lend each other what they have stored, with the same consequence.
        fixed_backbones: Names of backbones without weights, whose features need no GPU.
        bounds_memory: All trials that run at once fit into the main memory that Ray gives out.
        late_gpus: Number of GPUs of a trial once machines with the first ones have joined; 0 for none.
        shared_store: Folder that all `machines` are known to see, and those that join are asked for; None
            without one.
    """

    cpus: float
    gpus: float
    slots: int
    machines: tuple[Machine, ...] = ()
    is_measured: bool = False
    workers: int | None = None
    shares_features: bool = False
    lends_features: bool = False
    fixed_backbones: frozenset[str] = frozenset()
    bounds_memory: bool = False
    late_gpus: float = 0.0
    shared_store: Path | None = None


class _Searcher(NotPickled, Searcher):
    """Gives Tune the trials that the manager hands out.

    Args:
        state: State shared with scheduler and callback.
        run: Path of the run folder on this machine.
        mark: By which workers tell that they see that folder; empty if all do.
        node: Ray's name of this machine.
    """

    def __init__(self, state: SharedState, run: Path, mark: str = "", node: str = "") -> None:
        super().__init__()
        self._state, self._run, self._mark, self._node = state, run, mark, node
        self._held: TrialSpec | None = None

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Return True: the number of trials at once follows the machines, and this class keeps to it."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of the next trial, `FINISHED` at the end, or None for not now."""
        suggested: Any = None
        with self._state.noting_errors():
            suggested = self._next(trial_id)
        return suggested

    def _next(self, trial_id: str) -> Any:
        state = self._state
        if state.manager.is_over:
            return Searcher.FINISHED
        handed = len(state.manager.running) - (self._held is not None)
        if handed >= state.allocator.slots or (handed and time.monotonic() >= state.asking_ends):
            return None
        spec = self._held or state.manager.next()
        if spec is None:
            return Searcher.FINISHED if state.manager.is_over else None
        request = state.request(spec)
        if not state.may_start(request):
            self._held = spec
            return None
        self._held = None
        state.numbers[trial_id] = spec.number
        state.waiting[spec.number] = request
        return {
            "run": str(self._run),
            "mark": self._mark,
            "node": self._node,
            "number": spec.number,
            "config": spec.config.model_dump(),
            "params": spec.params,
            "recipe": spec.recipe,
            "compared_at": spec.compared_at,
            "request": request,
            "time_left": time_left(state.manager.deadline, state.manager.clock()),
            "report_seconds": report_seconds(state.allocator.slots),
            "lends": state.servers is not None,
            "lenders": state.lenders(request),
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the scheduler reports the end of a trial to the manager."""

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the run folder holds the state of the search."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the run folder holds the state of the search."""


class _Scheduler(NotPickled, FIFOScheduler):
    """Passes every report to the trial manager, and the manager's decision to Tune."""

    _supports_buffered_results = False

    def __init__(self, state: SharedState) -> None:
        super().__init__()
        self._state = state

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Choose none, and let Tune forget the trials that have ended, since it asks at each of its steps.

        A trial that is chosen gets a free worker even while its own worker starts, which Tune then kills, so
        that where trials are short a machine that joins would never get any. Where none is chosen, Tune
        gives a free worker to the next trial that has none.
        """
        for trial_id in forget_ended(tune_controller):
            self._state.numbers.pop(trial_id, None)
        if self._state.shares_idle:
            release_workers(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number, cause = self._state.numbers[trial.trial_id], None
        with self._state.noting_errors():
            cause = self._follow(number, self._state.receive(number, result))
            if cause is not None:
                self._state.manager.on_stop(number, cause)
        return str(TrialScheduler.CONTINUE if cause is None else TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        number = self._state.numbers[trial.trial_id]
        with self._state.noting_errors():
            self._end(number, self._state.receive(number, result))

    def _end(self, number: int, step: "WorkerReport") -> None:
        """Pass the end of a trial to the manager."""
        state = self._state
        config = state.config_of(number)
        if config is None:
            return
        self._follow(number, step)
        if step.failure is not None:
            if not state.runs_elsewhere(number, step.failure):
                state.manager.on_failure(number, step.failure)
            return
        state.manager.on_end(number)
        if state.manager.is_postponed(number):
            state.allocator.ran_out(config)

    def _follow(self, number: int, step: "WorkerReport") -> Cause | None:
        """Pass a worker's report to manager and allocator; returns the cause to stop, or None to go on."""
        state = self._state
        if step.opened is not None:
            state.manager.on_open(number, step.opened, device=step.device)
        config = state.config_of(number)
        if step.opened is not None and config is not None:
            state.allocator.opened(config)
        if step.memory is not None:
            state.note_memory(number, step.memory, has_trained=bool(step.epochs) or step.is_end)
        if step.waits_for:
            state.manager.on_waiting(number, step.waits_for, is_elsewhere=step.waits_elsewhere)
        for report in step.epochs:
            cause = state.manager.on_epoch(
                number,
                report.epoch,
                report.value,
                report.scalars,
                report.collapsed,
                report.fold_values,
                step.epoch_seconds,
            )
            if cause is not None:
                return cause
        return None


class _TimeIsUp(NotPickled, tune.Stopper):
    """Ends even trials that report nothing. Tune's own time limit is counted on the wall clock."""

    def __init__(self, manager: TrialManager) -> None:
        self._clock, self._at = manager.clock, _last_moment(manager)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._at is not None and self._clock() >= self._at


class _NoReporter(tune.ProgressReporter):
    """Reports nothing. In a notebook Tune takes one of its own otherwise, which clears the cell's output."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return False


def run_trials(
    manager: TrialManager,
    run: RunFolder,
    resources: Resources,
    *,
    make_runner: Callable[..., Runner] | None = None,
    ends_process: bool = True,
) -> None:
    """Run all trials of a search; returns when they are done, the time is up, or the user has stopped it.

    Args:
        manager: Manager of the trials; its `is_stopping` is True after Ctrl-C, or `StopSearch` of a callback.
        run: The run folder.
        resources: Resources of one trial.
        make_runner: Function called in a worker with the arguments of `TrialRunner`, which is taken without
            one; a benchmark passes one whose trials do not train. All machines see its run folder.
        ends_process: End this process if Ray does not answer after an interrupt.

    Raises:
        MachineError: If the machine fails the search: no trial can run, or the run folder cannot be written.
    """
    os.environ.update(_QUIET)
    survive_out_of_memory()
    take_waiting_workers()
    # Failed trials are in our records; Tune's list of them would break the live view.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    scratch, mark = run.ray_scratch, uuid.uuid4().hex
    depot = DepotKeeper(run, mark) if make_runner is None else None
    servers = FeatureServers(mark) if resources.lends_features else None
    state = SharedState(
        manager,
        _allocator(manager, resources),
        {},
        {},
        depot=depot,
        servers=servers,
        newcomers=_newcomers(resources),
    )
    if resources.shares_features or resources.lends_features:
        manager.worker_time.resize(state.allocator.workers_expected)
    board = KeyValueBoard()
    ear = Ear(board, lambda: list(manager.running))
    tuner = tune.Tuner(
        _trainable(make_runner),
        tune_config=tune.TuneConfig(
            search_alg=_Searcher(state, run.path.resolve(), mark if depot else "", this_node()),
            scheduler=_Scheduler(state),
            num_samples=-1,
            max_concurrent_trials=_MOST_PENDING,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch.resolve()),
            verbose=0,
            stop=_TimeIsUp(manager),
            callbacks=[FollowedWorkers(state, ear, board), NoTrialProgress()],
            progress_reporter=_NoReporter(),
            # The trial manager hands out the trials of dead workers again, with the resources they need.
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    line = Lifeline(
        str(ray.get_runtime_context().gcs_address),
        manager.say,
        run.resume_command,
        end_program if ends_process else lambda code: None,
        overdue_at=_last_moment(manager),
        clock=manager.clock,
    )
    with (
        interruptible(manager, ends_process=ends_process),
        watched(line),
        ear.listening(),
    ):
        try:
            if depot is not None:
                depot.begin()
            tuner.fit()
        except Exception as error:
            manager.is_stopping = True
            fault = state.error or manager.fault
            if fault is not None or not manager.is_stop_asked:
                raise explained(fault or error, run) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            if depot is not None:
                depot.close()
            if servers is not None:
                servers.close()
            if state.newcomers is not None:
                state.newcomers.close()
            board.wipe()
        if manager.fault is not None:  # after Tune's last step, by another thread
            raise explained(manager.fault, run)
        if not manager.is_stopping:
            manager.end_late_trials()


def _allocator(manager: TrialManager, resources: Resources) -> ResourceAllocator:
    return ResourceAllocator(
        resources.cpus,
        resources.gpus,
        resources.machines,
        folds=manager.search.folds,
        slots=resources.slots,
        is_measured=resources.is_measured,
        workers=resources.workers,
        shares_features=resources.shares_features,
        lends_features=resources.lends_features,
        fixed_backbones=resources.fixed_backbones,
        bounds_memory=resources.bounds_memory,
        late_gpus=resources.late_gpus,
    )


def _newcomers(resources: Resources) -> Newcomers | None:
    if resources.shared_store is None:
        return None
    return Newcomers(resources.shared_store, [machine.node_id for machine in resources.machines])


def _trainable(make_runner: Callable[..., Runner] | None) -> Any:
    """The worker class; each trial asks for the resources in its own configuration."""
    given: dict[str, Any] = {"registered_objects": packed()}
    if make_runner is None:
        from orchestrator.tuning.ray_folds import FoldWorkers
        from orchestrator.tuning.trial_runner import TrialRunner

        make_runner = TrialRunner
        given["make_helpers"] = FoldWorkers
    # Tune makes the workers itself and gives them a configuration only, so the runner is part of the class.
    given["make_runner"] = staticmethod(make_runner)
    own = type("_Trainable", (Worker,), given)
    return tune.with_resources(own, lambda config: _as_placement(config["request"]))


def _as_placement(request: ResourceRequest) -> PlacementGroupFactory:
    asked = {"CPU": request.cpus, "GPU": request.gpus, "memory": request.memory_bytes}
    bundle = {name: amount for name, amount in asked.items() if amount or name == "CPU"}
    those = selected_machines(request)
    return PlacementGroupFactory([bundle], bundle_label_selector=[those] if those else None)


def _last_moment(manager: TrialManager) -> float | None:
    """Reading of the manager's clock at which Tune ends even trials that hang; None without a deadline."""
    if manager.deadline is None:
        return None
    return max(manager.clock() + 1.0, manager.deadline) + 2 * GRACE_SECONDS
