"""The Ray Tune shell: one Searcher, one Trainable, one Scheduler around the conductor.

Tune schedules and keeps workers alive; what a trial is, how it ended and what it taught is the conductor's.
Tune's own experiment state is not used: the run folder is the truth, so a killed search resumes from it.
"""

import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from ray import tune
from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import tune_controller
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from orchestrator.conductor import GRACE_SECONDS, Conductor
from orchestrator.worker import Step, TrialRunner
from results.records import Cause
from results.store import RunFolder
from trainables.config import TrialConfig

_RETRIES: Final = 2  # for lost workers only; a trial's own failures are records, not errors
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
    """

    cpus: float
    gpus: float
    slots: int


class _Trainable(tune.Trainable):
    """A worker process that runs one trial after another."""

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
        self.runner = TrialRunner(
            RunFolder(Path(config["run"])),
            config["number"],
            TrialConfig.model_validate(config["config"]),
            config["params"],
            gpus=config["gpus"],
            cpus=config["cpus"],
            deadline=config["deadline"],
        )


class _NotPickled:
    """Tune pickles searcher and scheduler for a state that we do not use; ours are left out of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "_NotPickled":
        return self


class _Searcher(_NotPickled, Searcher):
    """Hands Tune what the conductor hands out; remembers which Tune trial is which of ours."""

    def __init__(
        self, conductor: Conductor, run: Path, resources: Resources, numbers: dict[str, int]
    ) -> None:
        super().__init__()
        self._conductor, self._run, self._resources, self._numbers = conductor, run, resources, numbers

    def suggest(self, trial_id: str) -> Any:
        proposal = self._conductor.next()
        if proposal is None:
            return Searcher.FINISHED
        self._numbers[trial_id] = proposal.number
        return {
            "run": str(self._run),
            "number": proposal.number,
            "config": proposal.config.model_dump(),
            "params": proposal.params,
            "cpus": self._resources.cpus,
            "gpus": self._resources.gpus,
            "deadline": self._conductor.deadline,
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

    def __init__(self, conductor: Conductor, numbers: dict[str, int]) -> None:
        super().__init__()
        self._conductor, self._numbers = conductor, numbers

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number, step = self._numbers[trial.trial_id], result["step"]
        if step.opened is not None:
            self._conductor.opened(number, step.opened)
        cause = self._follow(number, step)
        if cause is None:
            return str(TrialScheduler.CONTINUE)
        self._conductor.stopped(number, cause)
        return str(TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        number = self._numbers[trial.trial_id]
        if number in self._conductor.running:
            self._follow(number, result["step"])
            self._conductor.ended(number)

    def _follow(self, number: int, step: Step) -> Cause | None:
        report = step.epoch
        if report is None:
            return None
        return self._conductor.epoch(number, report.epoch, report.value, report.scalars, report.collapsed)


class _Losses(_NotPickled, tune.Callback):
    """Tells the conductor of a trial whose worker died once more than Tune retries."""

    def __init__(self, conductor: Conductor, numbers: dict[str, int]) -> None:
        self._conductor, self._numbers = conductor, numbers

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = self._numbers[trial.trial_id]
        if number in self._conductor.running:
            message = _last_words(trial)
            self._conductor.lost(number, cause_of_loss(message), message)


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


def run_trials(conductor: Conductor, run: RunFolder, resources: Resources) -> None:
    """Run all trials of a search; returns when they are done, the time is up, or Ctrl-C was pressed.

    Args:
        conductor: Hands out, follows and records the trials; its `is_stopping` is True after Ctrl-C.
        run: The run folder.
        resources: What one trial is given.
    """
    os.environ.update(_QUIET)
    _survive_out_of_memory()
    # Failed trials are in our records; Tune's list of them would tear the live view.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    scratch = run.path / ".ray"
    numbers: dict[str, int] = {}
    trainable = tune.with_resources(_Trainable, {"CPU": resources.cpus, "GPU": resources.gpus})
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=_Searcher(conductor, run.path.resolve(), resources, numbers),
            scheduler=_Scheduler(conductor, numbers),
            num_samples=-1,
            max_concurrent_trials=resources.slots,
            reuse_actors=True,
            time_budget_s=_hard_limit(conductor),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch.resolve()),
            verbose=0,
            callbacks=[_Losses(conductor, numbers)],
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    with _interruptible(conductor):
        try:
            tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if not conductor.is_stopping:
            conductor.end_late_trials()


def _hard_limit(conductor: Conductor) -> float | None:
    """Seconds after which even a trial that reports nothing is ended."""
    if conductor.deadline is None:
        return None
    return max(1.0, conductor.deadline - conductor.clock()) + 2 * GRACE_SECONDS


@contextmanager
def _interruptible(conductor: Conductor) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the search cleanly: Tune stops its trials, the caller sees `is_stopping`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def remember(number: int, frame: FrameType | None) -> None:
        # Tune installs its own handler inside fit(); it calls this one when Ctrl-C comes a second time.
        conductor.is_stopping = True
        raise KeyboardInterrupt

    def terminate(number: int, frame: FrameType | None) -> None:
        conductor.is_stopping = True
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, remember)
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        conductor.is_stopping = True
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
        if conductor.running:
            conductor.is_stopping = True


def _survive_out_of_memory() -> None:
    """Make Ray's out-of-memory kill an error of its trial; in Ray 2.60 it ends the whole `fit()`."""
    for module in (actor_manager, tune_controller):
        vars(module)["RayActorError"] = (RayActorError, OutOfMemoryError)
