"""A small Inception v4 for 299 px: inception v4.05 and v4.06 of source system 003 (Scuccimarra).

Inception v4: Szegedy et al. (2017), arXiv 1602.07261. Written from the source's published description; no
weights are published. The head in its published code is `model.head.pooling=gap`, `hidden=none`,
`dropout=0.2`; its text says flatten and one or two hidden layers, which are settings of the head too. Both
have `model.head.style=tf003`.
"""

from collections import OrderedDict

from torch import nn

from trainables.models.layers import TF003, Branches, Kernel, Padding, SameAveragePool, max_pool, unit
from trainables.models.stages import Backbone

Stages = OrderedDict[str, nn.Module]
Step = tuple[int, Kernel] | tuple[int, Kernel, int]  # filters, kernel, and a stride with valid padding


def _path(inputs: int, *steps: Step, padding: Padding = "same") -> nn.Sequential:
    """Units in sequence; a step with a stride has valid padding, and so has the last one under `valid`."""
    layers = []
    for place, (filters, kernel, *stride) in enumerate(steps, start=1):
        is_valid = bool(stride) or (padding == "valid" and place == len(steps))
        layers.append(
            unit(
                TF003,
                inputs,
                filters,
                kernel,
                stride=stride[0] if stride else 1,
                padding="valid" if is_valid else "same",
            )
        )
        inputs = filters
    return nn.Sequential(*layers)


def _averaged(inputs: int, filters: int) -> nn.Sequential:
    return nn.Sequential(SameAveragePool(2), unit(TF003, inputs, filters, 1))


def _forked(inputs: int, *steps: Step) -> nn.Sequential:
    """A path that ends in two branches: a convolution along rows and one along columns."""
    last = steps[-1][0]
    ends = Branches([unit(TF003, last, 128, (1, 3)), unit(TF003, last, 128, (3, 1))])
    return nn.Sequential(_path(inputs, *steps), ends)


def _halved(inputs: int, *paths: tuple[Step, ...]) -> Branches:
    return Branches([max_pool(3, padding="valid"), *(_path(inputs, *steps) for steps in paths)])


def _module_a(inputs: int) -> Branches:
    return Branches(
        [
            _averaged(inputs, 48),
            _path(inputs, (64, 1)),
            _path(inputs, (48, 1), (64, 3)),
            _path(inputs, (48, 1), (64, 3), (64, 3)),
        ]
    )


def _module_b(inputs: int) -> Branches:
    return Branches(
        [
            _averaged(inputs, 96),
            _path(inputs, (128, 1)),
            _path(inputs, (96, 1), (128, (1, 7)), (192, (7, 1))),
            _path(inputs, (96, 1), (96, (1, 7)), (128, (7, 1)), (128, (1, 7)), (192, (7, 1))),
        ]
    )


def _module_c(inputs: int) -> Branches:
    return Branches(
        [
            _averaged(inputs, 128),
            _path(inputs, (128, 1)),
            _forked(inputs, (192, 1)),
            _forked(inputs, (192, 1), (256, (1, 3)), (256, (3, 1))),
        ]
    )


def _inception_lite(channels: int) -> Stages:
    stages: Stages = OrderedDict()
    stages["stem1"] = nn.Sequential(
        _path(channels, (32, 3, 2)), _path(32, (32, 3), padding="valid"), _path(32, (64, 3))
    )
    stages["stem2"] = _halved(64, ((32, 3, 2),))
    stages["stem3"] = Branches(
        [
            _path(96, (48, 1), (64, 3), padding="valid"),
            _path(96, (48, 1), (64, (7, 1)), (64, (1, 7)), (64, 3), padding="valid"),
        ]
    )
    stages["stem4"] = _halved(128, ((128, 3, 2),))
    for number, inputs in enumerate((256, 240, 240), start=1):
        stages[f"a{number}"] = _module_a(inputs)
    stages["reduce_a"] = _halved(240, ((192, 3, 2),), ((96, 1), (128, 3), (128, 3, 2)))
    for number, inputs in enumerate((560, 608, 608, 608), start=1):
        stages[f"b{number}"] = _module_b(inputs)
    last = ((128, 1), (128, (1, 7)), (192, (7, 1)), (192, 3, 2))
    stages["reduce_b"] = _halved(608, ((96, 1), (96, 3, 2)), last)
    for number, inputs in enumerate((896, 768), start=1):
        stages[f"c{number}"] = _module_c(inputs)
    return stages


INCEPTION_LITE = Backbone(
    name="inception_lite",
    build=_inception_lite,
    stage_names=(
        *("stem1", "stem2", "stem3", "stem4", "a1", "a2", "a3", "reduce_a"),
        *("b1", "b2", "b3", "b4", "reduce_b", "c1", "c2"),
    ),
    levels=("c2", "b4", "a3"),
    min_size_px=75,
    size_px=299,
    source="Source system 003 (Scuccimarra), inception v4.05; Szegedy et al. (2017)",
)
