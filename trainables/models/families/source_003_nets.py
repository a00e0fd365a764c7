"""Nets of source system 003 (Scuccimarra, "ConvNets for classifying DDSM"), and M1 of source system 001.

All are of one family. Every convolution is 3x3 with bias, batch normalisation (eps 1e-8) and ReLU, in
TensorFlow's SAME padding. The sources' heads are `model.head.style=tf003` with `pooling=flatten`,
`batch_norm=true` and, for

- `s1_0_0` (1.0.0.29, .35, .45 and .46, which differ in input scaling and weight decay only), M1 and M2:
  `hidden=2048-2048`, `dropout=0.5`; M2 is M1 trained with L1 and L2 penalties;
- `s1_0_1_39n`: `hidden=1024-1024`, `dropout=0.7`;
- `vgg_lite` (16.3.04): `hidden=1024-512`, `dropout=0.5`. VGG: Simonyan and Zisserman (2015), arXiv 1409.1556.

Written from the published description; no weights are published. Not recorded are, of 1.0.1.39n, the pool
after its last block, and of 1.2.x everything but "branches and residual connections"; these were chosen here.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from torch import nn

from trainables.models.heads import Dropout
from trainables.models.layers import TF003, Branches, Padding, Residual, chain, max_pool, unit
from trainables.models.stages import Backbone

Stages = OrderedDict[str, nn.Module]

_POOL_DROPOUT: Final = 0.1
_POOL_DROPOUT_39N: Final = 0.25
_SOURCE_003: Final = "Source system 003 (Scuccimarra), own nets for DDSM and CBIS-DDSM; no weights published"
_SOURCE_001: Final = (
    "Source system 001 (Coccomini, Gholami, Zara), scratch net after net 1.0.0.35 of source system 003"
)


def _s1_0_0(channels: int, *, padding: Padding = "same", blocks: int = 5) -> Stages:
    """Blocks (32 s2, 32, 32), (64, 64), (128, 128), (256), (512); the last may be left out."""
    stages: Stages = OrderedDict()
    for number, filters in enumerate(((32, 32, 32), (64, 64), (128, 128), (256,), (512,))[:blocks], start=1):
        is_first = number == 1
        layers: list[nn.Module] = []
        for place, width in enumerate(filters):
            stride = 2 if is_first and place == 0 else 1
            layers.append(unit(TF003, channels, width, 3, stride=stride, padding=padding))
            channels = width
        layers += [max_pool(3 if is_first else 2, padding=padding), Dropout(_POOL_DROPOUT)]
        stages[f"block{number}"] = nn.Sequential(*layers)
    return stages


def _m1_valid(channels: int) -> Stages:
    return _s1_0_0(channels, padding="valid", blocks=4)


def _m1_same(channels: int) -> Stages:
    return _s1_0_0(channels, blocks=4)


def _vgg_lite(channels: int) -> Stages:
    stages: Stages = OrderedDict()
    stages["block1"] = nn.Sequential(
        unit(TF003, channels, 64, 3, stride=2), unit(TF003, 64, 64, 3), max_pool(2)
    )
    channels = 64
    for number, filters in enumerate(((96, 96), (128, 128), (256, 256, 256), (384, 384, 384)), start=2):
        stages[f"block{number}"] = nn.Sequential(chain(TF003, channels, filters), max_pool(2))
        channels = filters[-1]
    return stages


def _s1_0_1_39n(channels: int) -> Stages:
    stages: Stages = OrderedDict(block1=_branching_block(channels))
    width = 64
    for number, filters in enumerate(((96, 96), (128, 128), (256, 256), (384,)), start=2):
        stages[f"block{number}"] = _pooled(chain(TF003, width, filters), 2)
        width = filters[-1]
    return stages


def _s1_2(channels: int) -> Stages:
    """The layout of 1.0.1.39n with a residual around the convolutions of each later block."""
    stages: Stages = OrderedDict(block1=_branching_block(channels))
    width = 64
    for number, filters in enumerate(((96, 96), (128, 128), (256, 256), (384,)), start=2):
        body = chain(TF003, width, filters)
        stages[f"block{number}"] = _pooled(Residual(body, unit(TF003, width, filters[-1], 1)), 2)
        width = filters[-1]
    return stages


def _branching_block(channels: int) -> nn.Sequential:
    branches = Branches([chain(TF003, 32, (32, 32)), chain(TF003, 32, (32,))])
    return _pooled(nn.Sequential(unit(TF003, channels, 32, 3, stride=2), branches), 3)


def _pooled(body: nn.Module, kernel: int) -> nn.Sequential:
    return nn.Sequential(body, max_pool(kernel), Dropout(_POOL_DROPOUT_39N))


def _blocks(count: int) -> tuple[str, ...]:
    return tuple(f"block{number}" for number in range(1, count + 1))


def _net(
    name: str,
    build: Callable[[int], Stages],
    blocks: int,
    *,
    source: str,
    size_px: int,
    min_size_px: int = 32,
) -> Backbone:
    names = _blocks(blocks)
    return Backbone(name, build, names, tuple(reversed(names))[:3], min_size_px, size_px, source)


S1_0_0 = _net("s1_0_0", _s1_0_0, 5, source=_SOURCE_003, size_px=299)
S1_0_1_39N = _net("s1_0_1_39n", _s1_0_1_39n, 5, source=_SOURCE_003, size_px=299)
S1_2 = _net("s1_2", _s1_2, 5, source=_SOURCE_003, size_px=299)
VGG_LITE = _net("vgg_lite", _vgg_lite, 5, source=_SOURCE_003, size_px=299)
# Made for 150 px, where valid padding leaves one position.
M1_VALID = _net("m1_valid", _m1_valid, 4, source=_SOURCE_001, size_px=150, min_size_px=150)
M1_SAME = _net("m1_same", _m1_same, 4, source=_SOURCE_001, size_px=150)
M1_SAME_CONV5 = _net("m1_same_conv5", _s1_0_0, 5, source=_SOURCE_001, size_px=150)
