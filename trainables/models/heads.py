"""Heads: layers from a feature map, or from pooled features, to logits."""

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from trainables.common.errors import ConfigError
from trainables.config.trial_config import HeadConfig, ModelConfig

_SMALLEST_PROBABILITY: Final = 1e-37  # smaller probabilities, which float32 cannot hold, count as this one
_NORM_EPS: Final = {"keras": 1e-5, "tf003": 1e-8}


class Pool(nn.Module):
    """Layer to (B, D): averages over positions, or keeps every position.

    Features that were pooled when they were stored, shape (B, D), pass unchanged.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) or (B, D) to (B, D)."""
        if features.dim() == 4 and self.kind == "gap":
            return features.mean(dim=(2, 3))
        return features.flatten(1)


class Merge(nn.Module):
    """Layer that merges the features of each pair; a batch holds the pair in turn, baseline first."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, features: Tensor) -> Tensor:
        """Map (..., 2 B, D) to (..., B, D), or to (..., B, 2 D) side by side.

        >>> Merge("diff")(torch.tensor([[1.0], [4.0]])).tolist()
        [[3.0]]
        """
        baseline, image = features.unflatten(-2, (-1, 2)).unbind(-2)
        if self.kind == "concat":
            return torch.cat([baseline, image], dim=-1)
        return image - baseline if self.kind == "diff" else (image - baseline).abs()


class Join(nn.Module):
    """Layer that appends extra inputs, such as the type of the finding, to the features."""

    def forward(self, features: Tensor, side_input: Tensor) -> Tensor:
        """Map (..., B, D) and (..., B, K) to (..., B, D + K)."""
        return torch.cat([features, side_input.to(features.dtype)], dim=-1)


class Head(nn.Sequential):
    """Layers in sequence; the extra input `side_input` goes to the `Join` layer."""

    def forward(self, features: Tensor, side_input: Tensor | None = None) -> Tensor:
        """Map features (B, ...), or (2 B, ...) for pairs, and extra inputs (B, K) to logits (B, outputs)."""
        for layer in self:
            features = layer(features, side_input) if isinstance(layer, Join) else layer(features)
        return features


class Dropout(nn.Dropout):
    """Dropout that draws from its own generator, if it has one.

    So a model drops the same units whether it runs alone or fused with others.

    Attributes:
        generator: Generator of the one model that this layer belongs to; None for torch's global one.
        generators: Generators of all models of a trial, where the layer runs for all of them through
            `torch.func.vmap`.
    """

    generator: torch.Generator | None = None
    generators: tuple[torch.Generator, ...] | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Drop units in training only; any shape."""
        if not self.training or self.p == 0.0:
            return features
        keep = 1.0 - self.p
        if self.generators is not None:
            dropped: Tensor = _DropPerModel.apply(features, keep, self.generators)
            return dropped
        if self.generator is None:
            return super().forward(features)
        kept = torch.empty(features.shape, device=features.device).bernoulli_(keep, generator=self.generator)
        return features * kept.to(features.dtype) / keep


class _DropPerModel(torch.autograd.Function):
    """Dropout inside `vmap` over models: each model's share of the batch is drawn by its own generator."""

    @staticmethod
    def forward(features: Tensor, keep: float, generators: tuple[torch.Generator, ...]) -> Tensor:
        raise RuntimeError("dropout with a generator for each model runs inside vmap over the models only")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing to keep: `vmap` is made of operations with gradients of their own."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], features: Tensor, keep: float, generators: Any
    ) -> tuple[Tensor, int]:
        models = features.movedim(in_dims[0] or 0, 0)
        kept = torch.empty(models.shape, device=features.device)
        for own, generator in zip(kept, generators, strict=True):
            own.bernoulli_(keep, generator=generator)
        return models * kept.to(features.dtype) / keep, 0


def use_generators(module: nn.Module, generators: Sequence[torch.Generator]) -> None:
    """Make the dropout layers of a module that runs through `vmap` draw from each model's own generator.

    Args:
        module: Module whose weights are stacked, such as the stages of fused models.
        generators: One generator for each model, on the models' device.
    """
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.generators = tuple(generators)


def build_head(model: ModelConfig, features: tuple[int, ...], *, classes: int) -> Head:
    """Build the head for one image's features.

    Args:
        model: Settings of the head, of pairs, and of the type of the finding as an extra input.
        features: Shape of one image's features, (D,) or (C, H, W).
        classes: Number of classes; two classes share one logit (the positive class's).

    Returns:
        Module from (B, *features) to (B, 1) for two classes under `sigmoid`, else (B, classes).
    """
    config = model.head
    layers, width = _pooled(config, features)
    for units in config.branch:
        layers += _hidden(config, width, units)
        width = units
    if model.pair != "none":
        layers.append(Merge(model.pair))
        width *= 2 if model.pair == "concat" else 1
    if model.type_input != "none":
        layers.append(Join())
        width += 1
    for units in config.hidden:
        layers += [Dropout(config.dropout), *_hidden(config, width, units)]
        width = units
    outputs = 1 if classes == 2 and config.output == "sigmoid" else classes
    last = nn.Linear(width, outputs)
    _draw(last, config.style, gain=1.0)
    return Head(*layers, Dropout(config.dropout), last)


def _pooled(config: HeadConfig, features: tuple[int, ...]) -> tuple[list[nn.Module], int]:
    """Layers that bring features to (B, D), and D."""
    if config.pooling == "gap":
        return [Pool("gap")], features[0]
    if config.pooling == "flatten":
        return [Pool("flatten")], math.prod(features)
    if len(features) != 3 or min(features[1:]) < 2:
        raise ConfigError(
            f"model.head.pooling=conv needs a feature map of at least 2x2; found {features}; "
            "cut the backbone earlier or take gap"
        )
    channels, height, width = features
    convolution = [nn.Conv2d(channels, config.filters, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
    return [*convolution, Pool("flatten")], config.filters * (height // 2) * (width // 2)


def _hidden(config: HeadConfig, width: int, units: int) -> list[nn.Module]:
    """A dense layer with its normalisation and activation."""
    dense = nn.Linear(width, units)
    _draw(dense, config.style, gain=math.sqrt(2.0))
    norm = [nn.BatchNorm1d(units, eps=_NORM_EPS[config.style])] if config.batch_norm else []
    return [dense, *norm, nn.ReLU()]


def probabilities(logits: Tensor) -> Tensor:
    """Turn logits (B, 1) or (B, K) into class probabilities, shape (B, 2) or (B, K).

    Both columns keep their digits, so that the logit can be had back from a probability that is rounded to 1.
    """
    if logits.shape[-1] == 1:
        return torch.cat([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=-1)
    return torch.softmax(logits, dim=-1)


def mean_over_folds(probabilities: Tensor) -> Tensor:
    """Average fold models on their logits: the geometric mean of each class, scaled to sum to 1.

    The mean of probabilities would be less certain than each of the models and drawn towards one half, so
    that a threshold of theirs would not fit it. Of a single model the mean is the model itself.

    Args:
        probabilities: Probabilities of each fold model, shape (folds, ..., classes).

    Returns:
        Shape (..., classes), of the same type.

    Source:
        Ranjan and Gneiting (2010), "Combining probability forecasts", JRSS B 72:71.

    >>> mean_over_folds(torch.tensor([[[0.2, 0.8]], [[0.8, 0.2]]], dtype=torch.float64)).tolist()
    [[0.5, 0.5]]
    """
    if len(probabilities) == 1:
        return probabilities[0]
    logs = torch.log(probabilities.clamp_min(_SMALLEST_PROBABILITY))
    return torch.softmax(logs.mean(dim=0), dim=-1)


def _draw(layer: nn.Linear, style: str, *, gain: float) -> None:
    if style == "keras":
        # Keras's default, which most published systems that are reproduced here started from.
        nn.init.xavier_uniform_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.in_features))
    nn.init.zeros_(layer.bias)
