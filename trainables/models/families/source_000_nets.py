"""Plain nets that train from random weights: convolutions with ReLU and pooling, initialised as in Keras.

- `scratch4` (source system 004, for both of its tasks): four valid 3x3 convolutions (32, 64, 128, 128) with
  2x2 pooling, 7x7x128 at 150 px. With a flatten head of 512 units and one output it has 3,452,545 parameters.
- `idc_bench` (source system 000, its benchmark): one convolution on 50x50x3 and a flatten head without hidden
  layers. The source does not say how wide it is: 32 filters of 3x3 were chosen here.
- `sia6conv` (source system 001, the branch of its siamese net from scratch): three convolutions, pool, three
  convolutions, pool. The source gives no filters: 32 and 64 of 3x3, valid as in its net M1, were chosen here.

Written from the sources' descriptions; no weights are published.
"""

from collections import OrderedDict

from torch import nn

from trainables.models.layers import KERAS, unit
from trainables.models.stages import Backbone

Stages = OrderedDict[str, nn.Module]

_FILTERS = (32, 64, 128, 128)


def _scratch4(channels: int) -> Stages:
    stages: Stages = OrderedDict()
    for number, filters in enumerate(_FILTERS, start=1):
        layers = unit(KERAS, channels, filters, 3, padding="valid")
        stages[f"block{number}"] = nn.Sequential(*layers, nn.MaxPool2d(2))
        channels = filters
    return stages


def _idc_bench(channels: int) -> Stages:
    return OrderedDict(block1=unit(KERAS, channels, 32, 3, padding="valid"))


def _sia6conv(channels: int) -> Stages:
    stages: Stages = OrderedDict()
    for number, filters in enumerate((32, 64), start=1):
        widths = (channels, filters, filters, filters)
        units = [unit(KERAS, inputs, filters, 3, padding="valid") for inputs in widths[:3]]
        stages[f"block{number}"] = nn.Sequential(*units, nn.MaxPool2d(2))
        channels = filters
    return stages


SCRATCH4 = Backbone(
    name="scratch4",
    build=_scratch4,
    stage_names=("block1", "block2", "block3", "block4"),
    levels=("block4", "block3"),
    min_size_px=46,
    size_px=150,
    source="Source system 004 (Acquavia, Mazzini), scratch net of both tasks",
    default_rank=0,
)
IDC_BENCH = Backbone(
    name="idc_bench",
    build=_idc_bench,
    stage_names=("block1",),
    levels=("block1",),
    min_size_px=16,
    size_px=50,
    source="Source system 000 (Levi-Raz), benchmark; width chosen here",
)
SIA6CONV = Backbone(
    name="sia6conv",
    build=_sia6conv,
    stage_names=("block1", "block2"),
    levels=("block2", "block1"),
    min_size_px=22,
    size_px=150,
    source="Source system 001 (Coccomini, Gholami, Zara), siamese branch; filters chosen here",
)
