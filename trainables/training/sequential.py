"""Sequential execution: the models of a trial, one for each fold and repeat, train one after the other.

`trainables.training.fused` runs the same models as one batched computation, with the same results.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from trainables.common.progress import worked
from trainables.common.types import IntArray
from trainables.config.trial_config import TrialConfig
from trainables.features.batches import Features
from trainables.models.heads import Dropout, probabilities
from trainables.models.stages import TrainedPart
from trainables.runtime.devices import single_precision
from trainables.training.feature_augmentation import draw_mixing, mix, perturb
from trainables.training.losses import soft_loss, weighted_loss
from trainables.training.optimizers import build_optimizer, weights_of
from trainables.training.random_streams import RandomStreams
from trainables.training.stepping import Stepper, mixed_precision, parts_of

ExecutionMode = Literal["fused", "sequential"]


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """Features, labels, class weights and random streams that the models of a trial train with.

    Attributes:
        config: The trial.
        features: Features that batches are taken from.
        labels: Class indices of all positions, shape (rows,), on the device.
        class_weights: Weight of each class, from each model's training part, shape (models, classes), on the
            device; its number type is that of the models.
        streams: Random streams, one for each model.
        side_input: Extra inputs of the head besides the pixels, shape (rows, K), on the device; None for
            none.
        targets: Share of each class that a model learns in place of the label, shape (models, rows, classes),
            on the device; None for labels.
    """

    config: TrialConfig
    features: Features
    labels: Tensor
    class_weights: Tensor
    streams: Sequence[RandomStreams]
    side_input: Tensor | None = None
    targets: Tensor | None = None

    def side_input_of(self, positions: IntArray) -> Tensor | None:
        """Extra inputs of the head at positions (...), shape (..., K); None for none."""
        return (
            None
            if self.side_input is None
            else self.side_input[torch.from_numpy(positions).to(self.side_input.device)]
        )

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """Images at positions (n,) in each prediction view, in the models' number type."""
        for batch in self.features.for_prediction(positions):
            worked()
            yield batch.to(self.class_weights.dtype)

    def of(self, model: int) -> "TrainingInputs":
        """Training inputs of one model alone."""
        own = slice(model, model + 1)
        return replace(
            self,
            class_weights=self.class_weights[own],
            streams=self.streams[own],
            targets=None if self.targets is None else self.targets[own],
        )

    def learned_at(self, positions: IntArray) -> Tensor:
        """What is learned at positions (models, B): labels (models, B), or targets (models, B, classes)."""
        places = torch.from_numpy(positions).to(self.labels.device)
        if self.targets is None:
            return self.labels[places]
        return self.targets[torch.arange(len(places), device=places.device)[:, None], places]


class Models(Protocol):
    """Several models of one shape."""

    mode: ExecutionMode
    optimizer: torch.optim.Optimizer
    stepper: Stepper

    def train_step(self, positions: IntArray, *, active: Sequence[bool], augmented: bool = True) -> Tensor:
        """Train one step on positions (models, B); returns the loss of each model, shape (models,).

        The loss of a model that is not active is 0 and its weights stay. Without augmentation the images are
        used as they are.
        """
        ...

    def predict(self, positions: IntArray) -> Tensor:
        """Predict positions (models, H): probabilities averaged over views, shape (models, H, classes)."""
        ...

    def live_tensors(self, model: int) -> dict[str, Tensor]:
        """Tensors of one model that training changes, by name, sharing their memory."""
        ...

    def kept_state(self, model: int) -> dict[str, Tensor]:
        """Weights of one model, as `TrainedPart.kept_state` returns them."""
        ...

    def load_kept_state(self, model: int, state: dict[str, Tensor]) -> None:
        """Load the weights that `kept_state` returned."""
        ...


class SequentialModels:
    """Models that run one after the other.

    Args:
        parts: New trained parts, one for each model; they are modified here.
        inputs: Features, labels, class weights and random streams of the models.
        device: Device that they run on.
    """

    mode: ExecutionMode = "sequential"

    def __init__(self, parts: Sequence[TrainedPart], inputs: TrainingInputs, device: torch.device) -> None:
        self.parts, self.inputs = [part.to(device) for part in parts], inputs
        for part, streams in zip(self.parts, inputs.streams, strict=True):
            use_generator(part, streams.noise)
        weights = [weight for part in self.parts for weight in weights_of(part).values()]
        fine_tuning = inputs.config.fine_tuning
        self.optimizer = build_optimizer(
            inputs.config.optimizer, weights, layer_decay=fine_tuning.layer_decay
        )
        self.stepper = Stepper(self.optimizer, fine_tuning, device)

    def train_step(self, positions: IntArray, *, active: Sequence[bool], augmented: bool = True) -> Tensor:
        """Train one step on positions (models, B); returns the loss of each model, shape (models,)."""
        self.optimizer.zero_grad(set_to_none=True)
        losses = torch.zeros(len(self.parts), device=self.inputs.labels.device)
        for own, share in parts_of(positions, self.inputs.config.fine_tuning.accumulation):
            for model, part in enumerate(self.parts):
                if active[model]:
                    part.train()
                    loss = share * _loss(part, self.inputs.of(model), own[model : model + 1], augmented)
                    self.stepper.backward(loss)
                    losses[model] += loss.detach()
        if any(active):  # where folds are spread over places, those of one place may all have stopped
            self.stepper.step()
        return losses

    @torch.inference_mode()
    @single_precision()
    def predict(self, positions: IntArray) -> Tensor:
        """Predict positions (models, H): probabilities averaged over views, shape (models, H, classes)."""
        found = []
        for part, own in zip(self.parts, positions, strict=True):
            part.eval()
            side_input = self.inputs.side_input_of(own)
            views = [probabilities(part(batch, side_input)) for batch in self.inputs.for_prediction(own)]
            found.append(torch.stack(views).mean(dim=0))
        return torch.stack(found)

    def live_tensors(self, model: int) -> dict[str, Tensor]:
        """Tensors of one model that training changes, by name, sharing their memory."""
        state = self.parts[model].state_dict()
        return {name: tensor for name, tensor in state.items() if not name.startswith("frozen.")}

    def kept_state(self, model: int) -> dict[str, Tensor]:
        """Weights of one model, as `TrainedPart.kept_state` returns them."""
        return self.parts[model].kept_state()

    def load_kept_state(self, model: int, state: dict[str, Tensor]) -> None:
        """Load the weights that `kept_state` returned."""
        self.parts[model].load_kept_state(state)


def _loss(part: TrainedPart, inputs: TrainingInputs, positions: IntArray, augmented: bool) -> Tensor:
    """Loss of one model, a scalar."""

    def forward(batch: Tensor, side_input: Tensor | None) -> Tensor:
        logits: Tensor = part(batch[0], None if side_input is None else side_input[0])
        return logits.unsqueeze(0)

    return training_losses(forward, inputs, positions, augmented=augmented).squeeze(0)


class Forward(Protocol):
    """Maps batches (models, B, ...) and extra inputs (models, B, K) to logits (models, B, outputs)."""

    def __call__(self, batch: Tensor, side_input: Tensor | None, /) -> Tensor: ...


def training_losses(
    forward: Forward, inputs: TrainingInputs, positions: IntArray, *, augmented: bool = True
) -> Tensor:
    """Draw a batch for each model, augment it, and return each model's loss.

    Args:
        forward: Forward pass of the models.
        inputs: Features, labels, class weights and random streams of the models.
        positions: Positions of each model's batch, shape (models, B).
        augmented: False takes the images as they are: no view, noise or mixup is drawn.

    Returns:
        Loss of each model, shape (models,).
    """
    training = inputs.config.training
    batch = inputs.features.for_training(
        positions, [own.order for own in inputs.streams], augmented=augmented
    ).to(inputs.class_weights.dtype)
    learned = inputs.learned_at(positions)
    side_input = inputs.side_input_of(positions)

    def run(images: Tensor, side_input: Tensor | None) -> Tensor:
        with mixed_precision(inputs.config.fine_tuning, images.device):
            logits = forward(images, side_input)
        return logits.to(inputs.class_weights.dtype)

    def loss(logits: Tensor, learned: Tensor) -> Tensor:
        of = weighted_loss if inputs.targets is None else soft_loss
        smoothing, gamma = training.label_smoothing, training.focal_gamma
        return of(logits, learned, inputs.class_weights, smoothing=smoothing, focal_gamma=gamma)

    if augmented:
        batch = perturb(batch, training, inputs.streams, is_pair=inputs.config.model.pair != "none")
    if not (augmented and training.mixup):
        return loss(run(batch, side_input), learned)
    mixing = draw_mixing(training.mixup, positions.shape[1], inputs.streams)
    logits = run(mix(batch, mixing), None if side_input is None else mix(side_input, mixing))
    models = torch.arange(len(learned), device=learned.device)[:, None]
    own, other = loss(logits, learned), loss(logits, learned[models, mixing.partners])
    shares = mixing.shares.to(own)
    return shares * own + (1.0 - shares) * other


def use_generator(module: nn.Module, generator: torch.Generator) -> None:
    """Make all dropout layers of a module draw from one generator."""
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.generator = generator
