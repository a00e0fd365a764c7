"""Random streams of one model: order of the images, views, dropout and noise.

Every model of a trial owns its generators, so that it draws the same numbers whether the models of a trial
run one after the other or as one batched computation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trainables.common.types import IntArray

Sampling = Literal["none", "over", "under"]


@dataclass(frozen=True, slots=True)
class RandomStreams:
    """Random generators of one model.

    Attributes:
        order: Generator on the CPU, for order, views and online augmentation.
        noise: Generator on the model's device, for dropout, noise and mixup.
    """

    order: torch.Generator
    noise: torch.Generator

    @classmethod
    def seeded(cls, seed: int, device: torch.device) -> "RandomStreams":
        """Generators of a model, from its seed."""
        return cls(torch.Generator().manual_seed(seed), torch.Generator(device).manual_seed(seed))

    def state(self) -> dict[str, Any]:
        """State of both generators, for a checkpoint."""
        return {"order": self.order.get_state(), "noise": self.noise.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.order.set_state(state["order"])
        self.noise.set_state(state["noise"])


def shared_state(device: torch.device) -> dict[str, Tensor]:
    """State of torch's own streams, from which layers draw that know no generator, for a checkpoint.

    Args:
        device: Device of the models; on CUDA its own stream comes with that of the CPU.
    """
    found = {"rng": torch.get_rng_state()}
    if device.type == "cuda":
        found["rng_cuda"] = torch.cuda.get_rng_state(device)
    return found


def load_shared_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Continue with torch's own streams from `shared_state`; a stream that it lacks goes on as it is."""
    if "rng" in state:
        torch.set_rng_state(state["rng"])
    if device.type == "cuda" and "rng_cuda" in state:
        torch.cuda.set_rng_state(state["rng_cuda"], device)


def epoch_order(images: IntArray, length: int, generator: torch.Generator) -> IntArray:
    """Order the images of one epoch, padded to a length with images drawn again.

    Folds differ by a few images; padded to the largest, they take the same number of steps.

    Args:
        images: Positions to train on, shape (n,).
        length: Length of the result; below n, images are left out.
        generator: Generator of the order.

    Returns:
        Positions, shape (length,): every image once before any image twice.
    """
    rounds: list[IntArray] = []
    while sum(map(len, rounds)) < length:
        rounds.append(images[torch.randperm(len(images), generator=generator).numpy()])
    return np.concatenate(rounds)[:length]


def resampled(images: IntArray, labels: IntArray, sampling: Sampling, generator: torch.Generator) -> IntArray:
    """Balance the classes of a fold's training part.

    Args:
        images: Positions, shape (n,).
        labels: Class indices of all positions, shape (rows,).
        sampling: `over` repeats images drawn from the smaller classes, `under` drops images of the larger.
        generator: Generator that draws the repeated or dropped images.

    Returns:
        Positions with equally many images of each class that occurs; `images` itself for `none`.
    """
    if sampling == "none":
        return images
    classes = [images[labels[images] == label] for label in np.unique(labels[images])]
    wanted = resampled_counts(np.array([len(own) for own in classes]), sampling)
    return np.concatenate(
        [epoch_order(own, int(count), generator) for own, count in zip(classes, wanted, strict=True)]
    )


def resampled_counts(counts: IntArray, sampling: Sampling) -> IntArray:
    """Number of images of each class after resampling, from those before it, shape (classes,).

    >>> resampled_counts(np.array([6, 0, 2]), "over").tolist()
    [6, 0, 6]
    """
    if sampling == "none":
        return counts
    present = counts > 0
    wanted = counts.max() if sampling == "over" else counts[present].min()
    return np.where(present, wanted, 0)


def bernoulli(shape: Sequence[int], keep: float, generators: Sequence[torch.Generator]) -> Tensor:
    """Draw zeros and ones, 1 with probability `keep`, by each model's generator; shape (models, *shape)."""
    drawn = torch.empty((len(generators), *shape), device=generators[0].device)
    for own, generator in zip(drawn, generators, strict=True):
        own.bernoulli_(keep, generator=generator)
    return drawn


def normal(shape: Sequence[int], generators: Sequence[torch.Generator]) -> Tensor:
    """Draw standard normal numbers by each model's generator; shape (models, *shape)."""
    drawn = torch.empty((len(generators), *shape), device=generators[0].device)
    for own, generator in zip(drawn, generators, strict=True):
        own.normal_(generator=generator)
    return drawn
