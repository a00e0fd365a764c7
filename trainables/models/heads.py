"""Heads: from a feature map, or features pooled already, to logits."""

import math

import torch
from torch import Tensor, nn

from trainables.config import HeadConfig


class Pool(nn.Module):
    """Bring features to (B, D): average over positions, or keep every position.

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


class Dropout(nn.Dropout):
    """Dropout whose draws come from a generator of its own, once it was given one.

    So a model drops the same units whether it runs by itself or fused with others.
    """

    generator: torch.Generator | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Drop in training only; any shape."""
        if self.generator is None or not self.training or self.p == 0.0:
            return super().forward(features)
        keep = 1.0 - self.p
        kept = torch.empty(features.shape, device=features.device).bernoulli_(keep, generator=self.generator)
        return features * kept.to(features.dtype) / keep


def build_head(config: HeadConfig, features: tuple[int, ...], *, classes: int) -> nn.Sequential:
    """Build the head for one image's features.

    Args:
        config: Hidden layers, pooling, batch norm, dropout.
        features: Shape of one image's features, (D,) or (C, H, W).
        classes: Number of classes; two classes share one logit (the positive class's).

    Returns:
        Module from (B, *features) to (B, 1) for two classes under `sigmoid`, else (B, classes).
    """
    width = features[0] if config.pooling == "gap" else math.prod(features)
    layers: list[nn.Module] = [Pool(config.pooling)]
    for units in config.hidden:
        layers += [Dropout(config.dropout), _glorot(nn.Linear(width, units))]
        if config.batch_norm:
            layers.append(nn.BatchNorm1d(units))
        layers.append(nn.ReLU())
        width = units
    outputs = 1 if classes == 2 and config.output == "sigmoid" else classes
    return nn.Sequential(*layers, Dropout(config.dropout), _glorot(nn.Linear(width, outputs)))


def probabilities(logits: Tensor) -> Tensor:
    """Turn logits (B, 1) or (B, K) into class probabilities, shape (B, 2) or (B, K)."""
    if logits.shape[-1] == 1:
        positive = torch.sigmoid(logits)
        return torch.cat([1.0 - positive, positive], dim=-1)
    return torch.softmax(logits, dim=-1)


def _glorot(layer: nn.Linear) -> nn.Linear:
    # Keras's default, which all five source systems trained from.
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
