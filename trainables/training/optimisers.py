"""Optimisers with the settings that the source systems' Keras had, where torch's differ."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainables.config import OptimizerConfig
from trainables.models.stages import TrainedPart


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor that trains.

    Attributes:
        tensor: Of one model, or of several models stacked.
        is_stage: Belongs to a backbone stage, not to head or adapter.
        decays: Weight decay applies: a weight, not a bias or a normalisation.
    """

    tensor: Tensor
    is_stage: bool
    decays: bool


def weights_of(part: TrainedPart) -> dict[str, Weight]:
    """What trains in one model, by name."""
    return {
        name: Weight(parameter, name.startswith("trained."), parameter.dim() > 1)
        for name, parameter in part.named_parameters()
        if parameter.requires_grad
    }


def build_optimizer(config: OptimizerConfig, weights: Iterable[Weight]) -> torch.optim.Optimizer:
    """Optimiser over everything that trains, of one model or of many: all of them work number by number."""
    groups = [group for group in _groups(config, list(weights)) if group["params"]]
    match config.name:
        case "adam":
            return torch.optim.Adam(groups, eps=1e-7, fused=True)  # see benchmarks/adam_step.py
        case "rmsprop":
            return torch.optim.RMSprop(groups, alpha=0.9, eps=1e-7)
        case "sgd":
            return torch.optim.SGD(groups, momentum=config.momentum or 0.0)
        case "adadelta":
            return torch.optim.Adadelta(groups, rho=0.95, eps=1e-7)


def lr_factor(schedule: str, epoch: int, epochs: int) -> float:
    """Factor on the learning rate in an epoch.

    Args:
        schedule: `constant`, `cosine` or `step`.
        epoch: 0-based.
        epochs: Largest number of epochs.

    >>> [round(lr_factor("step", epoch, 20), 2) for epoch in (0, 4, 5, 10)]
    [1.0, 1.0, 0.8, 0.64]
    """
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))
    if schedule == "step":
        return float(0.8 ** (epoch // 5))
    return 1.0


def _groups(config: OptimizerConfig, weights: list[Weight]) -> list[dict[str, Any]]:
    groups = []
    for is_stage, decays in ((False, True), (False, False), (True, True), (True, False)):
        lr = config.lr * (config.stage_lr_factor if is_stage else 1.0)
        groups.append(
            {
                "params": [w.tensor for w in weights if (w.is_stage, w.decays) == (is_stage, decays)],
                "lr": lr,
                "base_lr": lr,
                "weight_decay": config.weight_decay if decays else 0.0,
            }
        )
    return groups
