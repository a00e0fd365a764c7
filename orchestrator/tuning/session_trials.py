"""The trials of one session of a search: their manager, their view and curves, and what the workers did."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cluster.connect import Connection
from orchestrator.callbacks import Callback
from orchestrator.reporting.setting_columns import setting_columns
from orchestrator.reporting.worker_time import TimeShares, WorkerTime
from orchestrator.tuning.setup import Prepared, deadline_of
from orchestrator.tuning.surroundings import Surroundings
from orchestrator.tuning.trial_manager import TrialManager
from orchestrator.tuning.trial_resources import trial_resources
from results.run.lease import Lease
from results.run.records import Ending, SearchRecord
from results.run.run_folder import RunFolder
from results.run.sessions import SessionTime, add_session
from results.scores.ranking import objectives_of
from trainables.common.notify import Notify

if TYPE_CHECKING:  # TensorBoard imports clients of storages
    from orchestrator.reporting.tensorboard import TensorBoardLog


def run_prepared(
    prepared: Prepared,
    surroundings: Surroundings,
    connection: Connection,
    lease: Lease,
    *,
    spent: float,
) -> bool:
    """Run the trials of a search that is prepared; returns True if the user ended them.

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


def note_end(prepared: Prepared, notify: Notify) -> None:
    """Keep why a search ended that neither the user nor the terminator has ended.

    Args:
        prepared: The search, whose trials of this session have ended.
        notify: Function called with a message where it cannot be written, which ends no search.
    """
    record = prepared.run.search()  # with what the terminator has left in it
    ended = None if record.terminated is not None else _ending(prepared)
    if ended == record.ended:
        return
    try:
        prepared.run.write_search(record.model_copy(update={"ended": ended}))
    except OSError as error:
        notify(f"why the search ended could not be written: {error}")


def _ending(prepared: Prepared) -> Ending | None:
    """Why fewer trials have ended than were asked for; None where as many have."""
    study = prepared.study
    if len(prepared.run.records()) >= prepared.record.request.most_trials:
        return None
    if not study.left:
        return None if study.shared is None else "study"
    return "exhausted" if study.is_exhausted else "time"


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
        deadline=deadline_of(prepared.timed, time.monotonic() - spent),
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
    resources = trial_resources(prepared.record, prepared.slots, connection, left=left)
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
