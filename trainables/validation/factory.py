"""Construction of the cross-validation of a configuration, for a net or for a classical model."""

from typing import Any, Protocol

from trainables.config.trial_config import TrialConfig
from trainables.data.training_data import TrainingData
from trainables.features.feature_use import FeatureUse
from trainables.runtime.memory import MemoryUse
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.classical import ClassicalValidation
from trainables.validation.cross_validation import CrossValidation
from trainables.validation.epoch_selection import EpochReport, Judge, Score, TrialSnapshot
from trainables.validation.isolated import IsolatedValidation


class Validation(Protocol):
    """A running trial: trains and evaluates all folds, one epoch at a time.

    Attributes:
        training_data: The training part.
        runtime: Store, device and weights.
        feature_use: Origin and cost of the features that the trial trains on.
        epochs_done: Number of finished epochs.
    """

    training_data: TrainingData
    runtime: TrialRuntime
    feature_use: FeatureUse

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs."""
        ...

    @property
    def is_over(self) -> bool:
        """True when no epoch follows."""
        ...

    @property
    def has_buffered_epochs(self) -> bool:
        """True if the next epoch is trained already, so that it takes no time."""
        ...

    @property
    def child_peak_memory(self) -> MemoryUse | None:
        """Peak memory of the folds' child processes; None where the folds train in this process."""
        ...

    @property
    def trained_parameters(self) -> int | None:
        """Number of weights that train, in one model; None for a classical model."""
        ...

    @property
    def best(self) -> TrialSnapshot | None:
        """Snapshot at the epoch that is kept so far; None before the first epoch."""
        ...

    def epoch(self) -> EpochReport:
        """Train and evaluate all folds for one epoch."""
        ...

    def state(self) -> dict[str, Any]:
        """Checkpoint: everything that is needed to continue after the last epoch."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        ...


def open_validation(  # noqa: PLR0913 - a trial, its runtime, and how its epochs are judged
    config: TrialConfig,
    training_data: TrainingData,
    runtime: TrialRuntime,
    *,
    seed: int,
    score: Score,
    metric: str,
    judge: Judge | None = None,
    isolated: bool = False,
) -> Validation:
    """Open the cross-validation of a configuration.

    Args:
        config: The trial; `classical.name` chooses between a net and a classical model.
        training_data: The training part.
        runtime: Store, device and weights.
        seed: Seed of all random draws.
        score: Maps labels (n,) and probabilities (n, classes) to metrics.
        metric: Name of the searched metric, a key of the metrics that `score` returns.
        judge: Computes the searched metric of all folds together; None takes the mean of the folds' own.
        isolated: True to train each fold of a net in its own process; classical models are fitted here.

    Raises:
        OrchestrateError: If the configuration cannot run on these data.
    """
    kind: type[ClassicalValidation | IsolatedValidation | CrossValidation] = CrossValidation
    if config.classical.name != "none":
        kind = ClassicalValidation
    elif isolated:
        kind = IsolatedValidation
    return kind(
        config,
        training_data,
        runtime,
        seed=seed,
        score=score,
        metric=metric,
        judge=judge,
    )
