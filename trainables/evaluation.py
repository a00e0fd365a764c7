"""Cross-validation of one configuration: the folds train side by side, epoch by epoch.

Every epoch reports the mean over folds, so that pruning compares like with like; the epoch that is kept is
chosen once, from the mean curve, not per fold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import TrialConfig
from trainables.material import Material, Place
from trainables.phases import build_models, train_first_phase
from trainables.prefix.opening import open_features
from trainables.training.losses import log_loss
from trainables.training.models import How

IntArray = NDArray[np.int64]
Score = Callable[[IntArray, NDArray[np.float32]], dict[str, float]]


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One finished epoch of all folds.

    Attributes:
        epoch: 1-based.
        value: The metric at the best epoch so far, mean over folds.
        scalars: Name -> value: means over folds, and `fold_1/...` for each fold.
        collapsed: 0-based folds whose predictions are a single class.
        is_last: No epoch follows.
    """

    epoch: int
    value: float
    scalars: dict[str, float]
    collapsed: tuple[int, ...]
    is_last: bool


@dataclass(slots=True)
class Best:
    """What is kept of each fold, and the trial's value with it.

    Attributes:
        epoch: 1-based; the last of the folds' epochs where each keeps its own.
        loss: Mean validation loss over folds.
        value: The metric, mean over folds.
        probabilities: Out-of-fold predictions, shape (rows, classes).
        fold_metrics: Of each fold.
        collapsed: 0-based folds whose predictions are a single class.
        weights: Of each model: fold by fold, and in a fold repeat by repeat.
    """

    epoch: int
    loss: float
    value: float
    probabilities: NDArray[np.float32]
    fold_metrics: tuple[dict[str, float], ...]
    collapsed: tuple[int, ...]
    weights: list[dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class _Kept:
    """One fold at the epoch that is kept of it."""

    epoch: int
    loss: float
    probabilities: NDArray[np.float32]
    metrics: dict[str, float]
    is_collapsed: bool
    weights: list[dict[str, Tensor]]


class CrossValidation:
    """Trains and evaluates the folds of one configuration in lockstep.

    Args:
        config: The trial.
        material: The training part.
        place: Store, device and weights.
        seed: Decides initial weights, order and views.
        score: Maps labels (n,) and probabilities (n, classes) to metrics.
        metric: The metric to report, a key of what `score` returns.
    """

    def __init__(
        self,
        config: TrialConfig,
        material: Material,
        place: Place,
        *,
        seed: int,
        score: Score,
        metric: str = "auc",
    ) -> None:
        self.config, self.material, self.place = config, material, place
        self.seed, self.score, self.metric = seed, score, metric
        self.features, self.use = open_features(config, material, place)
        self.epochs_done = 0
        self.losses: list[float] = []
        self.kept: list[_Kept | None] = [None] * (int(material.folds.max()) + 1)
        self._start()

    @property
    def is_over(self) -> bool:
        """True when no epoch follows."""
        return self.epochs_done >= self.config.training.epochs or not any(self._active())

    @property
    def trained_parameters(self) -> int:
        """Number of weights that train, in one model."""
        return self.folds.trained_parameters

    @property
    def best(self) -> Best | None:
        """What is kept so far; None before the first epoch."""
        kept = [one for one in self.kept if one is not None]
        if not kept:
            return None
        probabilities = np.zeros((len(self.material.labels), self.material.classes), dtype=np.float32)
        for own, held_out in zip(kept, self.folds.held_out, strict=True):
            probabilities[held_out] = own.probabilities
        return Best(
            epoch=max(own.epoch for own in kept),
            loss=float(np.mean([own.loss for own in kept])),
            value=float(np.mean([own.metrics[self.metric] for own in kept])),
            probabilities=probabilities,
            fold_metrics=tuple(own.metrics for own in kept),
            collapsed=tuple(fold for fold, own in enumerate(kept) if own.is_collapsed),
            weights=[state for own in kept for state in own.weights],
        )

    def epoch(self) -> EpochReport:
        """Train and evaluate all folds for one epoch.

        Raises:
            NanLossError: If a loss or prediction is not finite.
        """
        if self.epochs_done == 0 and self.config.training.first_phase != "none":
            self.folds.start_from(train_first_phase(self.config, self.material, self.place, seed=self.seed))
        active = self._active()
        training_losses = self.folds.train_epoch(self.epochs_done, active=active, losses=self.losses)
        self.epochs_done += 1
        now = self._evaluated(self.folds.predict())
        self.losses.append(float(np.mean([own.loss for own in now])))
        for fold in self._improved(now, active):
            self.kept[fold] = replace(now[fold], weights=self.folds.kept_states(fold))
        kept = [one for one in self.kept if one is not None]
        return EpochReport(
            epoch=self.epochs_done,
            value=float(np.mean([own.metrics[self.metric] for own in kept])),
            scalars=_scalars(training_losses, now),
            collapsed=tuple(fold for fold, own in enumerate(now) if own.is_collapsed),
            is_last=self.is_over,
        )

    def state(self) -> dict[str, Any]:
        """Checkpoint: all that is needed to go on after the last epoch."""
        return {
            "epochs_done": self.epochs_done,
            "kept": self.kept,
            "losses": self.losses,
            "folds": self.folds.state(),
            "rng": torch.get_rng_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if state["folds"]["how"] != self.folds.models.how:
            self._start(how=state["folds"]["how"])
        self.epochs_done, self.kept, self.losses = state["epochs_done"], state["kept"], state["losses"]
        self.folds.load_state(state["folds"])
        torch.set_rng_state(state["rng"])

    def _start(self, how: How | None = None) -> None:
        self.folds = build_models(
            self.config, self.material, self.place, features=self.features, seed=self.seed, how=how
        )

    def _active(self) -> list[bool]:
        """Folds that go on: all until the mean curve stops, or each by itself."""
        patience = self.config.training.patience
        return [
            own is None or patience is None or self.epochs_done - own.epoch < patience for own in self.kept
        ]

    def _evaluated(self, probabilities: NDArray[np.float32]) -> list[_Kept]:
        found = []
        for held_out in self.folds.held_out:
            labels, own = self.material.labels[held_out], probabilities[held_out]
            is_collapsed = len(np.unique(own.argmax(axis=1))) == 1
            found.append(
                _Kept(self.epochs_done, log_loss(labels, own), own, self.score(labels, own), is_collapsed, [])
            )
        return found

    def _improved(self, now: Sequence[_Kept], active: Sequence[bool]) -> list[int]:
        """Folds for which this epoch is better than what is kept."""
        if self.config.training.stopping == "fold":
            return [
                fold
                for fold, (new, old) in enumerate(zip(now, self.kept, strict=True))
                if active[fold] and (old is None or self._is_better([new], [old]))
            ]
        old = [own for own in self.kept if own is not None]
        return list(range(len(now))) if not old or self._is_better(now, old) else []

    def _is_better(self, now: Sequence[_Kept], old: Sequence[_Kept]) -> bool:
        if self.config.training.keep_epoch_by == "loss":
            return float(np.mean([own.loss for own in now])) < float(np.mean([own.loss for own in old]))
        return float(np.mean([own.metrics[self.metric] for own in now])) > float(
            np.mean([own.metrics[self.metric] for own in old])
        )


def _scalars(training: Sequence[float] | NDArray[np.float32], now: Sequence[_Kept]) -> dict[str, float]:
    losses = [own.loss for own in now]
    scalars = {"loss/train": float(np.mean(training)), "loss/validation": float(np.mean(losses))}
    for name in now[0].metrics:
        scalars[f"{name}/validation"] = float(np.mean([own.metrics[name] for own in now]))
    for number, (train, own) in enumerate(zip(training, now, strict=True), start=1):
        scalars[f"fold_{number}/loss_train"] = float(train)
        scalars[f"fold_{number}/loss_validation"] = own.loss
        scalars[f"fold_{number}/auc"] = own.metrics["auc"]
    return scalars
