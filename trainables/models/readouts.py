"""Readouts: modules behind a stage whose output no later stage takes, such as the class token of a block.

Stages run one after the other. A readout hangs beside them: it takes what its stage gives, and the next stage
takes that, too. A cut names it by its stage and its kind, `blocks_10.class`, or `top.class`.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping

from torch import Tensor, nn

Stages = OrderedDict[str, nn.Module]
# Makes the readout of a stage: from all stages of the net, the name of the stage, and a kind.
BuildReadout = Callable[[Stages, str, str], "Readout"]


class Readout(nn.Module):
    """A module behind a stage whose output no later stage takes."""


def readout_name(stage: str, kind: str) -> str:
    """Return the name of a readout among stages, and in the names of stored features.

    >>> readout_name("blocks_10", "class")
    'blocks_10_class'
    """
    return f"{stage}_{kind}"


def run_stages(
    stages: Mapping[str, nn.Module], features: Tensor, *, wanted: Iterable[str] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Run stages and readouts in their order, and yield the output of each.

    Args:
        stages: Stages in order, each readout behind its stage.
        features: Input of the first stage.
        wanted: Names of the readouts that run; None runs all.

    Yields:
        Name and output of each stage, and of each readout that runs.
    """
    asked = None if wanted is None else set(wanted)
    for name, stage in stages.items():
        if not isinstance(stage, Readout):
            features = stage(features)
            yield name, features
        elif asked is None or name in asked:
            yield name, stage(features)
