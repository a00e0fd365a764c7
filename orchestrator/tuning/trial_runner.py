"""A worker process: opens the data once, then runs one trial after another, a few epochs at a step."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from orchestrator.preflight.run_data import open_run_data
from orchestrator.preflight.run_validation import open_run_validation
from orchestrator.study.trial_spec import TrialFailure
from orchestrator.tuning.late_start import LAST_SECONDS, fill_limit, start_late
from orchestrator.tuning.preemption import undisturbed
from orchestrator.tuning.worker_report import WorkerReport
from results.errors import RecordExistsError, RunError
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.run_store import RunStore
from results.scores.fold_scores import objective_values
from results.scores.ranking import objectives_of
from trainables.common.errors import (
    ConfigError,
    DataError,
    MachineError,
    OutOfTimeError,
    SplitError,
    WeightsError,
)
from trainables.common.files import is_disk_full
from trainables.common.text import first_line
from trainables.config.trial_config import TrialConfig, flatten
from trainables.data.training_data import TrainingData
from trainables.features.feature_use import FeatureUse
from trainables.runtime.checkpoint import (
    discard_checkpoint,
    packed_checkpoint,
    packed_fold_weights,
    read_checkpoint,
)
from trainables.runtime.devices import Device, choose_device, has_failed, limit_threads
from trainables.runtime.lender import FeatureLender
from trainables.runtime.memory import MemoryUse, PeakMemory, is_out_of_memory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.folds import NanLossError
from trainables.training.spread import FoldsElsewhere
from trainables.validation.cross_validation import CrossValidation
from trainables.validation.epoch_selection import EpochReport, TrialSnapshot
from trainables.validation.factory import Validation
from trainables.validation.fold_process import LostProcessError

# Failures outside the trial, which another configuration would have met too: at any time, and in opening.
_ENVIRONMENT: Final = (OSError, SplitError, WeightsError)
_CANNOT_OPEN: Final = (DataError, RunError, ConfigError)
_CHECKPOINT_SECONDS: Final = 60.0
_ERROR_LINES: Final = 12
_ROOM_SECONDS: Final = 5.0  # between two tries to write results to a full disk
_STEP_SECONDS: Final = 0.3  # work between two reports of a worker: a report costs the driver milliseconds
FEWEST_EPOCHS: Final = 5  # a trial that had time for fewer epochs counts as pruned: its score means nothing


class Helpers(Protocol):
    """Other workers that may train folds of a trial; `FoldWorkers` in a search.

    Attributes:
        count: Number of those that do.
    """

    @property
    def count(self) -> int: ...

    def follow(
        self, config: TrialConfig, folds: int, spread: Callable[[Sequence[FoldsElsewhere]], None]
    ) -> None:
        """Between two epochs: spread the folds anew if there are more or fewer of them."""
        ...


class TrialRunner:
    """Runs one trial of a run.

    Args:
        run: The run: its folder, or what stands for it on a machine that does not see the folder.
        number: Trial number.
        config: Configuration of the trial.
        params: Parameters that the sampler chose, for the record.
        recipe: Name of the recipe that the configuration belongs to, for the record; empty for a proposal.
        compared_at: Epochs, 1-based, at which the trial is compared with others: it waits for an answer.
        gpus: Number of GPUs of this worker.
        cpus: Number of CPU cores of this worker.
        deadline: Reading of `time.monotonic()` at which the search is out of time; None for no limit. A late
            trial ends with the best epoch that it reached, so that its work is not lost.
        report_seconds: Seconds between two reports, where many workers report to one driver.
        lender: Brings features that other machines have computed; None without one.
        helpers: Other workers that may train folds of the trial; None without any.
    """

    def __init__(  # noqa: PLR0913 - a trial, and the circumstances
        self,
        run: RunStore,
        number: int,
        config: TrialConfig,
        params: dict[str, Any],
        *,
        gpus: float,
        cpus: float,
        recipe: str = "",
        compared_at: Collection[int] = (),
        deadline: float | None = None,
        report_seconds: float = 0.0,
        lender: FeatureLender | None = None,
        helpers: Helpers | None = None,
    ) -> None:
        self.run, self.number, self.config, self.params, self.recipe = run, number, config, params, recipe
        self.started = self.opened = self.checkpointed = time.monotonic()
        self.compared_at, self.deadline, self.gpus = frozenset(compared_at), deadline, gpus
        self.lender, self.helpers = lender, helpers
        limit_threads(cpus)
        self.device: Device | None = None
        self.peak: PeakMemory | None = None
        self.validation: Validation | None = None
        self.remark: str | None = None  # of a trial that began with less than it asked for
        self.report_seconds = max(_STEP_SECONDS, report_seconds)
        self._trained, self._trained_seconds = 0, 0.0  # epochs in this worker, and their time
        self._has_ended = False  # its results are written, or are to be
        self._short_since: float | None = None  # there has been no room for its results

    def step(self) -> WorkerReport:
        """Open the trial if need be, then train until a comparison, the end, or `report_seconds` are over."""
        begun, opened, epochs, is_end = time.monotonic(), None, list[EpochReport](), False
        failure: TrialFailure | None = None
        waits_for = ""
        if self._short_since is not None:
            time.sleep(_ROOM_SECONDS)

        def is_enough() -> bool:
            is_compared = bool(epochs) and epochs[-1].epoch in self.compared_at
            return is_end or is_compared or time.monotonic() - begun >= self.report_seconds

        try:
            if self.validation is None:
                opened = self._open()
            if opened is None or not is_enough():
                is_end = self._advance(epochs)
            while not is_enough():
                is_end = self._advance(epochs)
        except Exception as error:  # every failure of a trial becomes its record
            if self._waits_after(error):
                waits_for = first_line(error)
            else:
                failure, is_end = self._fail(error), True
        device = str(self.device or "cpu")
        report = WorkerReport(
            opened,
            tuple(epochs),
            is_end,
            None if failure is not None and failure.ends_worker else self._memory(),
            device,
            failure,
            self._epoch_seconds,
            waits_for=waits_for,
            helpers=self.helpers.count if self.helpers is not None else 0,
        )
        if is_end:
            self.validation = None  # frees its memory and its files for other trials
        return report

    @undisturbed
    def _advance(self, epochs: list[EpochReport]) -> bool:
        """Train an epoch and append its report; returns True if the trial ended with it."""
        if self.validation is None or self.validation.is_over or self._has_ended:
            self._end()
            return True
        self._spread(self.validation)
        begun = time.monotonic()
        report = self.validation.epoch()
        self._trained, self._trained_seconds = (
            self._trained + 1,
            self._trained_seconds + time.monotonic() - begun,
        )
        epochs.append(report)
        is_late = self._is_out_of_time() and not self.validation.has_buffered_epochs
        is_early = not report.is_last and report.epoch < min(FEWEST_EPOCHS, self.config.training.epochs)
        if is_late and is_early:
            if self._is_past_deadline() and not self.run.has_score():
                return self._go_on_late()
            self._add(self._record(state="pruned", cause="time_budget", value=report.value))
            return True
        if is_late or report.is_last:
            self._end()
            return True
        self._checkpoint()
        return False

    def _spread(self, validation: Validation) -> None:
        """Let other workers train folds from now on, as many as there are for it."""
        if self.helpers is not None and isinstance(validation, CrossValidation) and validation.epochs_done:
            self.helpers.follow(self.config, self.search.folds, validation.spread)

    def _go_on_late(self) -> bool:
        """Go on lest the search end with nothing, for a while; returns True if the trial ended."""
        if time.monotonic() < (self.deadline or 0.0) + LAST_SECONDS:
            return False
        self._end()
        return True

    def _open(self) -> FeatureUse | None:
        try:
            self.search = _search(self.run.local)
            self.objectives = objectives_of(self.search)
            self.device = choose_device(self.gpus)
            training_data, runtime = open_run_data(self.run.local, self.search, self.device, self.config)
        except _CANNOT_OPEN as error:
            raise MachineError(str(error)) from error
        self.peak = PeakMemory(self.device)
        limit = fill_limit(self.run, self.deadline)
        runtime = dataclasses.replace(runtime, fill_limit=limit, lender=self.lender)
        self.validation, self.opened = self._started(training_data, runtime), time.monotonic()
        checkpoint = self.run.checkpoint(self.number)
        state = read_checkpoint(checkpoint, key=self._key)
        if state is not None:
            try:
                self.validation.load_state(state)
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                discard_checkpoint(checkpoint)  # it does not fit: the trial starts anew
                self.validation = None  # its memory is needed
                self.validation = self._begin(training_data, self.config, runtime)
        return self._prefix_use()

    def _started(self, training_data: TrainingData, runtime: TrialRuntime) -> Validation:
        begin = functools.partial(self._begin, training_data)
        try:
            return begin(self.config, runtime)
        except OutOfTimeError as error:
            late = start_late(self.config, runtime, begin, run=self.run, error=error)
        if late.config != self.config:
            self.recipe = ""  # which says more than what is scored
        self.config, self.remark = late.config, late.remark
        return late.validation

    def _begin(self, training_data: TrainingData, config: TrialConfig, runtime: TrialRuntime) -> Validation:
        return open_run_validation(
            self.search,
            config,
            training_data,
            runtime,
            isolated=self.search.request.process_per_fold,
        )

    def _end(self) -> None:
        validation = self.validation
        if validation is None or validation.best is None:
            raise RuntimeError("a trial ends after its first epoch")
        self._has_ended = True
        if self.run.has_record(self.number):
            return  # an earlier worker, given up as lost, has ended it all the same
        best, scored = validation.best, validation.training_data.scored
        predictions = OutOfFold(
            rows=scored.rows,
            labels=scored.labels,
            folds=scored.folds,
            groups=scored.groups,
            probabilities=best.probabilities,
        )
        held_out = predictions.held_out()
        values = objective_values(held_out, self.objectives) | self._costs(validation, best)
        self.run.write_out_of_fold(self.number, held_out)
        self.run.write_weights(self.number, packed_fold_weights(best.weights))
        record = self._record(
            state="complete",
            cause=None if validation.is_over else "time_budget",
            value=values[self.search.metric],
            values=values,
            best_epoch=best.epoch,
            fold_metrics=best.fold_metrics,
            losses=best.losses,
            collapsed_folds=best.collapsed,
            has_weights=bool(best.weights),
            predictions_digest=held_out.digest,
            error=self.remark,
        )
        self._add(record)
        self.run.discard_checkpoint(self.number)

    def _costs(self, validation: Validation, best: TrialSnapshot) -> dict[str, float]:
        """What a prediction costs, measured only where the search asks for it."""
        wanted = self.objectives.costs
        if not wanted:
            return {}
        from orchestrator.tuning.prediction_cost import prediction_cost  # it brings what exports graphs

        found = prediction_cost(self.config, validation, best)
        return {name: found[name] for name in wanted}

    def _add(self, record: TrialRecord) -> None:
        with contextlib.suppress(RecordExistsError):  # the first one counts
            self.run.add_record(record)

    def _waits_after(self, error: Exception) -> bool:
        """Tell whether a trial that has ended keeps its results, since there is no room to write them yet."""
        if not (self._has_ended and is_disk_full(error)) or self._is_past_deadline():
            return False
        now = time.monotonic()
        self._short_since = now if self._short_since is None else self._short_since
        return now - self._short_since < 60.0 * self.search.request.wait_minutes

    def _fail(self, error: Exception) -> TrialFailure | None:
        """Record the failure, or return it if it is none of the configuration's."""
        if self.device is not None and has_failed(self.device):
            reason = f"the GPU does nothing more for this process: {first_line(error)}"
            return TrialFailure("environment", reason, ends_worker=True)
        if isinstance(error, LostProcessError):
            return TrialFailure(
                "lost_worker", first_line(error), is_taken=error.is_taken, is_helpers=error.is_helpers
            )
        if _is_of_the_environment(error):
            return TrialFailure("environment", first_line(error), is_disk_full(error))
        try:
            self._write_failure(error)
        except OSError as unwritten:
            return TrialFailure("environment", first_line(unwritten), is_disk_full(unwritten))
        return None

    def _write_failure(self, error: Exception) -> None:
        if isinstance(error, OutOfTimeError):
            self._add(self._record(state="pruned", cause="time_budget", error=first_line(error)))
            return
        cause = "exception"
        if isinstance(error, NanLossError):
            cause = "nan"
        elif is_out_of_memory(error):
            cause = "out_of_memory"
        text = "".join(traceback.format_exception(error)).strip().splitlines()[-_ERROR_LINES:]
        self._add(self._record(state="failed", cause=cause, error="\n".join(text)))

    def _record(self, **outcome: Any) -> TrialRecord:
        validation = self.validation
        return TrialRecord(
            number=self.number,
            config=flatten(self.config.model_dump(mode="json")),
            params=self.params,
            recipe=self.recipe,
            epochs=validation.epochs_done if validation else 0,
            prefix=self._prefix_use(),
            trained_parameters=validation.trained_parameters if validation else None,
            wall_seconds=time.monotonic() - self.started,
            epoch_seconds=self._epoch_seconds,
            peak_bytes=memory.peak_bytes if (memory := self._memory()) else None,
            device=str(self.device or "cpu"),
            fingerprint=self.search.fingerprint,
            seed=self.search.request.seed,
            finished_at=datetime.now(UTC),
            **outcome,
        )

    @property
    def _epoch_seconds(self) -> float | None:
        return self._trained_seconds / self._trained if self._trained else None

    def _prefix_use(self) -> FeatureUse | None:
        return FeatureUse(**dataclasses.asdict(self.validation.feature_use)) if self.validation else None

    def _memory(self) -> MemoryUse | None:
        """Peak memory of the trial: this process plus one that trains a fold at the same time."""
        own = self.peak.use() if self.peak else None
        process = self.validation.child_peak_memory if self.validation else None
        if own is None or process is None:
            return own
        return MemoryUse(
            own.peak_bytes + process.peak_bytes, own.total_bytes, own.worker_bytes + process.worker_bytes
        )

    def keep_progress(self) -> None:
        """Write a checkpoint now, since this process is about to end; nothing before the first epoch.

        Nor of a trial that has ended without a word to this process, such as a pruned one.
        """
        if self.validation is not None and self.validation.epochs_done and not self.validation.is_over:
            self._checkpoint(is_last=True)

    def _checkpoint(self, *, is_last: bool = False) -> None:
        is_due = is_last or time.monotonic() - self.checkpointed >= _CHECKPOINT_SECONDS
        if is_due and self.validation is not None:
            # A full disk, an owner that does not answer, a helper that is gone: the trial may end, too.
            with contextlib.suppress(OSError, MachineError, LostProcessError):
                if is_last and self.run.has_record(self.number):
                    return
                content = packed_checkpoint(self.validation.state(), key=self._key)
                self.run.write_checkpoint(self.number, content, is_last=is_last)
            self.checkpointed = time.monotonic()

    def _is_out_of_time(self) -> bool:
        # The features that a trial computes first serve other trials too, so its own time counts from its
        # first epoch. The deadline of the search holds for all trials.
        is_long = time.monotonic() - self.opened > 60.0 * self.search.trial_minutes
        return is_long or self._is_past_deadline()

    def _is_past_deadline(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    @property
    def _key(self) -> str:
        """Key of the trial's checkpoints: of another configuration, data or seed none is taken."""
        facts = [self.config.model_dump(mode="json"), self.search.fingerprint, self.search.request.seed]
        return hashlib.sha256(json.dumps([*facts, self.search.folds], sort_keys=True).encode()).hexdigest()


def _is_of_the_environment(error: Exception) -> bool:
    """True for what any configuration would have met; memory that does not suffice may do so for another."""
    return isinstance(error, MachineError) or (
        isinstance(error, _ENVIRONMENT) and not is_out_of_memory(error)
    )


def _search(run: RunFolder) -> SearchRecord:
    """Request and facts of the search.

    Raises:
        FileNotFoundError: If they are not there: this node does not see the run folder.
    """
    run.search_file.stat()
    return run.search()
