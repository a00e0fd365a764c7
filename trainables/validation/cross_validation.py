"""Cross-validation of one configuration: the folds train side by side, epoch by epoch.

Every epoch reports the mean over folds, so that pruning compares like with like; the epoch that is kept is
chosen once, from the mean curve, not per fold.
"""

from dataclasses import fields
from typing import Any

import torch

from trainables.config.trial_config import TrialConfig
from trainables.data.training_data import TrainingData
from trainables.features.loading import open_features
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.initialisation import build_models, train_first_phase
from trainables.training.sequential import ExecutionMode
from trainables.validation.epoch_selection import (
    EpochRecord,
    EpochReport,
    FoldSnapshot,
    Judge,
    Score,
    TrialSnapshot,
)

__all__ = ["CrossValidation", "EpochReport", "Score", "TrialSnapshot"]


class CrossValidation:
    """Trains and evaluates the folds of one configuration in lockstep.

    Args:
        config: The trial.
        training_data: The training part.
        runtime: Store, device and weights.
        seed: Seed of initial weights, order and views.
        score: Maps labels (n,) and probabilities (n, classes) to metrics.
        metric: Name of the searched metric, a key of the metrics that `score` returns.
        judge: Computes the searched metric of all folds together; None takes the mean of the folds' own.

    Attributes:
        record: Losses of the epochs so far, and the kept epoch of each fold.
    """

    has_buffered_epochs = False  # an epoch is reported as soon as it is trained
    child_peak_memory = None  # training runs in this process

    def __init__(
        self,
        config: TrialConfig,
        training_data: TrainingData,
        runtime: TrialRuntime,
        *,
        seed: int,
        score: Score,
        metric: str = "auc",
        judge: Judge | None = None,
    ) -> None:
        self.config, self.training_data, self.runtime = config, training_data, runtime
        self.seed = seed
        self.features, self.feature_use = open_features(config, training_data, runtime)
        self.record = EpochRecord(config, training_data, score=score, metric=metric, judge=judge)
        self._start()

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs."""
        return self.record.epochs_done

    @property
    def is_over(self) -> bool:
        """True when no epoch follows."""
        return self.record.is_over

    @property
    def trained_parameters(self) -> int:
        """Number of weights that train, in one model."""
        return self.folds.trained_parameters

    @property
    def best(self) -> TrialSnapshot | None:
        """Snapshot at the epoch that is kept so far; None before the first epoch."""
        return self.record.best

    def epoch(self) -> EpochReport:
        """Train and evaluate all folds for one epoch.

        Raises:
            NanLossError: If a loss or prediction is not finite.
        """
        record = self.record
        if record.epochs_done == 0 and self.config.training.first_phase != "none":
            self.folds.start_from(
                train_first_phase(self.config, self.training_data, self.runtime, seed=self.seed)
            )
        losses = self.folds.train_epoch(record.epochs_done, active=record.active(), losses=record.losses)
        probabilities = self.folds.predict()
        return record.add(losses, [probabilities[own] for own in record.held_out], self.folds.kept_states)

    def state(self) -> dict[str, Any]:
        """Checkpoint: everything that is needed to continue after the last epoch."""
        return {
            "epochs_done": self.record.epochs_done,
            "kept": [None if fold is None else _plain(fold) for fold in self.record.kept],
            "losses": self.record.losses,
            "folds": self.folds.state(),
            "rng": torch.get_rng_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        if state["folds"]["how"] != self.folds.models.mode:
            self._start(mode=state["folds"]["how"])
        record = self.record
        record.epochs_done, record.losses = state["epochs_done"], state["losses"]
        record.kept = [None if fold is None else FoldSnapshot(**fold) for fold in state["kept"]]
        self.folds.load_state(state["folds"])
        torch.set_rng_state(state["rng"])

    def _start(self, mode: ExecutionMode | None = None) -> None:
        self.folds = build_models(
            self.config, self.training_data, self.runtime, features=self.features, seed=self.seed, mode=mode
        )


def _plain(snapshot: FoldSnapshot) -> dict[str, Any]:
    return {field.name: getattr(snapshot, field.name) for field in fields(snapshot)}
