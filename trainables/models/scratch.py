"""Nets that train from random weights.

`scratch4` is seed 004's net for both of its tasks: four valid 3x3 convolutions (32, 64, 128, 128) with 2x2
pooling, 7x7x128 at 150 px. With a flatten head of 512 units and one output it has 3,452,545 parameters.
"""

from collections import OrderedDict

from torch import nn

from trainables.models.stages import Backbone

_FILTERS = (32, 64, 128, 128)


def _scratch4(channels: int) -> "OrderedDict[str, nn.Module]":
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    for number, filters in enumerate(_FILTERS, start=1):
        convolution = nn.Conv2d(channels, filters, kernel_size=3)
        nn.init.xavier_uniform_(convolution.weight)
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        stages[f"block{number}"] = nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(2))
        channels = filters
    return stages


SCRATCH4 = Backbone(
    name="scratch4",
    build=_scratch4,
    stage_names=("block1", "block2", "block3", "block4"),
    levels=("block4", "block3"),
    channels=None,
    min_size_px=46,
    size_px=150,
    mean=(0.0,),
    std=(1.0,),
    has_imagenet_weights=False,
    source="Seed 004 (Acquavia, Mazzini), scratch net of both tasks",
)
