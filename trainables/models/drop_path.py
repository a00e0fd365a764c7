"""Stochastic depth: residual branches of networks of timm that are left out at random in training.

Source:
    Huang et al. (2016), "Deep Networks with Stochastic Depth" (ECCV): a probability that rises in a straight
    line from 0 at the first branch, and a branch that is divided by the probability of its use.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from trainables.models.heads import Dropout

if TYPE_CHECKING:
    from trainables.models.stages import Backbone

# Where the blocks of timm's networks let a branch through a layer of its own. Some blocks use the attribute
# only if they have a shortcut.
_PLACES: Final = ("drop_path", "drop_path1", "drop_path2")


class DropPath(Dropout):
    """Layer that drops whole images of a branch, and divides the others by the probability of their use."""

    def forward(self, features: Tensor) -> Tensor:
        """Drop images in training only; any shape (B, ...)."""
        ones = torch.ones_like(features.detach().flatten(1)[:, :1])
        return features * super().forward(ones).view(-1, *[1] * (features.dim() - 1))


def rates(depth: int, last: float) -> tuple[float, ...]:
    """Return the probability of each of `depth` blocks, from 0 at the first to `last`.

    >>> rates(3, 0.2)
    (0.0, 0.1, 0.2)
    """
    return (last,) if depth == 1 else tuple(last * block / (depth - 1) for block in range(depth))


def drop_branches(stages: Mapping[str, nn.Module], trained: Iterable[str], last: float) -> int:
    """Let residual branches of trained stages be dropped in training.

    Args:
        stages: The kept stages, in order, by their names; they are changed in place.
        trained: Names of those that train.
        last: Probability at the last block of the kept stages, in [0, 0.9].

    Returns:
        Number of layers that drop branches.
    """
    blocks = [(name, block) for name, stage in stages.items() for block in _blocks(stage)]
    own, count = set(trained), 0
    for (name, block), rate in zip(blocks, rates(len(blocks), last), strict=True):
        for place in _places(block) if name in own and rate else ():
            setattr(block, place, DropPath(rate))
            count += 1
    return count


def stages_with_branches(backbone: str) -> frozenset[str]:
    """Names of a backbone's stages that have branches which may be dropped; it is built without weights."""
    from trainables.models.registry import backbone_named

    return _with_branches(backbone_named(backbone))


@functools.lru_cache(maxsize=64)
def _with_branches(net: "Backbone") -> frozenset[str]:
    with torch.device("meta"):
        stages = net.build(net.channels or 1)
    return frozenset(name for name, stage in stages.items() if next(_blocks(stage), None) is not None)


def _blocks(stage: nn.Module) -> Iterator[nn.Module]:
    return (module for module in stage.modules() if next(_places(module), None) is not None)


def _places(block: nn.Module) -> Iterator[str]:
    for place in _PLACES:
        # A missing one is an identity, or None where the block asks for it.
        if hasattr(block, place) and isinstance(getattr(block, place), nn.Module | None):
            yield place
