"""What happens around a trial, whoever runs it: hand out, follow, stop, record, tell, show.

Knows neither Ray nor Optuna; the engine calls it from one thread.
"""

import contextlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from results.records import Cause, PrefixUse, SearchRecord, TrialRecord
from results.store import RunFolder
from trainables.config import TrialConfig, flatten
from trainables.errors import ConfigError

_COLLAPSE_PATIENCE: Final = 8  # epochs that a fold may predict one class before its trial is stopped
GRACE_SECONDS: Final = 60.0  # after the deadline, for a trial to end itself with what it has
_INVALID_IN_A_ROW: Final = 20


class Proposed(Protocol):
    """A trial to run."""

    @property
    def number(self) -> int: ...
    @property
    def config(self) -> TrialConfig: ...
    @property
    def params(self) -> dict[str, Any]: ...


class Policy(Protocol):
    """Proposes, prunes and is told; `orchestrator.policy.StudyPolicy` in a search, a list in a test."""

    def next(self) -> Proposed | None: ...
    def should_prune(self, number: int, epoch: int, value: float) -> bool: ...
    def tell(self, record: TrialRecord) -> None: ...


class Watcher(Protocol):
    """Somebody who is shown what happens: the terminal, TensorBoard."""

    def started(self, number: int, config: TrialConfig) -> None: ...
    def epoch(
        self, number: int, epoch: int, epochs: int, value: float, scalars: Mapping[str, float]
    ) -> None: ...
    def finished(self, record: TrialRecord) -> None: ...


@dataclass(slots=True)
class RunningTrial:
    """What is known of a trial while it runs."""

    config: TrialConfig
    params: dict[str, Any]
    started_at: float
    prefix: PrefixUse | None = None
    epochs: int = 0
    value: float | None = None
    collapsed_for: dict[int, int] = field(default_factory=dict)


class Conductor:
    """Leads the trials of one search.

    Args:
        run: Where records are kept.
        search: What was asked.
        policy: Proposes and prunes.
        watchers: Are shown everything.
        deadline: Clock reading after which nothing starts and running trials are stopped; None for no limit.
        clock: Seconds; injected for tests.
    """

    def __init__(
        self,
        run: RunFolder,
        search: SearchRecord,
        policy: Policy,
        watchers: tuple[Watcher, ...],
        *,
        deadline: float | None,
        clock: Callable[[], float],
    ) -> None:
        self.run, self.search, self.policy, self.watchers = run, search, policy, watchers
        self.deadline, self.clock = deadline, clock
        self.running: dict[int, RunningTrial] = {}
        self.is_stopping = False

    def next(self) -> Proposed | None:
        """Hand out the next trial; None when there is none left or the time is up."""
        if self.is_stopping or self._is_late():
            return None
        for _ in range(_INVALID_IN_A_ROW):
            try:
                proposal = self.policy.next()
            except Exception as error:
                number = getattr(error, "number", None)
                if number is None:
                    raise
                self._close(number, None, getattr(error, "params", {}), "exception", str(error))
                continue
            if proposal is not None:
                self.running[proposal.number] = RunningTrial(proposal.config, proposal.params, self.clock())
                for watcher in self.watchers:
                    watcher.started(proposal.number, proposal.config)
            return proposal
        raise ConfigError(f"the space proposed {_INVALID_IN_A_ROW} points in a row that cannot run")

    def opened(self, number: int, prefix: PrefixUse) -> None:
        """Note how a trial is fed, for the records of those that are stopped."""
        self.running[number].prefix = prefix

    def epoch(
        self, number: int, epoch: int, value: float, scalars: Mapping[str, float], collapsed: tuple[int, ...]
    ) -> Cause | None:
        """Follow one epoch; returns the reason to stop the trial, or None to go on."""
        trial = self.running[number]
        trial.epochs, trial.value = epoch, value
        trial.collapsed_for = {fold: trial.collapsed_for.get(fold, 0) + 1 for fold in collapsed}
        for watcher in self.watchers:
            watcher.epoch(number, epoch, trial.config.training.epochs, value, scalars)
        if self._is_late(GRACE_SECONDS):
            return "budget"
        if max(trial.collapsed_for.values(), default=0) >= _COLLAPSE_PATIENCE:
            return "collapse"
        return "asha" if self.policy.should_prune(number, epoch, value) else None

    def stopped(self, number: int, cause: Cause) -> None:
        """Record a trial that was stopped before its end."""
        trial = self.running[number]
        collapsed = tuple(sorted(trial.collapsed_for)) if cause == "collapse" else ()
        record = self._record(number, "pruned", cause, trial.config, trial.params).model_copy(
            update={"value": trial.value, "collapsed_folds": collapsed}
        )
        self._finish(record)

    def lost(self, number: int, cause: Cause, error: str) -> None:
        """Record a trial whose worker died."""
        trial = self.running[number]
        self._close(number, trial.config, trial.params, cause, error)

    def end_late_trials(self) -> None:
        """Record trials that were ended without a report, since the time was up."""
        if self._is_late():
            for number in list(self.running):
                self.stopped(number, "budget")

    def ended(self, number: int) -> None:
        """Take over a trial that wrote its own record, complete or failed."""
        record = self.run.record(number)
        if record is None:
            self.lost(number, "lost_worker", "the trial ended without a record")
            return
        self._finish(record)

    def _close(
        self, number: int, config: TrialConfig | None, params: dict[str, Any], cause: Cause, error: str
    ) -> None:
        record = self._record(number, "failed", cause, config, params)
        self._finish(record.model_copy(update={"error": error}))

    def _record(
        self, number: int, state: Any, cause: Cause, config: TrialConfig | None, params: dict[str, Any]
    ) -> TrialRecord:
        trial = self.running.get(number)
        return TrialRecord(
            number=number,
            state=state,
            cause=cause,
            config=flatten(config.model_dump(mode="json")) if config else {},
            params=params,
            prefix=trial.prefix if trial else None,
            epochs=trial.epochs if trial else 0,
            wall_seconds=self.clock() - trial.started_at if trial else 0.0,
            fingerprint=self.search.fingerprint,
            seed=self.search.seed,
            finished_at=datetime.now(UTC),
        )

    def _finish(self, record: TrialRecord) -> None:
        if record.state != "complete":
            self._forget_checkpoint(record.number)
        self.run.write_record(record)
        self.policy.tell(record)
        self.running.pop(record.number, None)
        for watcher in self.watchers:
            watcher.finished(record)
        if record.has_weights:
            self._bound_weights()

    def _forget_checkpoint(self, number: int) -> None:
        (self.run.trial(number) / "checkpoint.pt").unlink(missing_ok=True)

    def _bound_weights(self) -> None:
        """Keep the weights of the best trials only, so that the disk stays bounded."""
        holders = [record for record in self.run.records() if record.has_weights]
        holders.sort(key=lambda record: (-(record.value or 0.0), record.number))
        for record in holders[self.search.keep_weights :]:
            self.run.write_record(record.model_copy(update={"has_weights": False}))
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self.run.trial(record.number) / "folds")

    def _is_late(self, grace: float = 0.0) -> bool:
        return self.deadline is not None and self.clock() >= self.deadline + grace
