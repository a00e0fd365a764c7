"""A worker process: opens the data once, then runs one trial after another, a few epochs at a step."""

import dataclasses
import functools
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from orchestrator.preflight.run_data import open_run_data
from orchestrator.study.pruners import first_rung, is_rung
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.metrics import scores
from results.scores.ranking import Objective
from trainables.config.trial_config import TrialConfig, flatten
from trainables.features.feature_use import FeatureUse
from trainables.runtime.checkpoint import read_checkpoint, write_checkpoint, write_fold_weights
from trainables.runtime.devices import choose_device, limit_threads
from trainables.runtime.memory import MemoryUse, PeakMemory
from trainables.training.folds import NanLossError
from trainables.validation.epoch_selection import EpochReport
from trainables.validation.factory import Validation, open_validation

_CHECKPOINT_SECONDS: Final = 60.0
_ERROR_LINES: Final = 12
_STEP_SECONDS: Final = 0.3  # work between two reports of a worker: a report costs the driver milliseconds
FEWEST_EPOCHS: Final = 5  # a trial that had time for fewer epochs counts as pruned: its score means nothing
EPOCH_METRICS: Final = ("auc", "f2", "f1", "accuracy", "balanced_accuracy", "recall", "precision")


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerReport:
    """Report of a worker after a step. It is not a plain dictionary, since Tune flattens those on the way.

    Attributes:
        opened: Use of stored features, in the step that opened the trial; None in later steps.
        epochs: Epochs that were finished in the step, in order; a rung is always the last one.
        is_end: The trial has ended and its record is written.
        memory: Peak memory of the trial so far; None if it cannot be measured.
        device: Name of the device in torch, such as `cuda:0`.
    """

    opened: FeatureUse | None = None
    epochs: tuple[EpochReport, ...] = ()
    is_end: bool = False
    memory: MemoryUse | None = None
    device: str = "cpu"


class TrialRunner:
    """Runs one trial of a run folder.

    Args:
        run: The run folder.
        number: Trial number.
        config: Configuration of the trial.
        params: Parameters that the sampler chose, for the record.
        gpus: Number of GPUs of this worker.
        cpus: Number of CPU cores of this worker.
        deadline: Reading of `time.time()` at which the search is out of time; None for no limit. A late trial
            ends with the best epoch that it reached, so that its work is not lost.
    """

    def __init__(
        self,
        run: RunFolder,
        number: int,
        config: TrialConfig,
        params: dict[str, Any],
        *,
        gpus: float,
        cpus: float,
        deadline: float | None = None,
    ) -> None:
        self.run, self.number, self.config, self.params = run, number, config, params
        self.started = self.opened = self.checkpointed = time.monotonic()
        self.deadline = deadline
        limit_threads(cpus)
        self.search = _search(run, run.search_file.stat().st_mtime_ns)
        self.first_rung = first_rung(self.search.request.epochs)
        self.device = choose_device(gpus)
        self.peak = PeakMemory(self.device)
        self.validation: Validation | None = None

    def step(self) -> WorkerReport:
        """Open the trial if it is not open, then train until a rung, the end, or `_STEP_SECONDS` are over."""
        begun, opened, epochs, is_end = time.monotonic(), None, list[EpochReport](), False

        def is_enough() -> bool:
            at_rung = bool(epochs) and is_rung(epochs[-1].epoch, self.first_rung)
            return is_end or at_rung or time.monotonic() - begun >= _STEP_SECONDS

        try:
            if self.validation is None:
                opened = self._open()
            if opened is None or not is_enough():
                is_end = self._advance(epochs)
            while not is_enough():
                is_end = self._advance(epochs)
        except Exception as error:  # every failure of a trial becomes its record
            self._write_failure(error)
            self.validation, is_end = None, True  # frees its memory for other trials
        return WorkerReport(opened, tuple(epochs), is_end, self._memory(), str(self.device))

    def _advance(self, epochs: list[EpochReport]) -> bool:
        """Train an epoch and append its report; returns True if the trial ended with it."""
        if self.validation is None or self.validation.is_over:
            self._end()
            return True
        report = self.validation.epoch()
        epochs.append(report)
        is_late = self._is_out_of_time() and not self.validation.has_buffered_epochs
        is_early = not report.is_last and report.epoch < min(FEWEST_EPOCHS, self.config.training.epochs)
        if is_late and is_early:
            self.run.write_record(self._record(state="pruned", cause="time_budget", value=report.value))
            return True
        if is_late or report.is_last:
            self._end()
            return True
        self._checkpoint()
        return False

    def _open(self) -> FeatureUse | None:
        training_data, runtime = open_run_data(self.run, self.search, self.device)
        validation = open_validation(
            self.config,
            training_data,
            runtime,
            seed=self.search.request.seed,
            score=functools.partial(epoch_scores, metric=self.search.metric),
            metric=self.search.metric,
            higher_is_better=Objective(self.search.metric).higher_is_better,
            isolated=self.search.request.process_per_fold,
        )
        state = read_checkpoint(self._checkpoint_file)
        if state is not None:
            validation.load_state(state)
        self.validation, self.opened = validation, time.monotonic()
        return self._prefix_use()

    def _end(self) -> None:
        validation = self.validation
        if validation is None or validation.best is None:
            raise RuntimeError("a trial ends after its first epoch")
        best, training_data = validation.best, validation.training_data
        folder = self.run.trial(self.number)
        predictions = OutOfFold(
            rows=training_data.rows,
            labels=training_data.labels,
            folds=training_data.folds,
            groups=training_data.groups,
            probabilities=best.probabilities,
        )
        self.run.write_out_of_fold(self.number, predictions.held_out())
        write_fold_weights(folder / "folds", best.weights)
        record = self._record(
            state="complete",
            cause=None if validation.is_over else "time_budget",
            value=best.value,
            best_epoch=best.epoch,
            fold_metrics=best.fold_metrics,
            losses=best.losses,
            collapsed_folds=best.collapsed,
            has_weights=bool(best.weights),
        )
        self.run.write_record(record)
        self._checkpoint_file.unlink(missing_ok=True)

    def _write_failure(self, error: Exception) -> None:
        cause = "exception"
        if isinstance(error, NanLossError):
            cause = "nan"
        elif isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            cause = "out_of_memory"
        text = "".join(traceback.format_exception(error)).strip().splitlines()[-_ERROR_LINES:]
        self.run.write_record(self._record(state="failed", cause=cause, error="\n".join(text)))

    def _record(self, **outcome: Any) -> TrialRecord:
        validation = self.validation
        return TrialRecord(
            number=self.number,
            config=flatten(self.config.model_dump(mode="json")),
            params=self.params,
            epochs=validation.epochs_done if validation else 0,
            prefix=self._prefix_use(),
            trained_parameters=validation.trained_parameters if validation else None,
            wall_seconds=time.monotonic() - self.started,
            peak_bytes=memory.peak_bytes if (memory := self._memory()) else None,
            device=str(self.device),
            fingerprint=self.search.fingerprint,
            seed=self.search.request.seed,
            finished_at=datetime.now(UTC),
            **outcome,
        )

    def _prefix_use(self) -> FeatureUse | None:
        return FeatureUse(**dataclasses.asdict(self.validation.feature_use)) if self.validation else None

    def _memory(self) -> MemoryUse | None:
        """Peak memory of the trial: this process plus one that trains a fold at the same time."""
        own, process = self.peak.use(), self.validation.child_peak_memory if self.validation else None
        if own is None or process is None:
            return own
        return MemoryUse(own.peak_bytes + process.peak_bytes, own.total_bytes)

    def _checkpoint(self) -> None:
        if time.monotonic() - self.checkpointed >= _CHECKPOINT_SECONDS and self.validation is not None:
            write_checkpoint(self._checkpoint_file, self.validation.state())
            self.checkpointed = time.monotonic()

    def _is_out_of_time(self) -> bool:
        # The features that a trial computes first serve other trials too, so its own time counts from its
        # first epoch. The deadline of the search holds for all trials.
        is_long = time.monotonic() - self.opened > 60.0 * self.search.trial_minutes
        return is_long or (self.deadline is not None and time.time() >= self.deadline)

    @property
    def _checkpoint_file(self) -> Path:
        return self.run.checkpoint_file(self.number)


@functools.lru_cache(maxsize=2)
def _search(run: RunFolder, modified_ns: int) -> SearchRecord:
    """Request and facts of the search; cached for the next trial, since YAML is slow to read."""
    return run.search()


def epoch_scores(labels: Any, probabilities: Any, *, metric: str = "auc") -> dict[str, float]:
    """Return the metrics that every epoch reports, at threshold 0.5; that of the search is among them."""
    found = scores(labels, probabilities)
    return {name: found[name] for name in dict.fromkeys((*EPOCH_METRICS, metric))}
