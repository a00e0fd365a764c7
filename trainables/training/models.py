"""The models of a trial, one for each fold and repeat, trained one after the other.

`trainables.training.fused` has the same models as one batched computation, with the same results.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.config import TrialConfig
from trainables.models.heads import Dropout, probabilities
from trainables.models.stages import TrainedPart
from trainables.prefix.features import Features
from trainables.training.augmentation import draw_mixing, mix, perturb
from trainables.training.draws import Draws
from trainables.training.losses import weighted_loss
from trainables.training.optimisers import add_l1, build_optimizer, weights_of

IntArray = NDArray[np.int64]
How = Literal["fused", "sequential"]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the models of a trial learn from.

    Attributes:
        config: The trial.
        features: Where batches come from.
        labels: Class indices of all positions, shape (rows,), on the device.
        class_weights: Of each model's training part, shape (models, classes), on the device; its number type
            is that of the models.
        draws: Of each model.
    """

    config: TrialConfig
    features: Features
    labels: Tensor
    class_weights: Tensor
    draws: Sequence[Draws]

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """Images at positions (n,) in each prediction view, in the models' number type."""
        for batch in self.features.for_prediction(positions):
            yield batch.to(self.class_weights.dtype)

    def of(self, model: int) -> "Lesson":
        """The lesson of one model alone."""
        weights = self.class_weights[model : model + 1]
        return Lesson(self.config, self.features, self.labels, weights, self.draws[model : model + 1])


class Models(Protocol):
    """Several models of one shape."""

    how: How
    optimizer: torch.optim.Optimizer

    def train_step(self, positions: IntArray, *, active: Sequence[bool]) -> Tensor:
        """Train one step on positions (models, B); returns the loss of each model, shape (models,).

        What happens to a model that is not active is left open; its loss is 0.
        """
        ...

    def predict(self, positions: IntArray) -> Tensor:
        """Probabilities of positions (models, H), averaged over views: (models, H, classes)."""
        ...

    def kept_state(self, model: int) -> dict[str, Tensor]:
        """Weights of one model, as `TrainedPart.kept_state` returns them."""
        ...

    def load_kept_state(self, model: int, state: dict[str, Tensor]) -> None:
        """Put back what `kept_state` returned."""
        ...


class SequentialModels:
    """Models that run one after the other.

    Args:
        parts: Freshly built, one for each model; owned from now on.
        lesson: What they learn from.
        device: Where they run.
    """

    how: How = "sequential"

    def __init__(self, parts: Sequence[TrainedPart], lesson: Lesson, device: torch.device) -> None:
        self.parts, self.lesson = [part.to(device) for part in parts], lesson
        for part, draws in zip(self.parts, lesson.draws, strict=True):
            use_generator(part, draws.noise)
        weights = [weight for part in self.parts for weight in weights_of(part).values()]
        self.optimizer = build_optimizer(lesson.config.optimizer, weights)

    def train_step(self, positions: IntArray, *, active: Sequence[bool]) -> Tensor:
        """Train one step on positions (models, B); returns the loss of each model, shape (models,)."""
        self.optimizer.zero_grad(set_to_none=True)
        losses = torch.zeros(len(self.parts), device=self.lesson.labels.device)
        for model, part in enumerate(self.parts):
            if active[model]:
                part.train()
                loss = self._loss(part, self.lesson.of(model), positions[model : model + 1])
                loss.backward()
                losses[model] = loss.detach()
        add_l1(self.optimizer)
        self.optimizer.step()
        return losses

    @torch.inference_mode()
    def predict(self, positions: IntArray) -> Tensor:
        """Probabilities of positions (models, H), averaged over views: (models, H, classes)."""
        found = []
        for part, own in zip(self.parts, positions, strict=True):
            part.eval()
            views = [probabilities(part(batch)) for batch in self.lesson.for_prediction(own)]
            found.append(torch.stack(views).mean(dim=0))
        return torch.stack(found)

    def kept_state(self, model: int) -> dict[str, Tensor]:
        """Weights of one model, as `TrainedPart.kept_state` returns them."""
        return self.parts[model].kept_state()

    def load_kept_state(self, model: int, state: dict[str, Tensor]) -> None:
        """Put back what `kept_state` returned."""
        self.parts[model].load_kept_state(state)

    @staticmethod
    def _loss(part: TrainedPart, lesson: Lesson, positions: IntArray) -> Tensor:
        return training_losses(lambda batch: part(batch[0]).unsqueeze(0), lesson, positions).squeeze(0)


class Forward(Protocol):
    """Maps batches (models, B, ...) to logits (models, B, outputs)."""

    def __call__(self, batch: Tensor, /) -> Tensor: ...


def training_losses(forward: Forward, lesson: Lesson, positions: IntArray) -> Tensor:
    """Draw a batch for each model, augment it, and return each model's loss.

    Args:
        forward: The models.
        lesson: What they learn from.
        positions: Shape (models, B).

    Returns:
        Shape (models,).
    """
    training = lesson.config.training
    batch = lesson.features.for_training(positions, [own.order for own in lesson.draws])
    batch = perturb(batch.to(lesson.class_weights.dtype), training, lesson.draws)
    labels = lesson.labels[torch.from_numpy(positions).to(lesson.labels.device)]
    weights, smoothing = lesson.class_weights, training.label_smoothing
    if not training.mixup:
        return weighted_loss(forward(batch), labels, weights, smoothing=smoothing)
    mixing = draw_mixing(training.mixup, positions.shape[1], lesson.draws)
    logits = forward(mix(batch, mixing))
    own = weighted_loss(logits, labels, weights, smoothing=smoothing)
    other = weighted_loss(logits, labels.gather(1, mixing.partners), weights, smoothing=smoothing)
    shares = mixing.shares.to(own)
    return shares * own + (1.0 - shares) * other


def use_generator(module: nn.Module, generator: torch.Generator) -> None:
    """Let all dropout in a module draw from one generator."""
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.generator = generator
