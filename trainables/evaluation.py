"""Cross-validation of one configuration: the folds train side by side, epoch by epoch.

Every epoch reports the mean over folds, so that pruning compares like with like; the epoch that is kept is
chosen once, from the mean curve, not per fold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.assembly import build_part
from trainables.config import TrialConfig
from trainables.material import Material, Place
from trainables.prefix.opening import open_features
from trainables.training.fold import Fold, FoldData
from trainables.training.losses import log_loss

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
    """The epoch that is kept."""

    epoch: int
    loss: float
    value: float
    probabilities: NDArray[np.float32]
    fold_metrics: tuple[dict[str, float], ...]
    collapsed: tuple[int, ...]
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
        self.config, self.material, self.score, self.metric = config, material, score, metric
        self.features, self.use = open_features(config, material, place)
        torch.manual_seed(seed)  # only now: filling a cold store draws random numbers, a warm one does not
        self.folds = [self._fold(number, place, seed) for number in range(int(material.folds.max()) + 1)]
        self.epochs_done = 0
        self.best: Best | None = None

    @property
    def is_over(self) -> bool:
        """True when no epoch follows."""
        training = self.config.training
        if self.epochs_done >= training.epochs:
            return True
        waited = self.epochs_done - (self.best.epoch if self.best else 0)
        return training.patience is not None and waited >= training.patience

    @property
    def trained_parameters(self) -> int:
        """Number of weights that train, in one fold."""
        return sum(p.numel() for p in self.folds[0].part.parameters() if p.requires_grad)

    def epoch(self) -> EpochReport:
        """Train and evaluate all folds for one epoch.

        Raises:
            NanLossError: If a loss or prediction is not finite.
        """
        training_losses = [fold.train_epoch(self.epochs_done) for fold in self.folds]
        self.epochs_done += 1
        probabilities = np.zeros((len(self.material.labels), self.material.classes), dtype=np.float32)
        for fold in self.folds:
            probabilities[fold.held_out] = fold.predict()
        losses = [self._log_loss(fold, probabilities) for fold in self.folds]
        scores = tuple(
            self.score(self.material.labels[fold.held_out], probabilities[fold.held_out])
            for fold in self.folds
        )
        collapsed = tuple(
            number
            for number, fold in enumerate(self.folds)
            if len(np.unique(probabilities[fold.held_out].argmax(axis=1))) == 1
        )
        value = float(np.mean([score[self.metric] for score in scores]))
        loss = float(np.mean(losses))
        best = self.best
        if best is None or self._is_better(best, loss, value):
            weights = [fold.part.kept_state() for fold in self.folds]
            best = Best(self.epochs_done, loss, value, probabilities, scores, collapsed, weights)
            self.best = best
        return EpochReport(
            epoch=self.epochs_done,
            value=best.value,
            scalars=_scalars(training_losses, losses, scores),
            collapsed=collapsed,
            is_last=self.is_over,
        )

    def state(self) -> dict[str, Any]:
        """Checkpoint: all that is needed to go on after the last epoch."""
        return {
            "epochs_done": self.epochs_done,
            "best": self.best,
            "folds": [fold.state() for fold in self.folds],
            "rng": torch.get_rng_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.epochs_done, self.best = state["epochs_done"], state["best"]
        for fold, kept in zip(self.folds, state["folds"], strict=True):
            fold.load_state(kept)
        torch.set_rng_state(state["rng"])

    def _is_better(self, best: Best, loss: float, value: float) -> bool:
        if self.config.training.keep_epoch_by == "loss":
            return loss < best.loss
        return value > best.value

    def _fold(self, number: int, place: Place, seed: int) -> Fold:
        held_out = self.material.folds == number
        data = FoldData(
            features=self.features,
            train=np.flatnonzero(~held_out),
            held_out=np.flatnonzero(held_out),
            labels=self.material.labels,
            classes=self.material.classes,
        )
        part = build_part(self.config, self.features.shape, place, self.material)
        return Fold(self.config, part, data, seed=seed * 1009 + number, device=place.device)

    def _log_loss(self, fold: Fold, probabilities: NDArray[np.float32]) -> float:
        return log_loss(self.material.labels[fold.held_out], probabilities[fold.held_out])


def _scalars(
    training: Sequence[float], validation: Sequence[float], scores: Sequence[dict[str, float]]
) -> dict[str, float]:
    scalars = {"loss/train": float(np.mean(training)), "loss/validation": float(np.mean(validation))}
    for name in scores[0]:
        scalars[f"{name}/validation"] = float(np.mean([score[name] for score in scores]))
    for number, (train, held_out, score) in enumerate(
        zip(training, validation, scores, strict=True), start=1
    ):
        scalars[f"fold_{number}/loss_train"] = train
        scalars[f"fold_{number}/loss_validation"] = held_out
        scalars[f"fold_{number}/auc"] = score["auc"]
    return scalars
