"""Exponential moving average of weights over the steps of training, for each model of a trial by itself."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def decay_at(decay: float, steps: int) -> float:
    """Decay of the average at a step: lower in the first ones, or the first weights would stay in it.

    Args:
        decay: Largest decay, in [0, 1).
        steps: Number of steps that the average holds already.

    Source:
        `tf.train.ExponentialMovingAverage` with `num_updates`.

    >>> [round(decay_at(0.99, steps), 3) for steps in (1, 90, 10_000)]
    [0.182, 0.91, 0.99]
    """
    return min(decay, (1.0 + steps) / (10.0 + steps))


class WeightAverage:
    """Averages of the weights and batch statistics of several models.

    The average begins with the weights after the first step.

    Args:
        decay: Largest decay, in [0, 1).
        live: Tensors that training changes, by name, one mapping for each model. They are read at every step,
            and hold the averages inside `in_place`.

    Source:
        Polyak and Juditsky (1992); Tarvainen and Valpola (2017), "Mean teachers are better role models".
    """

    def __init__(self, decay: float, live: Sequence[Mapping[str, Tensor]]) -> None:
        self.decay = decay
        self._live = [[tensor.detach() for tensor in own.values()] for own in live]
        self._averages: list[list[Tensor]] = [[] for _ in live]
        self._steps = [0 for _ in live]

    @torch.no_grad()
    def update(self, active: Sequence[bool]) -> None:
        """Take in the weights after a step of the models that are active."""
        for model, (live, is_active) in enumerate(zip(self._live, active, strict=True)):
            if not is_active:
                continue
            if self._steps[model] == 0:
                self._averages[model] = [tensor.clone() for tensor in live]
            else:
                share = 1.0 - decay_at(self.decay, self._steps[model])
                for average, tensor in zip(self._averages[model], live, strict=True):
                    if tensor.is_floating_point():
                        average.lerp_(tensor, share)
                    else:
                        average.copy_(tensor)  # the number of batches
            self._steps[model] += 1

    @contextmanager
    def in_place(self, models: range | None = None) -> Iterator[None]:
        """Let models compute with their averages; those that have taken no step stay as they are.

        Args:
            models: Numbers of the models; None for all. Beside each its weights are held once more meanwhile.
        """
        chosen = range(len(self._live)) if models is None else models
        stepped = [model for model in chosen if self._steps[model]]
        before = [[tensor.clone() for tensor in self._live[model]] for model in stepped]
        self._fill(stepped, [self._averages[model] for model in stepped])
        try:
            yield
        finally:
            self._fill(stepped, before)

    def reset(self) -> None:
        """Forget all steps, since the weights were replaced."""
        self._averages = [[] for _ in self._live]
        self._steps = [0 for _ in self._live]

    def state(self) -> dict[str, Any]:
        """State, for a checkpoint."""
        averages = [[tensor.cpu() for tensor in own] for own in self._averages]
        return {"averages": averages, "steps": list(self._steps)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self._steps = list(state["steps"])
        self._averages = [
            [tensor.to(live.device, copy=True) for tensor, live in zip(own, live_of_model, strict=False)]
            for own, live_of_model in zip(state["averages"], self._live, strict=True)
        ]

    @torch.no_grad()
    def _fill(self, models: Sequence[int], values: Sequence[Sequence[Tensor]]) -> None:
        for model, own in zip(models, values, strict=True):
            for tensor, value in zip(self._live[model], own, strict=True):
                tensor.copy_(value)
