"""A search from its request to its last record, or from where it was interrupted. Prints nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cluster.connect import Connection, connect, disconnect
from cluster.resources import Machine, trial_slots
from orchestrator.preflight.preflight import Notify
from orchestrator.reporting.tensorboard import TensorBoardLog, setting_columns
from orchestrator.reporting.worker_time import TimeShares
from orchestrator.request import SearchRequest
from orchestrator.tuning.allocation import SHARES
from orchestrator.tuning.reopen import DEFAULT_OPTIONS, ResumeOptions, reopen_search
from orchestrator.tuning.setup import Prepared, deadline_of, prepare_search
from orchestrator.tuning.trial_manager import Callback, TrialManager
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.leaderboard import leaderboard, rows_as_csv
from trainables.common.files import write_atomically

if TYPE_CHECKING:  # the backend imports Ray
    from orchestrator.tuning.ray_backend import Resources


class SearchView(Callback, Protocol):
    """A callback that also shows events of the search as a whole: the live view of the terminal."""

    def note(self, message: str) -> None:
        """Show a message."""
        ...

    def interrupted(self) -> None:
        """Show that the user stopped the search."""
        ...


# Opens a view for a search that is about to start.
OpenView = Callable[[Prepared], AbstractContextManager[SearchView]]


# A function that connects at its first call, and one for the machines.
Connector = AbstractContextManager[tuple[Callable[[], Connection], Callable[[], tuple[Machine, ...]]]]


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """A search that has ended.

    Attributes:
        run: Run folder of the search.
        search: Request and facts of the search.
        records: Records of all trials that ended, in order of their numbers.
        is_interrupted: Ctrl-C, SIGTERM or SIGHUP ended it.
        time_shares: What the time of the workers of this session went into.
    """

    run: RunFolder
    search: SearchRecord
    records: tuple[TrialRecord, ...]
    is_interrupted: bool
    time_shares: TimeShares = field(default_factory=TimeShares)

    @property
    def complete(self) -> list[TrialRecord]:
        """Trials that ran to their end."""
        return [record for record in self.records if record.state == "complete"]


def run_search(
    request: SearchRequest, *, address: str | None, notify: Notify, open_view: OpenView, command: str = ""
) -> SearchOutcome:
    """Prepare and run a search.

    Args:
        request: Options of the search.
        address: Address of a Ray cluster; None finds one or starts one here.
        notify: Function called with messages before the first trial.
        open_view: Function that opens the view of the trials.
        command: Command line, for the record.

    Raises:
        OrchestrateError: Whatever makes the search impossible, before any trial starts.
    """

    def prepare(connect_once: Callable[[], Connection]) -> Prepared:
        return prepare_search(request, connect_once, notify, command=command)

    connector = _connector(address, notify, is_nice=request.nice)
    return _run(prepare, resumed=None, connector=connector, open_view=open_view)


def resume_search(
    run: RunFolder,
    *,
    address: str | None,
    minutes: float | None,
    trials: int | None,
    options: ResumeOptions = DEFAULT_OPTIONS,
    notify: Notify,
    open_view: OpenView,
) -> SearchOutcome:
    """Go on with an interrupted search.

    Args:
        run: Run folder of the search.
        address: Address of a Ray cluster, as for `run_search`.
        minutes: Time budget from now on; None keeps the search's own.
        trials: Number of trials in all; None keeps the search's own.
        options: Trials to try again, and the search space where it must be named.
        notify: Function called with messages before the first trial.
        open_view: Function that opens the view of the trials.

    Raises:
        OrchestrateError: If the run folder, its data or its study cannot be read.
    """
    changes = {name: value for name, value in (("minutes", minutes), ("trials", trials)) if value is not None}
    changed = run.search().with_options(**changes)

    def prepare(connect_once: Callable[[], Connection]) -> Prepared:
        return reopen_search(run, connect_once, notify, options, record=changed)

    connector = _connector(address, notify, is_nice=changed.request.nice)
    return _run(prepare, resumed=run, connector=connector, open_view=open_view)


def _run(
    prepare: Callable[[Callable[[], Connection]], Prepared],
    *,
    resumed: RunFolder | None,
    connector: Connector,
    open_view: OpenView,
) -> SearchOutcome:
    with connector as (connect_once, machines), ExitStack() as stack:
        if resumed is not None:
            stack.enter_context(resumed.exclusive())
        prepared = prepare(connect_once)
        if resumed is None:
            stack.enter_context(prepared.run.exclusive())
        is_interrupted = prepared.has_more and _run_trials(prepared, open_view, machines())
    return SearchOutcome(
        prepared.run,
        prepared.record,
        tuple(prepared.run.records()),
        is_interrupted,
        prepared.worker_time.shares(),
    )


def write_reports(outcome: SearchOutcome) -> list[str]:
    """Write the leaderboard, and pictures of the best trials for TensorBoard.

    Neither is worth the end of a search: what cannot be written is left out.

    Returns:
        What was left out, and why, in sentences.
    """
    if not outcome.complete:
        return []
    missed = []
    for name, write in (("the leaderboard", _write_leaderboard), ("pictures for TensorBoard", _draw)):
        try:
            write(outcome)
        except Exception as error:  # the data may be gone, the disk full, or the memory too small
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            missed.append(f"{name} could not be written: {reason}")
    return missed


def _write_leaderboard(outcome: SearchOutcome) -> None:
    write_atomically(outcome.run.leaderboard_file, rows_as_csv(leaderboard(outcome.run)))


def _draw(outcome: SearchOutcome) -> None:
    from orchestrator.reporting.best_trials import draw_best

    draw_best(outcome.run, outcome.search, outcome.complete)


@contextmanager
def _connector(
    address: str | None, notify: Notify, *, is_nice: bool
) -> Iterator[tuple[Callable[[], Connection], Callable[[], tuple[Machine, ...]]]]:
    """Yield a function that connects at its first call and one for the machines; disconnect at the end."""
    connection: Connection | None = None

    def connect_once() -> Connection:
        nonlocal connection
        if connection is None:
            connection = connect(address, is_nice=is_nice)
            notify(connection.message)
        return connection

    try:
        yield connect_once, lambda: connection.machines if connection else ()
    finally:
        if connection is not None:
            disconnect(connection)


def _run_trials(prepared: Prepared, open_view: OpenView, machines: tuple[Machine, ...]) -> bool:
    """Run the trials; returns True if the user ended them."""
    from orchestrator.tuning.ray_backend import run_trials

    record, run = prepared.record, prepared.run
    log = TensorBoardLog(run.tensorboard, metric=record.metric, split=record.split_name)
    with open_view(prepared) as view:
        try:
            log.write_experiment(setting_columns({"model.backbone": record.backbones}))
        except OSError as error:
            view.note(f"TensorBoard will show no table of settings: {error}")
        manager = TrialManager(
            run,
            record,
            prepared.study,
            (view, log),
            deadline=deadline_of(record, time.time()),
            clock=time.time,
            say=view.note,
        )
        manager.worker_time = prepared.worker_time
        if record.recipes:
            view.note(f"first points: {', '.join(record.recipes)}")
        left = record.request.trials - len(prepared.run.records())
        prepared.worker_time.begin(min(prepared.slots, max(1, left)))
        try:
            run_trials(manager, run, _resources(prepared, machines))
        finally:
            prepared.worker_time.end()
            _log_time(log, prepared.worker_time.shares(), view.note)
        if manager.is_stopping:
            view.interrupted()
    return manager.is_stopping


def _log_time(log: TensorBoardLog, shares: TimeShares, notify: Notify) -> None:
    try:
        log.write_time(shares)
    except OSError as error:
        notify(f"TensorBoard will not show where the time went: {error}")


def _resources(prepared: Prepared, machines: tuple[Machine, ...]) -> "Resources":
    """Resources of trials: GPU shares as measured, unless the user set the number of GPUs per trial."""
    from orchestrator.tuning.ray_backend import Resources

    record, slots = prepared.record, prepared.slots
    cpus_per_trial, is_measured = record.request.cpus_per_trial, record.shares_gpus_as_measured
    if is_measured and machines:
        slots = trial_slots(
            sum(machine.cpus for machine in machines),
            sum(machine.gpus for machine in machines),
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=1 / SHARES,  # the smallest share that the allocator gives
            workers=record.request.workers,
            machines=machines,
        )
    return Resources(cpus_per_trial, record.gpus_per_trial, slots, machines=machines, is_measured=is_measured)
