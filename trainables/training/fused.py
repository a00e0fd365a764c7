"""The models of a trial as one batched computation over stacked weights.

Heads are batched matrix products; stages run through `torch.func.vmap`, which turns convolutions into grouped
ones. Every model sees the same draws as it would by itself, so the results agree with those of
`SequentialModels` up to the order of summation.

Source:
    Wang et al. (2021), "Horizontally Fused Training Array" (MLSys): the idea of fusing models of one shape.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from trainables.common.types import IntArray
from trainables.models.heads import Dropout, Join, Merge, Pool, probabilities, use_generators
from trainables.models.stages import TrainedPart
from trainables.runtime.devices import single_precision
from trainables.training.optimizers import build_optimizer, weights_of
from trainables.training.random_streams import bernoulli
from trainables.training.sequential import ExecutionMode, TrainingInputs, training_losses
from trainables.training.stepping import Stepper, parts_of

_HEAD_LAYERS = (Pool, Merge, Join, Dropout, nn.Linear, nn.BatchNorm1d, nn.ReLU)


def can_fuse(part: TrainedPart) -> bool:
    """True if every layer of the head has a batched form, and stages are computed once a step."""
    return not part.is_checkpointed and all(isinstance(layer, _HEAD_LAYERS) for layer in part.head.children())


class FusedModels:
    """Models that run as one batched computation.

    Args:
        parts: New trained parts, one for each model, all of one shape.
        inputs: Features, labels, class weights and random streams of the models.
        device: Device that they run on.
    """

    mode: ExecutionMode = "fused"

    def __init__(self, parts: Sequence[TrainedPart], inputs: TrainingInputs, device: torch.device) -> None:
        self.inputs = inputs
        self.part = copy.deepcopy(parts[0]).to(device)  # its structure; its weights are not read
        self.body = _Body(self.part)
        self.has_body = any(True for _ in self.body.parameters())
        shared = (
            {} if self.part.keeps_frozen else self.part.frozen.state_dict()
        )  # else each model has its own
        frozen = {f"frozen.{name}": tensor for name, tensor in shared.items()}
        states = [part.state_dict() for part in parts]
        trained = weights_of(parts[0])
        self.frozen, self.turned = frozen, _dense_weights(self.part.head)
        self.stacked: dict[str, Tensor] = {
            name: torch.stack([self._turn(name, state[name].detach()) for state in states]).to(device)
            for name in states[0]
            if name not in frozen
        }
        for name in trained:
            self.stacked[name].requires_grad_(True)
        weights = [replace(weight, tensor=self.stacked[name]) for name, weight in trained.items()]
        fine_tuning = inputs.config.fine_tuning
        self.optimizer = build_optimizer(
            inputs.config.optimizer, weights, layer_decay=fine_tuning.layer_decay
        )
        self.stepper = Stepper(self.optimizer, fine_tuning, device)
        # Without generators of their own, dropout layers inside vmap would draw from torch's global stream:
        # the models would then drop other units than they do one by one, and the modes would not agree.
        use_generators(self.body, [streams.noise for streams in inputs.streams])

    def train_step(self, positions: IntArray, *, active: Sequence[bool], augmented: bool = True) -> Tensor:
        """Train one step on positions (models, B); returns the loss of each model, shape (models,)."""
        self.part.train()
        # Taking a model that is not active out of the stack would change all shapes: it trains along, and is
        # put back after the step. Else it could grow out of all bounds unseen.
        resting = [model for model, is_active in enumerate(active) if not is_active]
        before = {name: tensor[resting].detach() for name, tensor in self.stacked.items()} if resting else {}
        self.optimizer.zero_grad(set_to_none=True)
        losses = torch.zeros(len(positions), device=self.inputs.labels.device)
        for own, share in parts_of(positions, self.inputs.config.fine_tuning.accumulation):
            found = share * training_losses(self._logits, self.inputs, own, augmented=augmented)
            # The sum has for each model exactly the gradient of its own loss, since no weight is shared. A
            # mean would divide every gradient by the number of models, and with it SGD's learning rate.
            self.stepper.backward(found.sum())
            losses = losses.to(found.dtype) + found.detach()
        self.stepper.step()
        with torch.no_grad():
            for name, tensor in before.items():
                self.stacked[name][resting] = tensor
        # Not a product with zero, which is not a number where the loss is none.
        return losses.where(torch.tensor(active, device=losses.device), 0.0)

    @torch.inference_mode()
    @single_precision()
    def predict(self, positions: IntArray) -> Tensor:
        """Predict positions (models, H): probabilities averaged over views, shape (models, H, classes)."""
        self.part.eval()
        views = [
            probabilities(
                self._logits(batch.unflatten(0, positions.shape), self.inputs.side_input_of(positions))
            )
            for batch in self.inputs.for_prediction(positions.reshape(-1))
        ]
        return torch.stack(views).mean(dim=0)

    def live_tensors(self, model: int) -> dict[str, Tensor]:
        """Tensors of one model that training changes, by name, sharing their memory; dense weights turned."""
        return {
            name: tensor.detach()[model]
            for name, tensor in self.stacked.items()
            if not name.startswith("frozen.")
        }

    def kept_state(self, model: int) -> dict[str, Tensor]:
        """Weights of one model, as `TrainedPart.kept_state` returns them."""
        return {
            name: self._turn(name, tensor[model].detach()).cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.stacked.items()
        }

    def load_kept_state(self, model: int, state: dict[str, Tensor]) -> None:
        """Load the weights that `kept_state` returned."""
        with torch.no_grad():
            for name, tensor in self.stacked.items():
                tensor[model].copy_(self._turn(name, state[name]))

    def _turn(self, name: str, tensor: Tensor) -> Tensor:
        # Dense weights are stored here as (inputs, outputs), the order that `baddbmm` takes. Kept in torch's
        # order, weight and gradient would be transposed at every step. States leave and enter in torch's
        # order, so that both execution modes read each other's.
        return tensor.mT if name in self.turned else tensor

    def _logits(self, batch: Tensor, side_input: Tensor | None) -> Tensor:
        """Map (models, B, ...), or pairs (models, B, 2, ...), to (models, B, outputs)."""
        if self.part.is_pair:
            batch = batch.flatten(1, 2)
        if self.has_body:
            # The body is never set to train or eval mode by itself: `TrainedPart.train` keeps frozen stages
            # and pretrained batch statistics in eval mode, and a plain `train()` here would undo that.
            own = {name: tensor for name, tensor in self.stacked.items() if not name.startswith("head.")}
            # `different` is for random layers of published nets: with its default vmap refuses them, and with
            # `same` all models would share one mask.
            run = vmap(self._run_body, in_dims=(0, 0), randomness="different")
            batch = run(own, batch)
        return self._stacked_head(batch, side_input)

    def _stacked_head(self, features: Tensor, side_input: Tensor | None) -> Tensor:
        """Run the head for all models at once, (models, B, ...) to (models, B, outputs)."""
        for name, layer in self.part.head.named_children():
            if isinstance(layer, Join):
                features = layer(features, side_input)
            elif isinstance(layer, Merge):
                features = layer(features)
            else:
                own = {key: self.stacked.get(f"head.{name}.{key}") for key in _STATE}
                features = _stacked_layer(layer, own, features, self.inputs)
        return features

    def _run_body(self, own: Mapping[str, Tensor], batch: Tensor) -> Tensor:
        features: Tensor = functional_call(self.body, {**self.frozen, **own}, (batch,))
        return features


class _Body(nn.Module):
    """A trained part without its head; its tensors keep their names."""

    def __init__(self, part: TrainedPart) -> None:
        super().__init__()
        self.adapter, self.frozen, self.trained = part.adapter, part.frozen, part.trained

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.trained(self.frozen(self.adapter(features)))
        return out


def _dense_weights(head: nn.Module) -> set[str]:
    layers = head.named_children()
    return {f"head.{name}.weight" for name, layer in layers if isinstance(layer, nn.Linear)}


_STATE = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _stacked_layer(
    layer: nn.Module, own: Mapping[str, Any], features: Tensor, inputs: TrainingInputs
) -> Tensor:
    if isinstance(layer, Pool):
        is_averaged = features.dim() == 5 and layer.kind == "gap"
        return features.mean(dim=(3, 4)) if is_averaged else features.flatten(2)
    if isinstance(layer, nn.Linear):
        return torch.baddbmm(own["bias"].unsqueeze(1), features, own["weight"])
    if isinstance(layer, nn.BatchNorm1d):
        return _stacked_norm(layer, own, features)
    if isinstance(layer, Dropout):
        if not layer.training or layer.p == 0.0:
            return features
        keep = 1.0 - layer.p
        kept = bernoulli(features.shape[1:], keep, [streams.noise for streams in inputs.streams])
        return features * kept.to(features.dtype) / keep
    if isinstance(layer, nn.ReLU):
        return features.relu()
    raise TypeError(f"a head layer without a batched form: {type(layer).__name__}")


def _stacked_norm(layer: nn.BatchNorm1d, own: Mapping[str, Any], features: Tensor) -> Tensor:
    """Normalise each model's batch by itself, (models, B, width) to the same shape."""
    # Models side by side along the channels: batch normalisation treats channels separately, so no model sees
    # another's statistics. Along the batch axis all models would be normalised with one common mean.
    models, images, width = features.shape
    flat = features.transpose(0, 1).reshape(images, models * width)
    if layer.training:
        own["num_batches_tracked"].add_(1)
    normed = F.batch_norm(
        flat,
        # `view`, not `reshape`: it fails where it would copy, and updates of a copy would be lost.
        own["running_mean"].view(-1),
        own["running_var"].view(-1),
        own["weight"].reshape(-1),
        own["bias"].reshape(-1),
        training=layer.training,
        momentum=layer.momentum or 0.0,
        eps=layer.eps,
    )
    return normed.view(images, models, width).transpose(0, 1)
