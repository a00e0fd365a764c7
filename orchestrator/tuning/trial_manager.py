"""The trial manager: hands out trials, follows their epochs, stops and records them, and runs the callbacks.

It knows neither Ray nor Optuna; the backend calls it from one thread.
"""

import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

from orchestrator.callbacks import Callback, StopSearch
from orchestrator.reporting.worker_time import WorkerTime
from orchestrator.study.patience import OutOfPatienceError, Patience, disk_reason
from orchestrator.study.pruner import is_cheap
from orchestrator.study.trial_spec import InvalidPointError, StoredStudy, Study, TrialFailure, TrialSpec
from orchestrator.tuning.early_end import EarlyEnd
from orchestrator.tuning.kept_weights import KeptWeights
from orchestrator.tuning.losses import Losses
from orchestrator.tuning.postponed import PostponedTrials
from orchestrator.tuning.remarks import WorkerRemarks, as_run_alone, without_terminal
from orchestrator.tuning.room import RoomKeeper
from orchestrator.tuning.running_trial import RunningTrial, record_of_invalid_point
from orchestrator.tuning.watchdog import Watchdog
from orchestrator.tuning.written_records import awaited_record
from results.errors import DamagedFileError, RecordExistsError
from results.run.records import Cause, SearchRecord, Termination, TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError, MachineError
from trainables.features.feature_use import FeatureUse

_COLLAPSE_PATIENCE: Final = 8  # epochs in a row that a fold may score all images alike before its trial stops
GRACE_SECONDS: Final = 60.0  # after the deadline, for a trial to end itself with what it has
_INVALID_IN_A_ROW: Final = 20
_ENVIRONMENT_IN_A_ROW: Final = 3  # failures for reasons outside the trials, after which all would fail

_Found = TypeVar("_Found")


class TrialManager:
    """Manages the trials of one search.

    Args:
        run: Run folder, which holds the records.
        search: Request and facts of the search.
        study: Study that proposes and prunes trials.
        callbacks: Callbacks for every event of a trial.
        deadline: Clock reading after which nothing starts and running trials are stopped; None for no limit.
        clock: Function that returns seconds, which nobody can set back; injected for tests.
        say: Function called with messages for the user.

    Attributes:
        remarks: Passes on what workers remark on their machines.
        worker_time: Adds up the time of the workers; the session puts the one that its view shows.
        fault: What keeps all trials from running; the search stops with it. None without one.
        is_stopping: True once the search ends before its budget is used.
        is_stop_asked: A callback has raised `StopSearch`.
    """

    def __init__(
        self,
        run: RunFolder,
        search: SearchRecord,
        study: Study,
        callbacks: tuple[Callback, ...],
        *,
        deadline: float | None,
        clock: Callable[[], float],
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.run, self.search, self.study, self.callbacks = run, search, study, callbacks
        self.deadline, self.clock = deadline, clock
        self.say = without_terminal(say)
        self.remarks = WorkerRemarks(self.say)
        minutes = search.request.wait_minutes
        self.patience = study.patience if isinstance(study, StoredStudy) else Patience(minutes)
        self.patience.say, self.patience.until = self.say, deadline
        self.running: dict[int, RunningTrial] = {}
        self.fault: MachineError | None = None
        self.watchdog = Watchdog(search.trial_minutes, clock, self.say, search.request.stall_minutes)
        self.worker_time = WorkerTime(clock)
        self._in_a_row = 0  # trials that could not run
        self._broken_callbacks: set[int] = set()
        self.is_stopping = self.is_stop_asked = False
        self._postponed = PostponedTrials()
        self._losses = Losses()
        self._is_exhausted = False
        ended = run.records()
        self.weights = KeptWeights(run, search, ended, self.patience)
        self.room = RoomKeeper(run, search, self.weights.free, self.patience)
        # The first trial starts however late it is: Ray may take seconds to start.
        self._has_begun = bool(ended)
        self._early_end = EarlyEnd(search, ended, study, self.say)
        self._ended_last = max(ended, key=lambda own: (own.finished_at, own.number), default=None)

    @property
    def terminated(self) -> Termination | None:
        """Why no further trial is handed out although there are more; None while there is no reason."""
        return self._early_end.termination

    @property
    def is_over(self) -> bool:
        """True when no further trial will be handed out, whatever the running trials do."""
        if self.is_stopping or (self._is_late() and self._has_begun):
            return True
        return self._is_exhausted and not (self.running or self._postponed)

    @property
    def nothing_waits(self) -> bool:
        """True when a worker that is idle now will not be needed, unless a running trial must run again."""
        return self._is_exhausted and not self._postponed

    def next(self) -> TrialSpec | None:
        """Hand out the next trial; None when there is none, for now or for good (`is_over`).

        Trials that ran out of memory come last, when no other trial runs. Until then they count as running
        for the sampler, which avoids points near running ones.
        """
        if self.is_stopping or (self._is_late() and self._has_begun):
            return None
        try:
            if self.room.holds_back(is_idle=not self.running):
                return None
        except OutOfPatienceError as error:
            again = self.run.resume_command
            self.stop(f"no trial can keep its results: {error}. Make room, then go on with: {again}")
            return None
        spec = self._postponed.next_again() or self._propose()
        if spec is None and all(trial.spec.is_alone for trial in self.running.values()):
            spec = self._postponed.next_alone()
        if spec is not None:
            self._has_begun = True
            self.running[spec.number] = RunningTrial(spec, self.clock())
            number, config = spec.number, spec.config
            self._show(lambda callback: callback.on_trial_start(number, config))
        return spec

    def on_search_start(self) -> None:
        """Show the callbacks that the first trial is about to be handed out, if any is.

        A search that was killed when its trials had left little to gain only runs those again that were
        running, as it would have ended otherwise.
        """
        self._show(lambda callback: callback.on_search_start(self.run, self.search))
        if self._ended_last is not None:
            self._decide(self._ended_last.recipe)

    def on_worker_start(self, number: int) -> None:
        """Start the clock of a trial whose worker runs; until then it waited for resources."""
        trial = self.running.get(number)
        if trial is not None:
            trial.started_at = self.clock()
            self.watchdog.started(number)
            self.worker_time.started(number)

    def on_open(self, number: int, prefix: FeatureUse, *, device: str) -> None:
        """Note a trial's use of stored features and its device, for its record in case it is stopped."""
        trial = self.running[number]
        trial.prefix, trial.device = prefix, device
        if isinstance(self.study, StoredStudy):
            self.study.note_open(number)
        self.watchdog.heard(number)
        self.worker_time.opened(
            number, opening_seconds=prefix.opening_seconds, waited_seconds=prefix.waited_seconds
        )

    def on_memory(self, number: int, peak_bytes: int) -> None:
        """Note a trial's peak memory so far, for its record in case it is stopped."""
        self.running[number].peak_bytes = peak_bytes
        self.watchdog.heard(number)

    def on_epoch(
        self,
        number: int,
        epoch: int,
        value: float,
        scalars: Mapping[str, float],
        collapsed: tuple[int, ...],
        fold_values: tuple[float, ...] = (),
        epoch_seconds: float | None = None,
    ) -> Cause | None:
        """Follow one epoch; returns the cause to stop the trial, or None to go on.

        The pruner is asked only where epochs cost something: a trial that `is_cheap` is finished, since its
        result is worth more than the seconds that a stop would save.

        Args:
            number: Trial number.
            epoch: Epoch, 1-based.
            value: Value of the search metric.
            scalars: Name -> value of the epoch's curves.
            collapsed: 0-based folds that have collapsed.
            fold_values: Value of each fold.
            epoch_seconds: Mean time of an epoch so far, in seconds; None where it is not known.
        """
        trial = self.running[number]
        trial.epochs, trial.value, trial.epoch_seconds = epoch, value, epoch_seconds
        trial.collapsed_for = {fold: trial.collapsed_for.get(fold, 0) + 1 for fold in collapsed}
        epochs = trial.spec.config.training.epochs
        self.watchdog.heard(number)
        self._show(lambda callback: callback.on_epoch_end(number, epoch, epochs, value, scalars))
        if self._is_late(GRACE_SECONDS):
            return "time_budget"
        if max(trial.collapsed_for.values(), default=0) >= _COLLAPSE_PATIENCE:
            return "collapse"
        if epoch_seconds is not None and is_cheap(epoch_seconds, epochs):
            return None
        return "pruner" if self.study.should_prune(number, epoch, value, fold_values) else None

    def on_stop(self, number: int, cause: Cause) -> None:
        """Record a trial that was stopped before its end."""
        trial = self.running[number]
        collapsed = tuple(sorted(trial.collapsed_for)) if cause == "collapse" else ()
        record = trial.record(self.search, "pruned", cause, now=self.clock())
        self._finish(record.model_copy(update={"value": trial.value, "collapsed_folds": collapsed}))

    def on_worker_lost(
        self, number: int, cause: Cause, error: str, *, is_taken: bool = False, is_helpers: bool = False
    ) -> None:
        """Handle the death of a trial's worker: hand the trial out again, or record its failure for good.

        Args:
            number: Trial number.
            cause: `lost_worker`, or `out_of_memory`.
            error: What was said of it.
            is_taken: The worker was asked to end, or its machine went; the trial has no part in it.
            is_helpers: It was a worker that trained folds of the trial, and not the trial's own.
        """
        spec = self.running[number].spec
        if self.run.record_file(number).exists():  # the trial had ended before its worker did
            self.on_end(number)
        elif cause == "out_of_memory" and not spec.is_alone:
            self._run_alone_later(spec)
        elif cause == "lost_worker" and (
            why := self._losses.reason_to_go_on(number, is_taken=is_taken, is_helpers=is_helpers)
        ):
            self._run_again(number, cause, *why)
        else:
            self._close(spec, cause, error)

    def run_elsewhere(self, number: int, reason: str) -> None:
        """Hand a trial out again that its machine could not run, while others may."""
        self._run_again(number, "environment", reason, "it is run again on another machine")

    def on_failure(self, number: int, failure: TrialFailure) -> None:
        """Handle a failure outside the trial: record it, and stop the search if all trials would fail so."""
        if failure.cause == "lost_worker":
            self.on_worker_lost(
                number,
                failure.cause,
                failure.reason,
                is_taken=failure.is_taken,
                is_helpers=failure.is_helpers,
            )
            return
        if failure.ends_worker and (why := self._losses.reason_to_go_on(number, is_taken=False)):
            self._run_again(number, failure.cause, failure.reason, why[1])  # what passes is gone with it
            return
        if failure.is_disk_full or failure.is_machine_full:
            self._run_when_there_is_room(number, failure.reason)
            return
        self._in_a_row += 1
        self._close(self.running[number].spec, "environment", failure.reason)
        if self._in_a_row >= _ENVIRONMENT_IN_A_ROW:
            self.stop(
                f"{self._in_a_row} trials in a row could not run, and so would all others: {failure.reason}. "
                f"Mend that, then go on with: {self.run.resume_command}"
            )

    def on_waiting(self, number: int, reason: str, *, is_elsewhere: bool = False) -> None:
        """Note that a trial has ended, and waits for room on the disk to write its results.

        Args:
            number: Trial number.
            reason: What was refused.
            is_elsewhere: By a disk of another machine than that of the run folder: no other trial waits.
        """
        self.watchdog.heard(number)
        if is_elsewhere:
            return
        self.room.filled(f"trial {number} has ended and cannot write its results: {reason}")
        self.room.shortage()  # makes room if it can

    def _run_when_there_is_room(self, number: int, reason: str) -> None:
        with contextlib.suppress(OSError):
            self.run.discard_weights(number)  # half of them, which take the room
        what = f"it could not write: {reason}"
        self._run_again(number, "environment", what, "it is run again when there is room")
        self.room.filled(reason, is_lost=True)

    def _written(self, write: Callable[[], _Found]) -> _Found:
        """Write something, once there is room for it."""
        return self.patience.done(write, disk_reason)

    def stop(self, message: str) -> None:
        """Stop the search, since the machine fails it; the first message counts. Any thread may call it."""
        self.fault = self.fault or MachineError(message)
        self.is_stopping = True

    def hung(self, at_work: Collection[int] = ()) -> list[int]:
        """Return the trials whose workers must be ended; those `at_work` are heard of without a report."""
        for number in at_work:
            self.watchdog.heard(number, is_opened=False)
        return self.watchdog.hung(is_late=self._is_late())

    def on_end(self, number: int) -> None:
        """Take over the record of a trial that ended by itself, complete or failed."""
        record, spec = awaited_record(self.run, number), self.running[number].spec
        if record is None:
            self._close(spec, "lost_worker", "the trial ended without a record")
        elif record.cause == "out_of_memory" and not spec.is_alone:
            self._run_alone_later(spec)
        elif spec.is_alone:
            self._finish(as_run_alone(record), is_written=True, is_changed=True)
        else:
            self._finish(record, is_written=True)

    def show_ended(self) -> None:
        """Show the callbacks what ended while the search was stopped; a resume tells the study."""
        for number in sorted(self.running):
            with contextlib.suppress(DamagedFileError):
                if (record := self.run.record(number)) is not None:
                    self.running.pop(number)
                    self._show_end(record)

    def end_late_trials(self) -> None:
        """Record trials that ended without a report, or were not run again, because the time was up."""
        if not self._is_late():
            return
        for number in list(self.running):
            self.on_stop(number, "time_budget")
        for spec, cause, reason in self._postponed.give_up():
            self._close(spec, cause, reason)

    def is_postponed(self, number: int) -> bool:
        """Tell whether a trial ran out of memory and waits to be run alone."""
        return self._postponed.runs_alone(number)

    def _propose(self) -> TrialSpec | None:
        invalid = 0
        while not self._is_exhausted:
            try:
                proposal = self.study.ask()
            except InvalidPointError as error:
                self._refuse(error)
                self._is_exhausted = self._is_exhausted or self._early_end.is_all
                invalid += 1
                if invalid == _INVALID_IN_A_ROW:
                    raise ConfigError(
                        f"the space proposed {invalid} points in a row that cannot run; hold fewer settings "
                        "by --set, or let the space propose fewer combinations. The records in trials/ say "
                        "what each lacks"
                    ) from error
                continue
            self._is_exhausted = proposal is None or self._early_end.is_all
            if proposal is None or not proposal.is_alone:
                return proposal
            self._postponed.run_alone(proposal)  # the search was interrupted before it did
        return None

    def _run_again(self, number: int, cause: Cause, what: str, how: str) -> None:
        spec = self.running.pop(number).spec
        self._worker_is_free(number)
        self._postponed.run_again(spec, cause, what)
        self._say_postponed(number, f"{what}; {how}")

    def _run_alone_later(self, spec: TrialSpec) -> None:
        self.running.pop(spec.number)
        self._worker_is_free(spec.number)
        self.run.record_file(spec.number).unlink(missing_ok=True)  # it has not ended yet
        if isinstance(self.study, StoredStudy):
            self.study.note_alone(spec.number)
        self._postponed.run_alone(spec)
        self._say_postponed(spec.number, "it ran out of memory; it is run again alone, after the others")

    def _worker_is_free(self, number: int) -> None:
        self.watchdog.ended(number)
        self.worker_time.ended(number)

    def _say_postponed(self, number: int, reason: str) -> None:
        self._show(lambda callback: callback.on_trial_requeued(number, reason))

    def _show(self, event: Callable[[Callback], None]) -> None:
        """Show an event to all callbacks; one that fails, as on a full disk, never ends the search.

        One that raises `StopSearch` does, after the others have seen the event.
        """
        for place, callback in enumerate(self.callbacks):
            try:
                event(callback)
            except StopSearch:
                self.is_stopping = self.is_stop_asked = True
            except Exception as error:  # a callback may be the user's own
                if place not in self._broken_callbacks:
                    self._broken_callbacks.add(place)
                    self.say(f"{type(callback).__name__} failed, and the search goes on: {error}")

    def _show_end(self, record: TrialRecord) -> None:
        self._show(lambda callback: callback.on_trial_end(record))

    def _refuse(self, error: InvalidPointError) -> None:
        self._finish(record_of_invalid_point(error, self.search))

    def _close(self, spec: TrialSpec, cause: Cause, error: str) -> None:
        now = self.clock()
        trial = self.running.get(spec.number) or RunningTrial(spec, now)
        record = trial.record(self.search, "failed", cause, now=now).model_copy(update={"error": error})
        self._finish(as_run_alone(record) if spec.is_alone else record)

    def _finish(self, record: TrialRecord, *, is_written: bool = False, is_changed: bool = False) -> None:
        if record.state != "complete" and record.cause != "environment":
            self.run.checkpoint_file(record.number).unlink(missing_ok=True)
        if not is_written:
            record = self._added(record)
        elif is_changed:
            self._written(lambda: self.run.write_record(record))
        if record.cause != "environment":
            self._in_a_row = 0
        self.study.tell(record)
        self.running.pop(record.number, None)
        self._early_end.add(record)
        self._decide(record.recipe)
        self._worker_is_free(record.number)
        self._show_end(record)
        self.room.is_written()
        if record.has_weights:
            self.weights.add(record)

    def _decide(self, ended_last: str) -> None:
        """Hand out nothing more if little is left to gain; what runs, or is to run again, still ends."""
        if not self._is_exhausted:
            waiting = [*(trial.spec for trial in self.running.values()), *self._postponed]
            self._early_end.decide([ended_last, *(spec.recipe for spec in waiting)])
            self._is_exhausted = self._early_end.is_all

    def _added(self, record: TrialRecord) -> TrialRecord:
        """Write a first record; returns the one that counts, which the worker may have written before."""
        try:
            self._written(lambda: self.run.add_record(record))
        except RecordExistsError:
            return self.run.record(record.number) or record
        return record

    def _is_late(self, grace: float = 0.0) -> bool:
        return self.deadline is not None and self.clock() >= self.deadline + grace
