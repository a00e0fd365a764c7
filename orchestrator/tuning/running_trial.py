"""A running trial, as the trial manager knows it."""

from dataclasses import dataclass, field

from orchestrator.study.trial_spec import TrialSpec
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
    collapsed_for: dict[int, int] = field(default_factory=dict)
