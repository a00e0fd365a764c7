"""A search from its request to its last record, or from where it was interrupted. Prints nothing."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cluster.background import BackgroundConnection, Connector
from cluster.connect import Connection, PlannedConnection, plan_connection
from cluster.resources import WORKER_BYTES
from orchestrator.callbacks import Callback, SearchView
from orchestrator.preflight.preflight import slots_for
from orchestrator.reporting.setting_columns import setting_columns
from orchestrator.reporting.worker_time import TimeShares, WorkerTime
from orchestrator.request import SearchRequest
from orchestrator.tuning.allocation import SHARES, idle_free_cpus
from orchestrator.tuning.reference import keep_reference
from orchestrator.tuning.reopen import DEFAULT_OPTIONS, ResumeOptions, reopen_search
from orchestrator.tuning.setup import Prepared, deadline_of, prepare_search
from orchestrator.tuning.shared_store import shared_folder
from orchestrator.tuning.trial_manager import TrialManager
from results.run.lease import Lease
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.sessions import SessionTime, add_session
from results.scores.leaderboard import leaderboard
from results.scores.leaderboard_table import rows_as_csv
from results.scores.ranking import objectives_of
from trainables.common.files import write_atomically
from trainables.common.notify import Notify
from trainables.common.text import first_line
from trainables.models.registry import fixed_backbones
from trainables.runtime.devices import kept_threads

if TYPE_CHECKING:  # the backend imports Ray, and TensorBoard imports clients of storages
    from orchestrator.reporting.tensorboard import TensorBoardLog
    from orchestrator.tuning.ray_backend import Resources


# Opens a view for a search that is about to start.
OpenView = Callable[[Prepared], AbstractContextManager[SearchView]]


_PRELOADED: Final = "orchestrator.tuning.preloaded"
_BACKEND: Final = "orchestrator.tuning.ray_backend"
_CURVES: Final = "orchestrator.reporting.tensorboard"
# Tune counts callbacks by importing its integrations, and so MLflow where it is installed.
_COUNTED: Final = "ray.air.integrations.mlflow"
_NOTHING_TO_RESUME: Final = (
    "interrupted before there was a run, so that there is nothing to resume: start the search again"
)


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """A search that has ended.

    Attributes:
        run: Run folder of the search.
        search: Request and facts of the search.
        records: Records of all trials that ended, in order of their numbers.
        is_interrupted: Ctrl-C, SIGTERM, SIGHUP or `StopSearch` of a callback ended it.
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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a search runs on and who follows it; none of it changes what the search does.

    Attributes:
        notify: Function called with messages before the first trial.
        open_view: Function that opens the view of the trials.
        address: Address of a Ray cluster; None finds one or starts one here.
        callbacks: Callbacks of the user.
        ends_process: End this process if Ray does not answer after an interrupt.
        has_curves: Write the curves of the trials for TensorBoard.
    """

    notify: Notify
    open_view: OpenView
    address: str | None = None
    callbacks: Sequence[Callback] = ()
    ends_process: bool = False
    has_curves: bool = True


@dataclass(frozen=True, slots=True)
class Begin:
    """How a search begins.

    Attributes:
        prepare: Function that prepares it, given a function that connects to Ray.
        resumed: Its run folder where it was begun before; None for a new one.
    """

    prepare: Callable[[Connector], Prepared]
    resumed: RunFolder | None = None


def run_search(request: SearchRequest, surroundings: Surroundings, *, command: str = "") -> SearchOutcome:
    """Prepare and run a search.

    Args:
        request: Options of the search.
        surroundings: What it runs on, and who follows it.
        command: Command line, for the record.

    Raises:
        OrchestrateError: Whatever makes the search impossible, before any trial starts.
    """

    def prepare(connect: Connector) -> Prepared:
        try:
            return prepare_search(request, connect, surroundings.notify, command=command)
        except KeyboardInterrupt:
            surroundings.notify(_NOTHING_TO_RESUME)
            raise

    return _run(prepare, surroundings, resumed=None, request=request)


def resume_search(
    run: RunFolder,
    surroundings: Surroundings,
    *,
    minutes: float | None = None,
    trials: int | None = None,
    options: ResumeOptions = DEFAULT_OPTIONS,
) -> SearchOutcome:
    """Go on with an interrupted search.

    Args:
        run: Run folder of the search.
        surroundings: What it runs on, and who follows it.
        minutes: Time budget from now on; None keeps the search's own.
        trials: Number of trials in all; None keeps the search's own.
        options: Trials to try again, and the search space where it must be named.

    Raises:
        OrchestrateError: If the run folder, its data or its study cannot be read.
    """
    changes: dict[str, Any] = {
        name: value for name, value in (("minutes", minutes), ("trials", trials)) if value is not None
    }
    changed = run.search()
    if changed.terminated is not None:
        surroundings.notify(
            f"the terminator ended this search after {changed.terminated.trials} trials; it goes on without"
        )
        changes["terminator"] = False
        changed = changed.model_copy(update={"terminated": None})
    changed = changed.with_options(**changes)

    def prepare(connect: Connector) -> Prepared:
        return reopen_search(run, connect, surroundings.notify, options, record=changed)

    return _run(prepare, surroundings, resumed=run, request=changed.request)


def run_each(
    searches: Iterable[Begin], surroundings: Surroundings, *, request: SearchRequest
) -> Generator[SearchOutcome, None, None]:
    """Run several searches in one Ray session, one after the other, each when its outcome is asked for.

    Args:
        searches: Searches to begin or to go on with.
        surroundings: What they run on, and who follows them.
        request: Options that a Ray of their own follows: `nice` and `memory_gb`.

    Raises:
        OrchestrateError: Whatever makes a search impossible.
    """
    with kept_threads(), _connector(surroundings, request) as connect:
        for begin in searches:
            with ExitStack() as stack:
                if begin.resumed is not None:
                    lease = stack.enter_context(begin.resumed.exclusive(surroundings.notify))
                prepared = begin.prepare(connect)
                if begin.resumed is None:
                    lease = stack.enter_context(prepared.run.exclusive())
                begun, is_interrupted = time.monotonic(), _is_interrupted_at_first(prepared, surroundings)
                if prepared.has_more and not is_interrupted:
                    spent = time.monotonic() - begun
                    is_interrupted = _run_trials(prepared, surroundings, connect(), lease, spent=spent)
                records = tuple(prepared.run.records())
                if not is_interrupted:
                    _keep_last_reference(prepared, records, surroundings)
            yield SearchOutcome(
                prepared.run,
                prepared.record,
                records,
                is_interrupted,
                prepared.worker_time.shares(),
            )


def _is_interrupted_at_first(prepared: Prepared, surroundings: Surroundings) -> bool:
    """Score the reference before the first trial; returns True if the user interrupts it."""
    try:
        keep_reference(prepared.run, prepared.record, surroundings.notify)
    except KeyboardInterrupt:
        surroundings.notify(f"interrupted before the first trial; go on with: {prepared.run.resume_command}")
        return True
    return False


def _keep_last_reference(
    prepared: Prepared, records: Sequence[TrialRecord], surroundings: Surroundings
) -> None:
    """Score the reference after the last trial; an interrupt ends nothing else, as all trials have ended."""
    try:
        keep_reference(prepared.run, prepared.record, surroundings.notify, has_begun=True, records=records)
    except KeyboardInterrupt:
        surroundings.notify("the reference on colour and intensity is left to `orchestrate resume`")


def _run(
    prepare: Callable[[Connector], Prepared],
    surroundings: Surroundings,
    *,
    resumed: RunFolder | None,
    request: SearchRequest,
) -> SearchOutcome:
    with closing(run_each([Begin(prepare, resumed)], surroundings, request=request)) as outcomes:
        return next(outcomes)


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
            missed.append(f"{name} could not be written: {first_line(error)}")
    return missed


def _write_leaderboard(outcome: SearchOutcome) -> None:
    write_atomically(outcome.run.leaderboard_file, rows_as_csv(leaderboard(outcome.run)))


def _draw(outcome: SearchOutcome) -> None:
    from orchestrator.reporting.best_trials import draw_best

    draw_best(outcome.run, outcome.search, outcome.complete)


@contextmanager
def _connector(surroundings: Surroundings, request: SearchRequest) -> Iterator[BackgroundConnection]:
    """Yield what connects to Ray; disconnect at the end."""

    def plan() -> PlannedConnection:
        return plan_connection(
            surroundings.address,
            memory_bytes=request.memory_bytes,
            is_nice=request.nice,
            preloads=[_PRELOADED],
        )

    def say(found: Connection) -> None:
        surroundings.notify(found.message)
        if request.memory_gb is not None and not found.is_own:
            surroundings.notify(
                f"--memory-gb {request.memory_gb:g} is for a Ray of the search's own: here trials share what "
                "`ray start --memory` says on each machine"
            )
        if found.warning:
            surroundings.notify(f"WARNING: {found.warning}")

    connection = BackgroundConnection(plan, say, needed=[_BACKEND, _COUNTED, _CURVES])
    try:
        yield connection
    finally:
        connection.close()


def _run_trials(
    prepared: Prepared,
    surroundings: Surroundings,
    connection: Connection,
    lease: Lease,
    *,
    spent: float,
) -> bool:
    """Run the trials; returns True if the user ended them.

    Args:
        prepared: The search.
        surroundings: What it runs on, and who follows it.
        connection: Machines that Ray runs on.
        lease: Claim of this process to the run folder; the search ends when another process takes it over.
        spent: Seconds of the time of the search that are gone already.
    """
    record, run = prepared.record, prepared.run
    with surroundings.open_view(prepared) as view:
        log = _begun_log(run, record, view.note) if surroundings.has_curves else None
        callbacks = (view, *(() if log is None else (log,)), *surroundings.callbacks)
        manager = _manager(prepared, callbacks, view.note, spent=spent)
        lease.when_taken(manager.stop)
        if record.recipes:
            view.note(f"first points: {', '.join(record.recipes)}")
        manager.on_search_start()
        if not manager.is_over:
            _run_session(manager, prepared, connection, log, ends_process=surroundings.ends_process)
        if manager.is_stopping:
            view.interrupted()
            return True
        if manager.terminated is not None:
            run.write_search(record.model_copy(update={"terminated": manager.terminated}))
        elif prepared.study.left and prepared.study.is_exhausted:
            view.note(
                f"{prepared.study.left} trials fewer than asked for: the space holds nothing else to try"
            )
    return False


def _manager(
    prepared: Prepared, callbacks: tuple[Callback, ...], notify: Notify, *, spent: float
) -> TrialManager:
    """The manager of the trials, which shares time and workers with the study.

    Args:
        prepared: The search.
        callbacks: Callbacks for every event of a trial.
        notify: Function called with messages for the user.
        spent: Seconds of the time of the search that are gone already.
    """
    manager = TrialManager(
        prepared.run,
        prepared.record,
        prepared.study,
        callbacks,
        deadline=deadline_of(prepared.record, time.monotonic() - spent),
        clock=time.monotonic,  # the wall clock may be set back meanwhile
        say=notify,
    )
    manager.worker_time = prepared.worker_time
    if manager.deadline is not None:
        until = manager.deadline
        prepared.study.allowance.begin(lambda: until - time.monotonic(), lambda: prepared.worker_time.workers)
    return manager


def _run_session(
    manager: TrialManager,
    prepared: Prepared,
    connection: Connection,
    log: "TensorBoardLog | None",
    *,
    ends_process: bool,
) -> None:
    """Run trials until none is left or the user ends them, and note what the workers did meanwhile."""
    from orchestrator.tuning.ray_backend import run_trials

    run, left = prepared.run, max(1, prepared.study.left)
    resources = _resources(prepared, connection, left)
    prepared.worker_time.begin(prepared.slots, most=left)
    began = datetime.now(UTC)
    try:
        run_trials(manager, run, resources, ends_process=ends_process)
        manager.show_ended()
    finally:
        prepared.worker_time.end()
        _note_session(run, prepared.worker_time, began, manager.say)
        if log is not None:
            _log_time(log, prepared.worker_time.shares(), manager.say)


def _begun_log(run: RunFolder, record: SearchRecord, notify: Notify) -> "TensorBoardLog":
    """What writes curves for TensorBoard, its table of settings written."""
    from orchestrator.reporting.tensorboard import TensorBoardLog

    also = objectives_of(record).needed[1:]
    log = TensorBoardLog(run.tensorboard, metric=record.metric, also=also, split=record.split_name)
    try:
        log.write_experiment(setting_columns({"model.backbone": record.backbones}))
    except OSError as error:
        notify(f"TensorBoard will show no table of settings: {error}")
    return log


def _note_session(run: RunFolder, worker_time: WorkerTime, began: datetime, notify: Notify) -> None:
    """Keep what the workers of a session did with their time, for the report."""
    shares = worker_time.shares()
    session = SessionTime(
        started_at=began,
        ended_at=datetime.now(UTC),
        workers=worker_time.workers,
        features=shares.features,
        training=shares.training,
        waiting=shares.waiting,
    )
    try:
        add_session(run, session)
    except OSError as error:
        notify(f"the report will not show how busy the workers were: {error}")


def _log_time(log: "TensorBoardLog", shares: TimeShares, notify: Notify) -> None:
    try:
        log.write_time(shares)
    except OSError as error:
        notify(f"TensorBoard will not show where the time went: {error}")


def _resources(prepared: Prepared, connection: Connection, left: int) -> "Resources":
    """Resources of trials: what the user set, else GPU shares as measured, and all cores that would idle.

    Args:
        prepared: The search.
        connection: Machines that Ray runs on.
        left: Number of trials that are left to run, at least 1.
    """
    from orchestrator.tuning.ray_backend import Resources

    record, slots, machines = prepared.record, prepared.slots, connection.machines
    cpus_per_trial, is_measured = record.request.fewest_cpus, record.shares_gpus_as_measured
    gpus, is_bounded = record.gpus_per_trial, record.request.memory_gb is not None
    if is_measured and machines:
        gpus = 1 / SHARES  # the smallest share that trials get
        slots = slots_for(record.request, gpus, connection)
    if record.request.cpus_per_trial is None:
        idle_free = idle_free_cpus(
            machines,
            at_once=min(slots, left),
            gpus=gpus,
            memory_bytes=WORKER_BYTES if is_bounded else 0,
        )
        cpus_per_trial = max(cpus_per_trial, idle_free)
    return Resources(
        cpus_per_trial,
        record.gpus_per_trial,
        slots,
        machines=machines,
        is_measured=is_measured,
        workers=record.request.workers,
        shares_features=len(machines) > 1 and shared_folder(record.request) is not None,
        shared_store=shared_folder(record.request),
        lends_features=len(machines) > 1 and _lends_features(record),
        fixed_backbones=frozenset(fixed_backbones()),
        bounds_memory=is_bounded,
    )


def _lends_features(record: SearchRecord) -> bool:
    """True if a machine takes from another one what that has computed; the process of a fold cannot."""
    request = record.request
    return request.features != "off" and request.shared_store is None and not request.process_per_fold
