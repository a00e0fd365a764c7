"""Optimisers with the settings that the source systems' Keras had, where torch's differ."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from trainables.config import OptimizerConfig
from trainables.models.stages import TrainedPart


def build_optimizer(config: OptimizerConfig, part: TrainedPart) -> torch.optim.Optimizer:
    """Optimiser over everything that trains; biases and normalisation do not decay."""
    stage_lr = config.lr * config.stage_lr_factor
    groups = [
        *_groups([part.adapter, part.head], config.lr, config.weight_decay),
        *_groups([part.trained], stage_lr, config.weight_decay),
    ]
    groups = [group for group in groups if group["params"]]
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


def _groups(modules: Iterable[nn.Module], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    return [
        {"params": decayed, "lr": lr, "base_lr": lr, "weight_decay": weight_decay},
        {"params": others, "lr": lr, "base_lr": lr, "weight_decay": 0.0},
    ]
