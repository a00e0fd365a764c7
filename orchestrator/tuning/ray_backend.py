"""The Ray Tune shell: one Searcher, one Trainable, one Scheduler around the conductor.

Tune schedules and keeps workers alive; what a trial is, how it ended and what it taught is the conductor's.
Tune's own experiment state is not used: the run folder is the truth, so a killed search resumes from it.
"""

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from ray import tune
from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune import PlacementGroupFactory
from ray.tune.execution import tune_controller
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cluster.resources import Machine
from orchestrator.tuning.allocation import ResourceAllocator, ResourceRequest
from orchestrator.tuning.interrupts import interruptible
from orchestrator.tuning.trial_manager import GRACE_SECONDS, TrialManager, TrialSpec
from orchestrator.tuning.trial_runner import TrialRunner, WorkerReport
from results.run.records import Cause
from results.run.run_folder import RunFolder
from trainables.config.trial_config import TrialConfig

_QUIET: Final = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "600",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "600",
    # Our state is the run folder; Tune's is written as rarely as it can be.
    "TUNE_GLOBAL_CHECKPOINT_S": "600",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints a table even when it is told to be silent
}


@dataclass(frozen=True, slots=True)
class Resources:
    """What one trial is given, and how many run at once.

    Attributes:
        cpus: CPU cores of a trial.
        gpus: GPUs of a trial, a fraction where several share one.
        slots: Trials at once.
        machines: What Ray runs on; empty where it is not known.
        is_measured: GPUs are shared as trials are measured to need, not by `gpus`.
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

    def setup(self, config: dict[str, Any]) -> None:
        logging.getLogger("ray").setLevel(logging.ERROR)
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        step = self.runner.step()
        return {"step": step, "done": step.is_end}

    def _start(self, config: dict[str, Any]) -> None:
        self.runner = type(self).make_runner(
            RunFolder(Path(config["run"])),
            config["number"],
            TrialConfig.model_validate(config["config"]),
            config["params"],
            gpus=config["request"].gpus,
            cpus=config["request"].cpus,
            deadline=config["deadline"],
        )


@dataclass(frozen=True, slots=True)
class _SharedState:
    """What Searcher, Scheduler and callback share.

    Attributes:
        manager: Leads the trials.
        packing: What each is given.
        numbers: Tune's name of a trial -> our number.
        waiting: Number -> what a trial asks for whose worker does not run yet.
    """

    manager: TrialManager
    packing: ResourceAllocator
    numbers: dict[str, int]
    waiting: dict[int, ResourceRequest]

    def config_of(self, number: int) -> TrialConfig | None:
        trial = self.manager.running.get(number)
        return trial.spec.config if trial else None


class _NotPickled:
    """Tune pickles searcher and scheduler for a state that we do not use; ours are left out of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "_NotPickled":
        return self


class _Searcher(_NotPickled, Searcher):
    """Hands Tune what the conductor hands out."""

    def __init__(self, desk: _SharedState, run: Path) -> None:
        super().__init__()
        self._desk, self._run = desk, run
        self._held: TrialSpec | None = None

    def suggest(self, trial_id: str) -> Any:
        """The next trial, `FINISHED`, or None for not now."""
        desk = self._desk
        if desk.manager.is_over:
            return Searcher.FINISHED
        spec = self._held or desk.manager.next()
        if spec is None:
            return Searcher.FINISHED if desk.manager.is_over else None
        request = desk.packing.alone() if spec.is_alone else desk.packing.request(spec.config)
        # Small trials that go ahead would keep a large one from ever finding its room.
        if any(waiting.is_larger_than(request) for waiting in desk.waiting.values()):
            self._held = spec
            return None
        self._held = None
        desk.numbers[trial_id] = spec.number
        desk.waiting[spec.number] = request
        return {
            "run": str(self._run),
            "number": spec.number,
            "config": spec.config.model_dump(),
            "params": spec.params,
            "request": request,
            "deadline": desk.manager.deadline,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The scheduler has told the conductor already."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing of ours is in Tune's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing of ours is in Tune's state."""


class _Scheduler(_NotPickled, FIFOScheduler):
    """Passes every report to the conductor, and the conductor's word to Tune."""

    _supports_buffered_results = False

    def __init__(self, desk: _SharedState) -> None:
        super().__init__()
        self._desk = desk

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = self._desk.numbers[trial.trial_id]
        cause = self._follow(number, result["step"])
        if cause is None:
            return str(TrialScheduler.CONTINUE)
        self._desk.manager.on_stop(number, cause)
        return str(TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        number, desk = self._desk.numbers[trial.trial_id], self._desk
        config = desk.config_of(number)
        if config is not None:
            self._follow(number, result["step"])
            desk.manager.on_end(number)
            if desk.manager.is_postponed(number):
                desk.packing.ran_out(config)

    def _follow(self, number: int, step: WorkerReport) -> Cause | None:
        """Tell what a worker told; returns the reason to stop its trial, or None to go on."""
        desk = self._desk
        if step.opened is not None:
            desk.manager.on_open(number, step.opened, device=step.device)
        config = desk.config_of(number)
        if step.memory is not None and config is not None:
            desk.manager.on_memory(number, step.memory.peak_bytes)
            desk.packing.measured(config, step.memory.peak_bytes, step.memory.total_bytes)
        for report in step.epochs:
            cause = desk.manager.on_epoch(
                number, report.epoch, report.value, report.scalars, report.collapsed
            )
            if cause is not None:
                return cause
        return None


class _Workers(_NotPickled, tune.Callback):
    """Sees workers start, and tells the conductor of those that died."""

    def __init__(self, desk: _SharedState) -> None:
        self._desk = desk

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._desk.waiting.pop(self._desk.numbers[trial.trial_id], None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        desk, number = self._desk, self._desk.numbers[trial.trial_id]
        desk.waiting.pop(number, None)
        config = desk.config_of(number)
        if config is not None:
            message = _last_words(trial)
            desk.manager.on_worker_lost(number, cause_of_loss(message), message)
            if desk.manager.is_postponed(number):
                desk.packing.ran_out(config)


def cause_of_loss(message: str) -> Cause:
    """Tell a kill for want of memory from any other death of a worker.

    Args:
        message: What Ray says. Of every death it says that the system may have been out of memory; only of
            its own kills that the node was "running low on memory".
    """
    return "out_of_memory" if "running low on memory" in message else "lost_worker"


def _last_words(trial: Any) -> str:
    """What Ray says of the last death of a trial's worker, without the list of all processes."""
    try:
        text = Path(trial.error_file).read_text()
    except (OSError, TypeError):
        return "the worker process died"
    last = text.rpartition("Failure # ")[2]
    lines = last.partition("\n")[2].strip().splitlines()
    return "\n".join(lines[:3])[:1000] or "the worker process died"


def run_trials(
    manager: TrialManager,
    run: RunFolder,
    resources: Resources,
    *,
    make_runner: Callable[..., Runner] = TrialRunner,
) -> None:
    """Run all trials of a search; returns when they are done, the time is up, or Ctrl-C was pressed.

    Args:
        manager: Hands out, follows and records the trials; its `is_stopping` is True after Ctrl-C.
        run: The run folder.
        resources: What one trial is given.
        make_runner: Called in a worker as `TrialRunner` is; a benchmark puts trials without training here.
    """
    os.environ.update(_QUIET)
    _survive_out_of_memory()
    # Failed trials are in our records; Tune's list of them would tear the live view.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    scratch = run.path / ".ray"
    desk = _SharedState(manager, _packing(manager, resources), {}, {})
    tuner = tune.Tuner(
        _trainable(make_runner),
        tune_config=tune.TuneConfig(
            search_alg=_Searcher(desk, run.path.resolve()),
            scheduler=_Scheduler(desk),
            num_samples=-1,
            max_concurrent_trials=resources.slots,
            reuse_actors=True,
            time_budget_s=_hard_limit(manager),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch.resolve()),
            verbose=0,
            callbacks=[_Workers(desk)],
            # The conductor hands trials of dead workers out again, with the room that they need.
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    with interruptible(manager):
        try:
            tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if not manager.is_stopping:
            manager.end_late_trials()


def _packing(manager: TrialManager, resources: Resources) -> ResourceAllocator:
    return ResourceAllocator(
        resources.cpus,
        resources.gpus,
        resources.machines,
        folds=manager.search.folds,
        slots=resources.slots,
        is_measured=resources.is_measured,
    )


def _trainable(make_runner: Callable[..., Runner]) -> Any:
    """The worker class; each trial asks for what its own configuration says."""
    own = type("_Trainable", (_Trainable,), {"make_runner": staticmethod(make_runner)})
    return tune.with_resources(own, lambda config: _as_placement(config["request"]))


def _as_placement(request: ResourceRequest) -> PlacementGroupFactory:
    asked = {"CPU": request.cpus, "GPU": request.gpus, "memory": request.memory_bytes}
    return PlacementGroupFactory(
        [{name: amount for name, amount in asked.items() if amount or name == "CPU"}]
    )


def _hard_limit(manager: TrialManager) -> float | None:
    """Seconds after which even a trial that reports nothing is ended."""
    if manager.deadline is None:
        return None
    return max(1.0, manager.deadline - manager.clock()) + 2 * GRACE_SECONDS


def _survive_out_of_memory() -> None:
    """Make Ray's out-of-memory kill an error of its trial; in Ray 2.60 it ends the whole `fit()`."""
    for module in (actor_manager, tune_controller):
        vars(module)["RayActorError"] = (RayActorError, OutOfMemoryError)
