"""The steps of training: number type, scaled losses, and batches that are computed in parts."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from trainables.common.types import IntArray
from trainables.config.fine_tuning_config import FineTuningConfig
from trainables.training.optimizers import add_l1

_NUMBER_TYPES: Final = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def mixed_precision(config: FineTuningConfig, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context of forward passes in training: torch's autocast, or none in single precision."""
    if config.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_NUMBER_TYPES[config.precision])


def parts_of(positions: IntArray, count: int) -> Iterator[tuple[IntArray, float]]:
    """Cut the batch of a step into parts of about the same size.

    Args:
        positions: Positions of each model's batch, shape (models, B).
        count: Largest number of parts; there are fewer where a part would have a single image, on which batch
            normalisation cannot train.

    Returns:
        Positions of each part, shape (models, b), and its share of the batch, in (0, 1].

    >>> [(part.shape[1], round(share, 2)) for part, share in parts_of(np.zeros((2, 5), dtype=int), 4)]
    [(3, 0.6), (2, 0.4)]
    """
    images = positions.shape[1]
    for part in np.array_split(positions, max(1, min(count, images // 2)), axis=1):
        yield part, part.shape[1] / images


class Stepper:
    """Backward passes and steps of an optimiser.

    With `float16`, small gradients would vanish: losses are multiplied by a factor, and gradients divided by
    it before the L1 penalty joins them. The factor adapts; a step with an overflow is left out.

    Args:
        optimizer: Optimiser that takes the steps.
        config: Number type.
        device: Device of the weights.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, config: FineTuningConfig, device: torch.device
    ) -> None:
        self.optimizer = optimizer
        self._scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, a scalar."""
        self._scaler.scale(loss).backward()

    def step(self) -> None:
        """Step with the gradients that were added up."""
        self._scaler.unscale_(self.optimizer)
        add_l1(self.optimizer)
        self._scaler.step(self.optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """State of the factor, for a checkpoint; empty in other number types."""
        return self._scaler.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        if self._scaler.is_enabled() and state:
            self._scaler.load_state_dict(state)
