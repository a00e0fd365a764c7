"""A running trial, as the trial manager knows it, and the records of trials that the driver ends."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orchestrator.study.trial_spec import InvalidPointError, TrialSpec
from results.run.records import Cause, SearchRecord, State, TrialRecord
from trainables.config.trial_config import flatten
from trainables.features.feature_use import FeatureUse


@dataclass(slots=True)
class RunningTrial:
    """State of a running trial."""

    spec: TrialSpec
    started_at: float
    device: str = "cpu"
    peak_bytes: int | None = None
    prefix: FeatureUse | None = None
    epochs: int = 0
    value: float | None = None
    epoch_seconds: float | None = None  # mean of an epoch so far; None where it is not known
    collapsed_for: dict[int, int] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Seconds that it will take yet, if it trains all its epochs; 0 where that is not known."""
        return (self.spec.config.training.epochs - self.epochs) * (self.epoch_seconds or 0.0)

    def record(self, search: SearchRecord, state: State, cause: Cause, *, now: float) -> TrialRecord:
        """Return its record, if it ends as it is.

        Args:
            search: Request and facts of the search.
            state: How it ends.
            cause: Why.
            now: Reading of the clock that `started_at` was read from.
        """
        return TrialRecord(
            number=self.spec.number,
            state=state,
            cause=cause,
            config=flatten(self.spec.config.model_dump(mode="json")),
            params=self.spec.params,
            recipe=self.spec.recipe,
            prefix=self.prefix,
            epochs=self.epochs,
            wall_seconds=now - self.started_at,
            epoch_seconds=self.epoch_seconds,
            peak_bytes=self.peak_bytes,
            device=self.device,
            **_shared_fields(search),
        )


def record_of_invalid_point(error: InvalidPointError, search: SearchRecord) -> TrialRecord:
    """Return the record of a proposed point that no trial can run."""
    return TrialRecord(
        number=error.number,
        state="failed",
        cause="exception",
        error=str(error),
        config={},
        params=error.params,
        **_shared_fields(search),
    )


def _shared_fields(search: SearchRecord) -> dict[str, Any]:
    """Fields that all records of a search share."""
    return {
        "fingerprint": search.fingerprint,
        "seed": search.request.seed,
        "finished_at": datetime.now(UTC),
    }
