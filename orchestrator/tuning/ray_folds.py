"""Idle workers that train folds of a trial: Ray actors of the trial's own worker, which end with it.

The driver says how many a trial may have (`orchestrator.tuning.idle_workers`). They open the trial's features
while it goes on without them, then take over folds between two epochs. One that dies takes the state of its
folds along: the trial is handed out again and goes on from its checkpoint, as if its own worker had died.
"""

import dataclasses
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from orchestrator.preflight.run_data import open_run_data
from orchestrator.tuning.heartbeat import Heart
from orchestrator.tuning.ray_depot import this_node
from orchestrator.tuning.ray_failures import own_lines, was_taken_away
from orchestrator.tuning.ray_features import RayLender
from orchestrator.tuning.ray_private import KeyValueBoard, selected_machines
from orchestrator.tuning.ray_run import RunHere
from orchestrator.tuning.resource_request import ResourceRequest
from results.errors import RunError
from trainables.common.progress import work_done
from trainables.common.registered import packed, unpack
from trainables.common.remarks import remark_once
from trainables.common.text import first_line
from trainables.common.types import Float32Array
from trainables.config.trial_config import TrialConfig
from trainables.runtime.devices import choose_device, limit_threads
from trainables.runtime.memory import is_out_of_memory
from trainables.training.fold_states import State
from trainables.training.folds import NanLossError
from trainables.training.sequential import ExecutionMode
from trainables.training.spread import useful_places
from trainables.validation.fold_process import LostProcessError
from trainables.validation.fold_share import FoldShare

_DEPOT_SECONDS: Final = 30.0  # for the depot to be started
_LOOK_SECONDS: Final = 0.5
_LATE_SECONDS: Final = 30.0  # after which those that are ready begin without the others


class FoldWorker:
    """The actor: opens a trial on its machine, and trains what folds it is given.

    Args:
        config: What the trial's own worker was given.
        registered_objects: What the program that started the search has registered.
    """

    def __init__(self, config: dict[str, Any], registered_objects: bytes) -> None:
        unpack(registered_objects)
        self._config, self._here = config, RunHere(config["run"], config["mark"], config["node"])
        self._share: FoldShare | None = None
        self._heart = Heart(KeyValueBoard(), work_done)  # beside that of the trial's own worker

    def open(self, trial: dict[str, Any], request: ResourceRequest) -> str:
        """Open the features of a trial.

        Returns:
            Ray's name of the machine that this worker is on.

        Raises:
            OrchestrateError: If that cannot be done on this machine.
        """
        limit_threads(request.cpus)
        run = self._here.seen() or self._filled()
        search = run.local.search()
        config = TrialConfig.model_validate(trial)
        training_data, runtime = open_run_data(run.local, search, choose_device(request.gpus), config)
        lenders = self._config["lenders"]
        runtime = dataclasses.replace(runtime, lender=RayLender(lenders) if lenders else None)
        self._share = FoldShare(config, training_data, runtime, seed=search.request.seed)
        return this_node()

    def begin(self, numbers: range, state: State, *, mode: ExecutionMode, seed: int) -> None:
        """Take over folds, as `FoldsElsewhere.begin`; from now on a hung helper is a hung trial."""
        self._heart.beats_for(self._config["number"])
        self._opened.begin(numbers, state, mode=mode, seed=seed)

    def epoch(self, epoch: int, *, active: Sequence[bool], losses: Sequence[float]) -> Any:
        """Train one epoch, as `FoldShare.epoch`."""
        return self._opened.epoch(epoch, active=active, losses=losses)

    def kept_states(self, fold: int) -> list[dict[str, Any]]:
        """Weights of a fold's models."""
        return self._opened.kept_states(fold)

    def state(self) -> State:
        """State of the folds."""
        return self._opened.state()

    @property
    def _opened(self) -> FoldShare:
        if self._share is None:
            raise RuntimeError("a trial is opened before its folds are taken over")
        return self._share

    def _filled(self) -> Any:
        ends = time.monotonic() + _DEPOT_SECONDS
        while (run := self._here.filled(self._config["number"])) is None:
            if time.monotonic() > ends:
                raise RunError("this machine does not see the run folder, and nobody serves it")
            time.sleep(_LOOK_SECONDS)
        return run


class RayFolds:
    """Folds of a trial that train in an actor; a `FoldsElsewhere`.

    Args:
        actor: Handle of a `FoldWorker` that has opened the trial.
        node: Ray's name of its machine.
    """

    def __init__(self, actor: Any, node: str = "") -> None:
        self.actor, self.node = actor, node
        self._asked: Any = None

    def begin(self, numbers: range, state: State, *, mode: ExecutionMode, seed: int) -> None:
        """Take over folds."""
        self._asked = self.actor.begin.remote(numbers, state, mode=mode, seed=seed)

    def wait(self) -> None:
        """Wait until the folds are taken over."""
        _helpers_answer(self._asked)

    def begin_epoch(self, epoch: int, *, active: Sequence[bool], losses: Sequence[float]) -> None:
        """Begin an epoch."""
        self._asked = self.actor.epoch.remote(epoch, active=list(active), losses=list(losses))

    def results(self) -> tuple[Float32Array, Float32Array]:
        """Return the losses of the epoch, shape (folds,), and probabilities, shape (rows, classes)."""
        losses, probabilities = _helpers_answer(self._asked)
        return losses, probabilities

    def kept_states(self, fold: int) -> list[dict[str, Any]]:
        """Weights of a fold's models."""
        found: list[dict[str, Any]] = _helpers_answer(self.actor.kept_states.remote(fold))
        return found

    def state(self) -> State:
        """State of the folds."""
        found: State = _helpers_answer(self.actor.state.remote())
        return found


class FoldWorkers:
    """The idle workers of one trial, from the offer of the driver to their end.

    Args:
        config: What the trial's own worker was given.
        start: Starts an actor that opens a trial; returns its handle, and a reference to the end of that.
            Injected for tests.

    Attributes:
        offered: Number of idle workers that the trial may have now.
        leaving: Ray's names of the machines that are about to be taken away.
    """

    def __init__(
        self,
        config: dict[str, Any],
        start: Callable[[dict[str, Any], dict[str, Any]], tuple[Any, Any]] | None = None,
    ) -> None:
        self._config, self._start = config, start or _started
        self.offered = 0
        self.leaving: Collection[str] = ()
        self._opening: list[tuple[Any, Any]] = []
        self._asked_at = 0.0
        self._ready: list[RayFolds] = []  # the first of them have folds
        self._taken = 0
        self._refused = 0

    @property
    def count(self) -> int:
        """Number of idle workers that train folds of the trial."""
        return self._taken

    def follow(self, config: TrialConfig, folds: int, spread: Callable[[Sequence[RayFolds]], None]) -> None:
        """Start what is offered, and hand folds to what is ready; give back what is offered no more.

        Called between two epochs.

        Args:
            config: Configuration that the trial trains.
            folds: Number of folds.
            spread: Spreads the folds over these places and the trial's own.
        """
        going = [place for place in self._ready if place.node in self.leaving]
        self._refused += len(going)  # there is no room for others in their stead
        wanted = useful_places(folds, 1 + max(0, self.offered - self._refused)) - 1
        self._give_back(wanted, going, spread)
        while len(self._ready) + len(self._opening) < wanted:
            self._opening.append(self._start(self._config, config.model_dump()))
            self._asked_at = time.monotonic()
        self._look()
        is_late = time.monotonic() - self._asked_at >= _LATE_SECONDS
        places = useful_places(folds, 1 + len(self._ready)) - 1
        if places > self._taken and (is_late or not self._opening):
            spread(self._ready[:places])
            self._taken = places

    def close(self) -> None:
        """End all of them; the trial has ended, or is to go on alone from its checkpoint."""
        for actor in [*(actor for actor, _ in self._opening), *(place.actor for place in self._ready)]:
            ray.kill(actor)
        self._opening, self._ready, self._taken = [], [], 0

    def _give_back(
        self, wanted: int, going: Sequence[RayFolds], spread: Callable[[Sequence[RayFolds]], None]
    ) -> None:
        """Take folds back from those that go and those that are too many, and end these workers."""
        before = self._ready
        stay = [place for place in before if place not in going][:wanted]
        if (kept := before[: self._taken]) != stay[: len(kept)]:
            self._taken = min(self._taken, len(stay))
            spread(stay[: self._taken])
        self._ready = stay
        while self._opening and len(stay) + len(self._opening) > wanted:
            ray.kill(self._opening.pop()[0])
        for place in reversed(before):
            if place not in stay:
                ray.kill(place.actor)

    def _look(self) -> None:
        """Take in those that have opened the trial, and note those that could not."""
        if not self._opening:
            return
        done, _ = ray.wait([ref for _, ref in self._opening], num_returns=len(self._opening), timeout=0)
        for actor, reference in [own for own in self._opening if own[1] in done]:
            self._opening.remove((actor, reference))
            try:
                node = _answer(reference)
            except Exception as error:  # the trial goes on as before
                reason = first_line(error)
                remark_once(f"an idle worker cannot help trial {self._config['number']}: {reason}")
                self._refused += 1
                ray.kill(actor)
            else:
                self._ready.append(RayFolds(actor, node))


def _started(config: dict[str, Any], trial: dict[str, Any]) -> tuple[Any, Any]:
    request = config["request"].for_folds()
    actor: Any = (
        ray.remote(FoldWorker)
        .options(
            num_cpus=request.cpus,
            num_gpus=request.gpus,
            memory=request.memory_bytes or None,
            scheduling_strategy="DEFAULT",  # not among the resources of the trial's own worker
            label_selector=selected_machines(request) or None,
        )
        .remote(config, packed())
    )
    return actor, actor.open.remote(trial, request)


def _helpers_answer(reference: Any) -> Any:
    """Wait for what a worker that trains folds returns.

    Raises:
        MemoryError: If its machine was out of memory.
        NanLossError: If a loss was no number.
        Exception: What else says that memory was too small, on its device.
        LostProcessError: If it died, or could not go on for any other reason. The trial's own machine and
            device have no part in it.
    """
    try:
        return _answer(reference)
    except (LostProcessError, NanLossError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = first_line(error)
        raise LostProcessError(
            f"a worker that trained folds of the trial failed ({reason})", is_helpers=True
        ) from error


def _answer(reference: Any) -> Any:
    """Wait for what an actor returns.

    Raises:
        MemoryError: If Ray ended the actor, since its machine was out of memory.
        LostProcessError: If the actor died otherwise.
        Exception: What was raised in the actor.
    """
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from error
    except OutOfMemoryError as error:
        raise MemoryError("a worker that trained folds of the trial ran out of memory") from error
    except RayError as error:  # it died, or its machine did before what it returned was here
        said = str(error).strip()
        reason = (own_lines(said) or [type(error).__name__])[-1]
        raise LostProcessError(
            f"a worker that trained folds of the trial died ({reason})",
            is_taken=was_taken_away(said),
            is_helpers=True,
        ) from error
