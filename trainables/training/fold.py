"""One fold of a trial: its weights, its optimiser, its random draws."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import TrainingConfig, TrialConfig
from trainables.errors import OrchestrateError
from trainables.models.heads import probabilities
from trainables.models.stages import TrainedPart
from trainables.prefix.features import Features
from trainables.training.losses import as_tensor, class_weights, weighted_loss
from trainables.training.optimisers import build_optimizer, lr_factor

IntArray = NDArray[np.int64]
_PREDICTION_BATCH: Final = 256


class NanLossError(OrchestrateError):
    """Training left the numbers: the loss is NaN or infinite."""


@dataclass(frozen=True, slots=True)
class FoldData:
    """What one fold trains on and predicts.

    Attributes:
        features: Where batches come from; shared by all folds.
        train: Positions to train on, shape (n,).
        held_out: Positions to predict, shape (m,).
        labels: Class indices of all positions, shape (rows,).
        classes: Number of classes.
    """

    features: Features
    train: IntArray
    held_out: IntArray
    labels: IntArray
    classes: int


class Fold:
    """Trains one model on some positions, predicts others.

    Args:
        config: The trial.
        part: Freshly built; this fold owns it.
        data: What it trains on and predicts.
        seed: Decides order and views.
        device: Where it trains.
    """

    def __init__(
        self,
        config: TrialConfig,
        part: TrainedPart,
        data: FoldData,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        self.config, self.part, self.features = config, part.to(device), data.features
        self.train_positions, self.held_out = data.train, data.held_out
        self.labels = torch.from_numpy(data.labels).to(device)
        self.optimizer = build_optimizer(config.optimizer, part)
        self.generator = torch.Generator().manual_seed(seed)
        weights = class_weights(config.training.class_weight, data.labels[data.train], data.classes)
        self.weights: Tensor = as_tensor(weights, device)

    def train_epoch(self, epoch: int) -> float:
        """Train one epoch and return the mean weighted loss.

        Raises:
            NanLossError: If the loss is not finite.
        """
        training = self.config.training
        self._set_lr(lr_factor(self.config.optimizer.schedule, epoch, training.epochs))
        self.part.train()
        total = torch.zeros((), device=self.weights.device)
        for positions in self._batches(training):
            batch = self.features.for_training(positions, self.generator)
            labels = self.labels[torch.from_numpy(positions).to(self.labels.device)]
            self.optimizer.zero_grad(set_to_none=True)
            loss = weighted_loss(self.part(batch), labels, self.weights, smoothing=training.label_smoothing)
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(positions)
        mean = float(total) / len(self.train_positions)
        if not np.isfinite(mean):
            raise NanLossError(
                f"the training loss became {mean} in epoch {epoch + 1}; the learning rate is "
                f"{self.config.optimizer.lr:g}"
            )
        return mean

    @torch.inference_mode()
    def predict(self) -> NDArray[np.float32]:
        """Probabilities of the held-out positions, averaged over the prediction views, shape (m, classes)."""
        self.part.eval()
        parts: list[Tensor] = []
        for start in range(0, len(self.held_out), _PREDICTION_BATCH):
            positions = self.held_out[start : start + _PREDICTION_BATCH]
            views = [probabilities(self.part(batch)) for batch in self.features.for_prediction(positions)]
            parts.append(torch.stack(views).mean(dim=0).cpu())
        predicted: NDArray[np.float32] = torch.cat(parts).numpy()
        if not np.isfinite(predicted).all():
            raise NanLossError("the predictions are not finite")
        return predicted

    def state(self) -> dict[str, Any]:
        """All that is needed to go on from here."""
        return {
            "part": self.part.kept_state(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.part.load_kept_state(state["part"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])

    def _batches(self, training: TrainingConfig) -> list[IntArray]:
        order = torch.randperm(len(self.train_positions), generator=self.generator).numpy()
        shuffled = self.train_positions[order]
        batches = [
            shuffled[start : start + training.batch_size]
            for start in range(0, len(shuffled), training.batch_size)
        ]
        # Batch normalisation cannot train on a single image.
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches

    def _set_lr(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
