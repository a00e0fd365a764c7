"""The Ray Tune backend: one Searcher, one Trainable and one Scheduler around the trial manager.

Tune schedules and keeps workers alive; the trial manager decides what runs, what stops and what is recorded.
Tune's own experiment state is not used: the run folder is the truth, so a killed search resumes from it.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import ray
from ray import tune
from ray.tune import PlacementGroupFactory
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cluster.resources import Machine
from orchestrator.callbacks import StopSearch
from orchestrator.tuning.allocation import ResourceAllocator, ResourceRequest
from orchestrator.tuning.heartbeat import Ear, Heart
from orchestrator.tuning.interrupts import interruptible
from orchestrator.tuning.lifeline import Lifeline, end_program, watched
from orchestrator.tuning.ray_failures import cause_of_loss, explained, last_words
from orchestrator.tuning.ray_private import KeyValueBoard, end_worker, survive_out_of_memory
from orchestrator.tuning.time_limit import deadline_here, time_left
from orchestrator.tuning.trial_manager import GRACE_SECONDS, TrialManager, TrialSpec
from orchestrator.tuning.trial_runner import TrialRunner, WorkerReport
from results.run.records import Cause
from results.run.run_folder import RunFolder
from trainables.common.progress import work_done
from trainables.common.registered import packed, unpack
from trainables.config.trial_config import TrialConfig

_QUIET: Final = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "600",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "600",
    # Our state is the run folder; Tune's is written as rarely as it can be.
    "TUNE_GLOBAL_CHECKPOINT_S": "600",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints a table even with verbose=0
}


_LOOK_SECONDS: Final = 1.0  # between two looks for workers that hang


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of one trial, and the number of trials at once.

    Attributes:
        cpus: Number of CPU cores of a trial.
        gpus: Number of GPUs of a trial, a fraction if several share one.
        slots: Number of trials at once.
        machines: Machines that Ray runs on; empty if they are not known.
        is_measured: Each trial gets a share of a GPU by its measured need, not `gpus`.
    """

    cpus: float
    gpus: float
    slots: int
    machines: tuple[Machine, ...] = ()
    is_measured: bool = False


class Runner(Protocol):
    """Runs one trial step by step, in a worker; `TrialRunner` in a search."""

    def step(self) -> WorkerReport: ...


class _Trainable(tune.Trainable):
    """A worker process that runs one trial after another."""

    make_runner: Callable[..., Runner] = TrialRunner
    registered_objects: bytes = b""  # what the program that started the search has registered

    def setup(self, config: dict[str, Any]) -> None:
        logging.getLogger("ray").setLevel(logging.ERROR)
        if self.registered_objects:
            unpack(self.registered_objects)
        self.heart = Heart(KeyValueBoard(), work_done)
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        step = self.runner.step()
        return {"step": step, "done": step.is_end}

    def cleanup(self) -> None:
        self.heart.stop()

    def _start(self, config: dict[str, Any]) -> None:
        self.heart.beats_for(config["number"])
        self.runner = type(self).make_runner(
            RunFolder(Path(config["run"])),
            config["number"],
            TrialConfig.model_validate(config["config"]),
            config["params"],
            compared_at=config["compared_at"],
            gpus=config["request"].gpus,
            cpus=config["request"].cpus,
            deadline=deadline_here(config["time_left"]),
        )


@dataclass(slots=True)
class _SharedState:
    """State shared by searcher, scheduler and callback.

    Tune takes errors that these three raise for failures of the trial at hand, or wraps them in its own. So
    they note an error here, and the search stops with it after the step.

    Attributes:
        manager: Manager of the trials.
        allocator: Allocator of resources.
        numbers: Tune's trial id -> trial number.
        waiting: Trial number -> resources of a trial whose worker does not run yet.
        error: First error of searcher, scheduler or callback.
    """

    manager: TrialManager
    allocator: ResourceAllocator
    numbers: dict[str, int]
    waiting: dict[int, ResourceRequest]
    error: Exception | None = None

    @contextmanager
    def noting_errors(self) -> Iterator[None]:
        """Note an error, and hand out no further trial after it."""
        try:
            yield
        except Exception as error:
            self.error = self.error or error
            self.manager.is_stopping = True

    def config_of(self, number: int) -> TrialConfig | None:
        trial = self.manager.running.get(number)
        return trial.spec.config if trial else None


class _NotPickled:
    """A base class of objects that Tune pickles as empty and does not copy.

    Tune pickles searcher and scheduler for its own experiment state, which we do not use, and copies its
    settings. Ours hold the study and the live view: pickling them would fail, and a copy would work on a
    state of its own.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "_NotPickled":
        return self


class _Searcher(_NotPickled, Searcher):
    """Gives Tune the trials that the manager hands out."""

    def __init__(self, state: _SharedState, run: Path) -> None:
        super().__init__()
        self._state, self._run = state, run
        self._held: TrialSpec | None = None

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
        spec = self._held or state.manager.next()
        if spec is None:
            return Searcher.FINISHED if state.manager.is_over else None
        request = state.allocator.alone() if spec.is_alone else state.allocator.request(spec.config)
        # A large trial waits for enough free resources: smaller ones that start first would take them again
        # and again. So the next trial is held until every larger one runs.
        if any(waiting.is_larger_than(request) for waiting in state.waiting.values()):
            self._held = spec
            return None
        self._held = None
        state.numbers[trial_id] = spec.number
        state.waiting[spec.number] = request
        return {
            "run": str(self._run),
            "number": spec.number,
            "config": spec.config.model_dump(),
            "params": spec.params,
            "compared_at": spec.compared_at,
            "request": request,
            "time_left": time_left(state.manager.deadline, state.manager.clock()),
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the scheduler reports the end of a trial to the manager."""

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the run folder holds the state of the search."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the run folder holds the state of the search."""


class _Scheduler(_NotPickled, FIFOScheduler):
    """Passes every report to the trial manager, and the manager's decision to Tune."""

    _supports_buffered_results = False

    def __init__(self, state: _SharedState) -> None:
        super().__init__()
        self._state = state

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number, cause = self._state.numbers[trial.trial_id], None
        with self._state.noting_errors():
            cause = self._follow(number, result["step"])
            if cause is not None:
                self._state.manager.on_stop(number, cause)
        return str(TrialScheduler.CONTINUE if cause is None else TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        number = self._state.numbers[trial.trial_id]
        with self._state.noting_errors():
            self._end(number, result["step"])

    def _end(self, number: int, step: WorkerReport) -> None:
        """Pass the end of a trial to the manager."""
        state = self._state
        config = state.config_of(number)
        if config is None:
            return
        self._follow(number, step)
        if step.failure is not None:
            state.manager.on_failure(number, step.failure)
            return
        state.manager.on_end(number)
        if state.manager.is_postponed(number):
            state.allocator.ran_out(config)

    def _follow(self, number: int, step: WorkerReport) -> Cause | None:
        """Pass a worker's report to manager and allocator; returns the cause to stop, or None to go on."""
        state = self._state
        if step.opened is not None:
            state.manager.on_open(number, step.opened, device=step.device)
        config = state.config_of(number)
        if step.memory is not None and config is not None:
            state.manager.on_memory(number, step.memory.peak_bytes)
            state.allocator.measured(config, step.memory.peak_bytes, step.memory.total_bytes)
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


class _Workers(_NotPickled, tune.Callback):
    """Notes the start of workers, reports dead ones to the trial manager, and ends those that hang."""

    def __init__(self, state: _SharedState, ear: Ear) -> None:
        self._state, self._ear, self._looked_at = state, ear, time.monotonic()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = self._state.numbers[trial.trial_id]
        self._state.waiting.pop(number, None)
        self._state.manager.on_worker_start(number)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        state, number = self._state, self._state.numbers[trial.trial_id]
        state.waiting.pop(number, None)
        config = state.config_of(number)
        if config is not None:
            message = last_words(trial)
            with state.noting_errors():
                state.manager.on_worker_lost(number, cause_of_loss(message), message)
            if state.manager.is_postponed(number):
                state.allocator.ran_out(config)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Stop the search if something is wrong with it; end workers that hang."""
        state = self._state
        if state.error is not None:
            raise state.error
        if state.manager.fault is not None:
            raise state.manager.fault
        if state.manager.is_stop_asked:
            raise StopSearch
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            hung = [] if self._ear.is_deaf else state.manager.hung(self._ear.heard())
            for trial in trials:
                if not trial.is_finished() and state.numbers.get(trial.trial_id) in hung:
                    end_worker(trial)


class _TimeIsUp(_NotPickled, tune.Stopper):
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
    make_runner: Callable[..., Runner] = TrialRunner,
    ends_process: bool = True,
) -> None:
    """Run all trials of a search; returns when they are done, the time is up, or the user has stopped it.

    Args:
        manager: Manager of the trials; its `is_stopping` is True after Ctrl-C, or `StopSearch` of a callback.
        run: The run folder.
        resources: Resources of one trial.
        make_runner: Function called in a worker with the arguments of `TrialRunner`; a benchmark passes one
            whose trials do not train.
        ends_process: End this process if Ray does not answer after an interrupt.

    Raises:
        MachineError: If the machine fails the search: no trial can run, or the run folder cannot be written.
    """
    os.environ.update(_QUIET)
    survive_out_of_memory()
    # Failed trials are in our records; Tune's list of them would break the live view.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    scratch = run.path / ".ray"
    state = _SharedState(manager, _allocator(manager, resources), {}, {})
    board = KeyValueBoard()
    ear = Ear(board, lambda: list(manager.running))
    tuner = tune.Tuner(
        _trainable(make_runner),
        tune_config=tune.TuneConfig(
            search_alg=_Searcher(state, run.path.resolve()),
            scheduler=_Scheduler(state),
            num_samples=-1,
            max_concurrent_trials=resources.slots,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch.resolve()),
            verbose=0,
            stop=_TimeIsUp(manager),
            callbacks=[_Workers(state, ear)],
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
            tuner.fit()
        except Exception as error:
            manager.is_stopping = True
            fault = state.error or manager.fault
            if fault is not None or not manager.is_stop_asked:
                raise explained(fault or error, run) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            board.wipe()
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
    )


def _trainable(make_runner: Callable[..., Runner]) -> Any:
    """The worker class; each trial asks for the resources in its own configuration."""
    # Tune makes the workers itself and gives them a configuration only, so the runner is part of the class.
    given = {"make_runner": staticmethod(make_runner), "registered_objects": packed()}
    own = type("_Trainable", (_Trainable,), given)
    return tune.with_resources(own, lambda config: _as_placement(config["request"]))


def _as_placement(request: ResourceRequest) -> PlacementGroupFactory:
    asked = {"CPU": request.cpus, "GPU": request.gpus, "memory": request.memory_bytes}
    return PlacementGroupFactory(
        [{name: amount for name, amount in asked.items() if amount or name == "CPU"}]
    )


def _last_moment(manager: TrialManager) -> float | None:
    """Reading of the manager's clock at which Tune ends even trials that hang; None without a deadline."""
    if manager.deadline is None:
        return None
    return max(manager.clock() + 1.0, manager.deadline) + 2 * GRACE_SECONDS
