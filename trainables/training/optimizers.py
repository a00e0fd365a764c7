"""Optimisers with Keras's defaults where torch's differ, since published results were obtained with them."""

import importlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainables.config.trial_config import OptimizerConfig
from trainables.models.readouts import Readout
from trainables.models.stages import TrainedPart


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor that is trained.

    Attributes:
        tensor: Parameter of one model, or of several models stacked along the first axis.
        is_stage: True for a backbone stage, False for head or adapter.
        decays: True where weight decay applies: to weights, not to biases or normalisation, nor to tokens,
            embeddings of positions, tables of biases and scales, which have more than one axis in some nets.
        stages_behind: Number of trained stages behind its own; 0 for the last, for head and adapter.
    """

    tensor: Tensor
    is_stage: bool
    decays: bool
    stages_behind: int = 0


def weights_of(part: TrainedPart) -> dict[str, Weight]:
    """Trained tensors of one model, by name."""
    behind, count = dict[str, int](), 0
    for name, module in reversed(list(part.trained.named_children())):
        behind[f"trained.{name}"] = count
        count += not isinstance(module, Readout)  # it counts as a part of the stage that it reads
    return {
        name: Weight(
            parameter,
            name.startswith("trained."),
            parameter.dim() > 1 and name.endswith("weight"),
            behind.get(".".join(name.split(".")[:2]), 0),
        )
        for name, parameter in part.named_parameters()
        if parameter.requires_grad
    }


def build_optimizer(
    config: OptimizerConfig, weights: Iterable[Weight], *, layer_decay: float = 1.0
) -> torch.optim.Optimizer:
    """Build the optimiser of one model or of several stacked ones; all of them update elementwise.

    The compiler of torch, which the first step would import, is imported here, before any step is timed.

    Args:
        config: Optimiser, learning rates and penalties.
        weights: The trained tensors.
        layer_decay: Factor on the learning rate from each trained stage to the one before it, in (0, 1].

    Source:
        Clark et al. (2020), "ELECTRA" (ICLR), and Bao et al. (2022), "BEiT" (ICLR), for `layer_decay`.
    """
    importlib.import_module("torch._dynamo")
    groups = [group for group in _groups(config, list(weights), layer_decay) if group["params"]]
    match config.name:
        case "adam":
            return torch.optim.Adam(groups, eps=1e-7, fused=True)  # see benchmarks/adam_step.py
        case "rmsprop":
            return torch.optim.RMSprop(groups, alpha=0.9, eps=1e-7)
        case "sgd":
            return torch.optim.SGD(groups, momentum=config.momentum or 0.0)
        case "adadelta":
            return torch.optim.Adadelta(groups, rho=0.95, eps=1e-7)


def add_l1(optimizer: torch.optim.Optimizer) -> None:
    """Add the gradient of the L1 penalty, factor times sign, to the gradients that a step will use."""
    for group in optimizer.param_groups:
        if group["l1"]:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.grad.add_(weight.detach().sign(), alpha=group["l1"])


def lr_factor(config: OptimizerConfig, epoch: int, epochs: int, losses: Sequence[float] = ()) -> float:
    """Factor on the learning rate in an epoch.

    Args:
        config: Schedule and its settings.
        epoch: 0-based epoch.
        epochs: Largest number of epochs.
        losses: Mean validation losses of the epochs so far, for `plateau`.

    >>> step = OptimizerConfig(schedule="step")
    >>> [round(lr_factor(step, epoch, 20), 2) for epoch in (0, 4, 5, 10)]
    [1.0, 1.0, 0.8, 0.64]
    >>> plateau = OptimizerConfig(schedule="plateau", step_epochs=2)
    >>> [lr_factor(plateau, 4, 20, losses) for losses in ([1.0, 0.9, 0.8, 0.7], [0.7, 0.8, 0.9, 0.6])]
    [1.0, 0.5]
    """
    if config.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))
    if config.schedule == "step":
        return float(0.8 ** (epoch // config.step_epochs))
    if config.schedule == "plateau":
        return float(0.5 ** _plateaus(losses, config.step_epochs)[0])
    return 1.0


def warmup_factor(epochs: int, epoch: int, step: int, steps: int) -> float:
    """Factor on the learning rate while it warms up, besides that of the schedule.

    Args:
        epochs: Number of epochs of the warm-up; 0 for none.
        epoch: 0-based epoch.
        step: 0-based step in the epoch.
        steps: Number of steps of an epoch.

    Source:
        Goyal et al. (2017), "Accurate, Large Minibatch SGD", section 2.2: gradual warm-up.

    >>> [warmup_factor(2, epoch, step, 2) for epoch in (0, 1, 2) for step in (0, 1)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    return 1.0 if epochs == 0 else min(1.0, (epoch * steps + step + 1) / (epochs * steps))


def epochs_of_known_lr(config: OptimizerConfig, epochs: int, losses: Sequence[float] = ()) -> int:
    """Number of coming epochs whose learning rate is known now, whatever their losses will be.

    Args:
        config: Schedule and its settings.
        epochs: Largest number of epochs.
        losses: Mean validation losses of the epochs so far.

    >>> epochs_of_known_lr(OptimizerConfig(schedule="cosine"), 20, [0.9])
    19
    >>> epochs_of_known_lr(OptimizerConfig(schedule="plateau", step_epochs=5), 20, [0.9, 0.8, 0.9])
    4
    """
    remaining = epochs - len(losses)
    if config.schedule != "plateau":
        return remaining
    return min(remaining, config.step_epochs - _plateaus(losses, config.step_epochs)[1])


def _plateaus(losses: Sequence[float], length: int) -> tuple[int, int]:
    """Number of plateaus of `length` epochs without a better loss, and number of epochs waited since."""
    best, waited, count = math.inf, 0, 0
    for loss in losses:
        if loss < best:
            best, waited = loss, 0
            continue
        waited += 1
        if waited == length:
            count, waited = count + 1, 0
    return count, waited


def _groups(config: OptimizerConfig, weights: list[Weight], layer_decay: float) -> list[dict[str, Any]]:
    stage_decay = config.weight_decay if config.stage_weight_decay is None else config.stage_weight_decay
    groups = []
    # One group where all stages have one rate, as in checkpoints of earlier versions.
    depths = (0,) if layer_decay == 1.0 else tuple(sorted({weight.stages_behind for weight in weights} | {0}))
    of_head, of_stages = ((False, True, 0), (False, False, 0)), ((True, True), (True, False))
    kinds = (*of_head, *((*own, depth) for depth in depths for own in of_stages))
    for is_stage, decays, depth in kinds:
        lr = config.lr * (config.stage_lr_factor * layer_decay**depth if is_stage else 1.0)
        weight_decay = stage_decay if is_stage else config.weight_decay
        groups.append(
            {
                "params": [
                    w.tensor
                    for w in weights
                    if (w.is_stage, w.decays) == (is_stage, decays)
                    and (layer_decay == 1.0 or not is_stage or w.stages_behind == depth)
                ],
                "lr": lr,
                "base_lr": lr,
                "weight_decay": weight_decay if decays else 0.0,
                "l1": config.l1 if decays else 0.0,
            }
        )
    return groups
