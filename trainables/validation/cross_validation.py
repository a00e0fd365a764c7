"""Cross-validation of one configuration: the folds train side by side, epoch by epoch.

Every epoch reports the value of the metric over all folds, so that pruning compares like with like; the
epoch that is kept is chosen once, from the mean curve, not per fold.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

import torch

from trainables.config.trial_config import TrialConfig
from trainables.data.training_data import TrainingData
from trainables.features.loading import open_features
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.fold_states import part_of
from trainables.training.folds import Folds
from trainables.training.initialisation import build_models, train_first_phase
from trainables.training.random_streams import load_shared_state, shared_state
from trainables.training.sequential import ExecutionMode
from trainables.training.spread import FoldsElsewhere, SpreadFolds, shares_of
from trainables.validation.epoch_selection import (
    EpochRecord,
    EpochReport,
    FoldSnapshot,
    Judge,
    Score,
    TrialSnapshot,
)

__all__ = ["CrossValidation", "EpochReport", "Score", "TrialSnapshot"]

_SEEDS: Final = 2**31


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
        trained_parameters: Number of weights that train, in one model.
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
        self.folds: Folds | SpreadFolds = self._built()
        self.trained_parameters = self.folds.trained_parameters

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs."""
        return self.record.epochs_done

    @property
    def is_over(self) -> bool:
        """True when no epoch follows."""
        return self.record.is_over

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
        is_phased = record.epochs_done == 0 and self.config.training.first_phase != "none"
        if is_phased and isinstance(self.folds, Folds):
            self.folds.start_from(
                train_first_phase(self.config, self.training_data, self.runtime, seed=self.seed)
            )
        losses = self.folds.train_epoch(record.epochs_done, active=record.active(), losses=record.losses)
        probabilities = self.folds.predict()
        return record.add(losses, [probabilities[own] for own in record.held_out], self.folds.kept_states)

    def spread(self, elsewhere: Sequence[FoldsElsewhere]) -> None:
        """Train the folds here and elsewhere from the next epoch on; here alone again where nothing is given.

        The results are those of training in one place, but for the order of summation, for layers that draw
        from torch's own stream, and for the factor of half-precision losses, which each place finds for
        itself. May be called after the first epoch, and again: a place then gets other folds.

        Args:
            elsewhere: Other places, each with the features of the trial at hand; fewer than folds.

        Raises:
            Exception: What has gone wrong elsewhere; the trial cannot go on then, but from its checkpoint.
        """
        shares = shares_of(len(self.record.kept), 1 + len(elsewhere))
        mode, state, repeats = self.folds.mode, self.folds.state(), self.config.training.repeats
        parts = [part_of(state, range(own.start * repeats, own.stop * repeats)) for own in shares]
        places = list(zip(shares[1:], elsewhere, strict=True))
        for (numbers, place), part in zip(places, parts[1:], strict=True):
            place.begin(numbers, part, mode=mode, seed=int(torch.randint(_SEEDS, ())))
        drawn = shared_state(self.runtime.device)
        del self.folds, state  # their memory is needed; the parts are copies in main memory
        own = self._built(mode, shares[0])
        own.load_state(parts[0])
        load_shared_state(drawn, self.runtime.device)
        for place in elsewhere:
            place.wait()
        self.folds = SpreadFolds(own, places) if places else own

    def state(self) -> dict[str, Any]:
        """Checkpoint: everything that is needed to continue after the last epoch."""
        return {
            "epochs_done": self.record.epochs_done,
            "kept": [None if fold is None else _plain(fold) for fold in self.record.kept],
            "losses": self.record.losses,
            "folds": self.folds.state(),
            **shared_state(self.runtime.device),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        if state["folds"]["how"] != self.folds.mode or isinstance(self.folds, SpreadFolds):
            self.folds = self._built(state["folds"]["how"])
        record = self.record
        record.epochs_done, record.losses = state["epochs_done"], state["losses"]
        record.kept = [None if fold is None else FoldSnapshot(**fold) for fold in state["kept"]]
        self.folds.load_state(state["folds"])
        load_shared_state(state, self.runtime.device)

    def _built(self, mode: ExecutionMode | None = None, numbers: range | None = None) -> Folds:
        return build_models(
            self.config,
            self.training_data,
            self.runtime,
            features=self.features,
            seed=self.seed,
            mode=mode,
            numbers=numbers,
        )


def _plain(snapshot: FoldSnapshot) -> dict[str, Any]:
    return {field.name: getattr(snapshot, field.name) for field in fields(snapshot)}
