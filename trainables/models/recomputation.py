"""Stages whose activations are not kept for the backward pass, but computed again there.

Source:
    Chen et al. (2016), "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainables.models.heads import Dropout


def recomputed(stage: nn.Module, features: Tensor) -> Tensor:
    """Run a stage and keep its input alone: the backward pass runs it a second time.

    The second run draws what the first has drawn, and batch normalisation counts a batch once.

    Args:
        stage: Stage, from (B, ...) to (B, ...).
        features: Its input.
    """
    generators = {
        layer.generator
        for layer in stage.modules()
        if isinstance(layer, Dropout) and layer.generator is not None
    }
    before = [(generator, generator.get_state()) for generator in generators]
    has_run = False

    def run(inputs: Tensor) -> Tensor:
        nonlocal has_run
        if not has_run:
            has_run = True
            found: Tensor = stage(inputs)
            return found
        with _as_before(before), _batches_not_counted(stage):
            again: Tensor = stage(inputs)
            return again

    result: Tensor = checkpoint(run, features, use_reentrant=False)
    return result


@contextmanager
def _as_before(states: list[tuple[torch.Generator, Tensor]]) -> Iterator[None]:
    now = [(generator, generator.get_state()) for generator, _ in states]
    try:
        for generator, state in states:
            generator.set_state(state)
        yield
    finally:
        for generator, state in now:
            generator.set_state(state)


@contextmanager
def _batches_not_counted(stage: nn.Module) -> Iterator[None]:
    # Not `track_running_stats`: without it, fewer tensors are kept for the backward pass than the first time.
    norms = [
        (module, module.momentum, module.num_batches_tracked)
        for module in stage.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
    ]
    counts = [None if count is None else count.clone() for _, _, count in norms]
    try:
        for norm, _, _ in norms:
            norm.momentum = 0.0
        yield
    finally:
        for (norm, momentum, count), before in zip(norms, counts, strict=True):
            norm.momentum = momentum
            if count is not None and before is not None:
                count.copy_(before)
