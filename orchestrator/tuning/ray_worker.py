"""The worker of Ray Tune: one process that runs one trial after another, on whichever machine it is."""

import contextlib
import functools
import logging
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from ray import tune

from orchestrator.study.trial_spec import TrialFailure
from orchestrator.tuning.heartbeat import Heart
from orchestrator.tuning.parcel import Parcel
from orchestrator.tuning.preemption import DEPARTURE
from orchestrator.tuning.ray_depot import this_node
from orchestrator.tuning.ray_features import RayLender
from orchestrator.tuning.ray_private import CLUSTER_SECONDS, KeyValueBoard, nodes_that_leave
from orchestrator.tuning.ray_run import RunHere
from orchestrator.tuning.run_copy import RunCopy
from orchestrator.tuning.time_limit import deadline_here
from results.run.run_folder import RunFolder
from trainables.common.files import LEAST_BYTES, is_disk_full, reserve
from trainables.common.progress import work_done
from trainables.common.registered import unpack
from trainables.common.remarks import remark_once, take_remarks
from trainables.common.text import first_line
from trainables.config.trial_config import TrialConfig

if TYPE_CHECKING:  # it imports torch, which the workers of a benchmark that trains nothing do without
    from orchestrator.tuning.worker_report import WorkerReport

_LOOK_SECONDS: Final = 0.2  # until the depot has been started
_SHORT_SECONDS: Final = 15.0  # that a trial runs before its worker asks for idle ones


class Runner(Protocol):
    """Runs one trial step by step, in a worker; `TrialRunner` in a search."""

    def step(self) -> "WorkerReport": ...


class FoldHelpers(Protocol):
    """Idle workers that train folds of a trial; `FoldWorkers` in a search.

    Attributes:
        offered: Number of them that the trial may have.
        leaving: Ray's names of the machines that are about to be taken away.
    """

    offered: int
    leaving: Collection[str]

    def close(self) -> None: ...


class Worker(tune.Trainable):
    """A worker process that runs one trial after another.

    A worker that sees the run folder of its search reads and writes it. Any other reads a copy that its
    machine takes from the depot of the run, and what its trial leaves goes back with its reports.
    """

    make_runner: Callable[..., Runner]
    make_helpers: Callable[[dict[str, Any]], FoldHelpers] | None = None
    registered_objects: bytes = b""  # what the program that started the search has registered

    def setup(self, config: dict[str, Any]) -> None:
        logging.getLogger("ray").setLevel(logging.ERROR)
        if self.registered_objects:
            unpack(self.registered_objects)
        self._here = RunHere(config["run"], config.get("mark", ""), config.get("node", ""))
        self._board = KeyValueBoard()
        DEPARTURE.say = lambda: self._board.leave(self._config["number"])
        DEPARTURE.listen()
        self._heart = Heart(self._board, work_done)
        self._looked_at = time.monotonic()
        self._helpers: FoldHelpers | None = None
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        if time.monotonic() - self._looked_at >= CLUSTER_SECONDS:
            self._looked_at = time.monotonic()
            leaving = nodes_that_leave()
            if this_node() in leaving:
                DEPARTURE.ask()
            self._look_for_helpers(leaving)
        step = self._of_its_disk(self._step())
        if step.is_end:
            self._end_helpers()
        parcel = None if self._away is None else self._away.leave()
        place = this_node() if step.is_end or step.epochs else None
        if step.failure is not None and step.failure.ends_worker:
            DEPARTURE.end_after_report()
        return result_of(step, parcel, self._holder(step), _remarks(_host()), place)

    def cleanup(self) -> None:
        self._heart.stop()
        self._end_helpers()
        self._here.close()

    def _start(self, config: dict[str, Any]) -> None:
        self._config, self._started_at = config, time.monotonic()
        DEPARTURE.begun()
        self._heart.beats_for(config["number"])
        self._end_helpers()
        make = type(self).make_helpers
        self._helpers = None if make is None else make(config)
        self._away: RunCopy | None = None
        self._run: RunFolder | RunCopy | None = None
        self.runner: Runner | None = None  # made by the first step: a worker that hangs in it is watched

    def _look_for_helpers(self, leaving: Collection[str]) -> None:
        is_short = self._looked_at - self._started_at < _SHORT_SECONDS
        if self._helpers is not None and not is_short:
            with contextlib.suppress(Exception):  # Ray's control process is away; the next look tries again
                self._helpers.offered = self._board.offered(self._config["number"])
                self._helpers.leaving = leaving

    def _end_helpers(self) -> None:
        if self._helpers is not None:
            self._helpers.close()

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
            recipe=config["recipe"],
            compared_at=config["compared_at"],
            gpus=config["request"].gpus,
            cpus=config["request"].cpus,
            deadline=deadline_here(config["time_left"]),
            report_seconds=config["report_seconds"],
            lender=RayLender(lenders) if lenders else None,
            helpers=self._helpers,
        )

    def _step(self) -> "WorkerReport":
        if self.runner is None and (run := self._here.seen()) is not None:
            self.runner = self._runner(run)
        if self.runner is not None:
            return self._as_of_here(self.runner.step())
        try:
            return self._fill()
        except Exception as error:  # as in a trial: its cause is told, and another machine may do better
            reason = first_line(error)
            from orchestrator.tuning.worker_report import WorkerReport

            failure = TrialFailure("environment", reason, is_disk_full(error))
            return WorkerReport(is_end=True, failure=failure).on_machine(_host())

    def _as_of_here(self, report: "WorkerReport") -> "WorkerReport":
        """The same report; away from the run folder it names this machine, which need not be the user's."""
        if self._away is None:
            return report
        if report.waits_for:
            number = self._config["number"]
            remark_once(
                f"trial {number} has ended and waits for room to keep its results: {report.waits_for}"
            )
        return report.on_machine(_host())

    def _of_its_disk(self, report: "WorkerReport") -> "WorkerReport":
        """Say which disk is full: that of the run folder, or another one of this machine alone."""
        failure = report.failure
        if failure is None or not failure.is_disk_full:
            return report
        run = self._here.seen()
        if run is not None:
            try:
                reserve(run.path, LEAST_BYTES)
            except OSError:
                return report
        changed = replace(failure, is_disk_full=False, is_machine_full=True)
        report = replace(report, failure=changed)
        return report if run is None else report.on_machine(_host())  # elsewhere it is named already

    def _fill(self) -> "WorkerReport":
        """Fill this machine, then go on as a worker that sees the folder does."""
        from orchestrator.tuning.worker_report import WorkerReport

        self._away = self._here.filled(self._config["number"])
        if self._away is None:
            time.sleep(_LOOK_SECONDS)
            return WorkerReport(needs_depot=True)
        self.runner = self._runner(self._away)
        return WorkerReport()


def result_of(
    step: "WorkerReport",
    parcel: Parcel | None = None,
    holder: tuple[str, str] | None = None,
    remarks: tuple[str, ...] | None = None,
    place: str | None = None,
) -> dict[str, Any]:
    """Return a report as Tune takes it.

    Args:
        step: The report.
        parcel: What a trial leaves for the owner of the run folder.
        holder: Who holds its features.
        remarks: What the worker has remarked.
        place: Ray's name of the machine, of a trial that has finished an epoch or ended.
    """
    also = {"parcel": parcel, "holder": holder, "remarks": remarks or None, "place": place}
    found = {name: value for name, value in also.items() if value is not None}
    return {"step": step, "done": step.is_end, **found}


@functools.cache
def _host() -> str:
    return socket.gethostname()


def _remarks(host: str) -> tuple[str, ...]:
    """What this worker has remarked on its machine since its last report, for a user at another."""
    return tuple(f"{text} (on {host})" for text in take_remarks())
