"""The cross-validation of a configuration, whatever it trains: a net, or a classical model."""

from typing import Any, Protocol

from trainables.config.trial_config import TrialConfig
from trainables.data.training_data import TrainingData
from trainables.features.feature_use import FeatureUse
from trainables.runtime.memory import MemoryUse
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.classical import ClassicalValidation
from trainables.validation.cross_validation import CrossValidation
from trainables.validation.epoch_selection import EpochReport, Score, TrialSnapshot
from trainables.validation.isolated import IsolatedValidation


class Validation(Protocol):
    """A trial under way: trains and evaluates all folds, an epoch at a time.

    Attributes:
        training_data: The training part.
        feature_use: How the trial is fed.
        epochs_done: Finished epochs.
    """

    training_data: TrainingData
    feature_use: FeatureUse

    @property
    def epochs_done(self) -> int:
        """Finished epochs."""
        ...

    @property
    def is_over(self) -> bool:
        """True when no epoch follows."""
        ...

    @property
    def has_buffered_epochs(self) -> bool:
        """True while the next epoch is trained already, so that it takes no time."""
        ...

    @property
    def child_peak_memory(self) -> MemoryUse | None:
        """Most that a process of its own has needed; None where the folds train in this one."""
        ...

    @property
    def trained_parameters(self) -> int | None:
        """Number of weights that train, in one model; None for a classical model."""
        ...

    @property
    def best(self) -> TrialSnapshot | None:
        """What is kept so far; None before the first epoch."""
        ...

    def epoch(self) -> EpochReport:
        """Train and evaluate all folds for one epoch."""
        ...

    def state(self) -> dict[str, Any]:
        """Checkpoint: all that is needed to go on after the last epoch."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        ...


def open_validation(
    config: TrialConfig,
    training_data: TrainingData,
    runtime: TrialRuntime,
    *,
    seed: int,
    score: Score,
    metric: str,
    isolated: bool = False,
) -> Validation:
    """Open the folds of a configuration.

    Args:
        config: The trial; `classical.name` decides what is fitted.
        training_data: The training part.
        runtime: Store, device and weights.
        seed: Decides all that is drawn at random.
        score: Maps labels (n,) and probabilities (n, classes) to metrics.
        metric: The metric to report, a key of what `score` returns.
        isolated: Train each fold of a net in a process of its own; a classical model is fitted here.

    Raises:
        OrchestrateError: If the configuration cannot run on these data.
    """
    if config.classical.name != "none":
        return ClassicalValidation(config, training_data, runtime, seed=seed, score=score, metric=metric)
    kind = IsolatedValidation if isolated else CrossValidation
    return kind(config, training_data, runtime, seed=seed, score=score, metric=metric)
