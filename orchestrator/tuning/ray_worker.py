"""The worker of Ray Tune: one process that runs one trial after another, on whichever machine it is."""

import functools
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ray import tune

from orchestrator.study.trial_spec import TrialFailure
from orchestrator.tuning.heartbeat import Heart
from orchestrator.tuning.node_copy import NodeCopy, own_folder, sees
from orchestrator.tuning.parcel import Parcel
from orchestrator.tuning.preemption import DEPARTURE
from orchestrator.tuning.ray_depot import find_depot, this_node
from orchestrator.tuning.ray_features import RayLender
from orchestrator.tuning.ray_private import KeyValueBoard, is_leaving
from orchestrator.tuning.run_copy import RunCopy
from orchestrator.tuning.time_limit import deadline_here
from results.run.run_folder import RunFolder
from trainables.common.progress import work_done
from trainables.common.registered import unpack
from trainables.config.trial_config import TrialConfig

if TYPE_CHECKING:  # it imports torch, which the workers of a benchmark that trains nothing do without
    from orchestrator.tuning.trial_runner import WorkerReport

_LOOK_SECONDS: Final = 0.2  # until the depot has been started
_CLUSTER_SECONDS: Final = 5.0  # between two looks of a worker at its own machine


class Runner(Protocol):
    """Runs one trial step by step, in a worker; `TrialRunner` in a search."""

    def step(self) -> "WorkerReport": ...


class Worker(tune.Trainable):
    """A worker process that runs one trial after another.

    A worker that sees the run folder of its search reads and writes it. Any other reads a copy that its
    machine takes from the depot of the run, and what its trial leaves goes back with its reports.
    """

    make_runner: Callable[..., Runner]
    registered_objects: bytes = b""  # what the program that started the search has registered

    def setup(self, config: dict[str, Any]) -> None:
        logging.getLogger("ray").setLevel(logging.ERROR)
        if self.registered_objects:
            unpack(self.registered_objects)
        self._copy: NodeCopy | None = None
        self._has_seen = False  # it is the same folder for all trials of a worker
        DEPARTURE.listen()
        self._heart = Heart(KeyValueBoard(), work_done)
        self._looked_at = time.monotonic()
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        if time.monotonic() - self._looked_at >= _CLUSTER_SECONDS:
            self._looked_at = time.monotonic()
            if is_leaving():
                DEPARTURE.ask()
        step = self._step()
        parcel = None if self._away is None else self._away.leave()
        return result_of(step, parcel, self._holder(step))

    def cleanup(self) -> None:
        self._heart.stop()
        if self._copy is not None:
            self._copy.close()

    def _start(self, config: dict[str, Any]) -> None:
        DEPARTURE.begun()
        self._heart.beats_for(config["number"])
        self._config = config
        self._away: RunCopy | None = None
        self._run: RunFolder | RunCopy | None = None
        self.runner: Runner | None = None
        run = RunFolder(Path(config["run"]))
        self._has_seen = self._has_seen or (self._copy is None and self._sees(run))
        if self._has_seen:
            self.runner = self._runner(run)

    def _sees(self, run: RunFolder) -> bool:
        """Tell whether this worker sees the run folder; on the machine of its owner nobody looks."""
        mark, node = self._config.get("mark", ""), self._config.get("node", "")
        return not mark or this_node() == node or sees(run, mark)

    def _holder(self, step: "WorkerReport") -> tuple[str, str] | None:
        """This machine and its store, if the trial has just opened features that may be lent from there."""
        if not self._config["lends"] or step.opened is None or step.opened.note or self._run is None:
            return None
        return this_node(), self._run.local.search().store

    def _runner(self, run: RunFolder | RunCopy) -> Runner:
        config, self._run = self._config, run
        lenders = config["lenders"]
        return type(self).make_runner(
            run,
            config["number"],
            TrialConfig.model_validate(config["config"]),
            config["params"],
            compared_at=config["compared_at"],
            gpus=config["request"].gpus,
            cpus=config["request"].cpus,
            deadline=deadline_here(config["time_left"]),
            report_seconds=config["report_seconds"],
            lender=RayLender(lenders) if lenders else None,
        )

    def _step(self) -> "WorkerReport":
        if self.runner is not None:
            return _named(self.runner.step(), is_away=self._away is not None)
        try:
            return self._fill()
        except Exception as error:  # as in a trial: its cause is told, and another machine may do better
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            from orchestrator.tuning.trial_runner import WorkerReport

            # A full disk here is not that of the run folder, which would end the search.
            failure = TrialFailure("environment", reason, is_disk_full=False)
            return _named(WorkerReport(is_end=True, failure=failure), is_away=True)

    def _fill(self) -> "WorkerReport":
        """Fill this machine, then go on as a worker that sees the folder does."""
        from orchestrator.tuning.trial_runner import WorkerReport

        depot = find_depot(self._config["mark"])
        if depot is None:
            time.sleep(_LOOK_SECONDS)
            return WorkerReport(needs_depot=True)
        if self._copy is None:
            self._copy = NodeCopy(self._config["mark"], own_folder())
        self._away = RunCopy(self._copy.fill(depot), self._config["number"], depot)
        self.runner = self._runner(self._away)
        return WorkerReport()


def result_of(
    step: "WorkerReport", parcel: Parcel | None = None, holder: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Return a report as Tune takes it, with what the trial leaves and who holds its features, if any."""
    also = {"parcel": parcel, "holder": holder}
    found = {name: value for name, value in also.items() if value is not None}
    return {"step": step, "done": step.is_end, **found}


@functools.cache
def _host() -> str:
    return socket.gethostname()


def _named(report: "WorkerReport", *, is_away: bool) -> "WorkerReport":
    """Name the machine in the reason of a failure, since it need not be the user's own."""
    if report.failure is None or not is_away:
        return report
    return report.on_machine(_host())
