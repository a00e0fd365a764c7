"""Backbones from torchvision (BSD-3; ImageNet weights under ImageNet's terms of research use).

VGG: Simonyan and Zisserman (2015), arXiv 1409.1556. ResNet: He et al. (2016), arXiv 1512.03385.
Inception v3: Szegedy et al. (2016), arXiv 1512.00567. MobileNetV2: Sandler et al. (2018), arXiv 1801.04381.

torchvision is imported only when a network is built: it takes time, and a worker whose features are
stored builds none.
"""

from collections import OrderedDict

from torch import nn

from trainables.models.stages import Backbone

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

# The last block is cut finely: published systems drop its pool (`top+1`) or train its last convolution.
_VGG16_SLICES = {
    "block1": (0, 5),
    "block2": (5, 10),
    "block3": (10, 17),
    "block4": (17, 24),
    "block5_conv1": (24, 26),
    "block5_conv2": (26, 28),
    "block5_conv3": (28, 30),
    "block5_pool": (30, 31),
}

# Block 2 ends before its pool: a published system froze the first six layers of Keras, `features[0:9]`.
_VGG19_SLICES = {
    "block1": (0, 5),
    "block2": (5, 9),
    "block3": (9, 19),
    "block4": (19, 28),
    "block5_conv1": (28, 30),
    "block5_conv2": (30, 32),
    "block5_conv3": (32, 34),
    "block5_conv4": (34, 36),
    "block5_pool": (36, 37),
}


def _vgg16(channels: int) -> "OrderedDict[str, nn.Module]":
    return _vgg("D", _VGG16_SLICES)


def _vgg19(channels: int) -> "OrderedDict[str, nn.Module]":
    return _vgg("E", _VGG19_SLICES)


def _vgg(letter: str, slices: dict[str, tuple[int, int]]) -> "OrderedDict[str, nn.Module]":
    from trainables.models.torchvision_library import models

    # The convolutions alone: a whole network initialises 100 million weights of a classifier that is dropped.
    features = models.vgg.make_layers(models.vgg.cfgs[letter], batch_norm=False)
    return OrderedDict((name, features[start:stop]) for name, (start, stop) in slices.items())


def _resnet50(channels: int) -> "OrderedDict[str, nn.Module]":
    from trainables.models.torchvision_library import models

    net = models.resnet50(weights=None)
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    stages["stem"] = nn.Sequential(
        OrderedDict(conv1=net.conv1, bn1=net.bn1, relu=net.relu, maxpool=net.maxpool)
    )
    for name in ("layer1", "layer2", "layer3"):
        stages[name] = getattr(net, name)
    for number, block in enumerate(net.layer4, start=1):
        stages[f"layer4_{number}"] = block
    return stages


_INCEPTION_STAGES = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3"),
    *("maxpool2", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d"),
    *("Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c"),
)


def _inception_v3(channels: int) -> "OrderedDict[str, nn.Module]":
    from trainables.models.torchvision_library import models

    # No auxiliary head: it fails below 299 px. No transform_input: our transform normalises.
    net = models.inception_v3(weights=None, aux_logits=False, init_weights=False, transform_input=False)
    return OrderedDict((name, getattr(net, name)) for name in _INCEPTION_STAGES)


def _mobilenet_v2(channels: int) -> "OrderedDict[str, nn.Module]":
    from trainables.models.torchvision_library import models

    features = models.mobilenet_v2(weights=None).features
    return OrderedDict((f"block{number}", block) for number, block in enumerate(features))


VGG16 = Backbone(
    name="vgg16",
    build=_vgg16,
    stage_names=tuple(_VGG16_SLICES),
    levels=("block5_pool", "block5_conv3", "block4"),
    channels=3,
    min_size_px=32,
    size_px=224,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    has_imagenet_weights=True,
    source="Simonyan and Zisserman (2015)",
    default_rank=3,
    torchvision_weights="VGG16_Weights.IMAGENET1K_V1",
    licence="BSD-3-Clause",
)
VGG19 = Backbone(
    name="vgg19",
    build=_vgg19,
    stage_names=tuple(_VGG19_SLICES),
    levels=("block5_pool", "block5_conv4", "block4"),
    channels=3,
    min_size_px=32,
    size_px=224,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    has_imagenet_weights=True,
    source="Simonyan and Zisserman (2015)",
    torchvision_weights="VGG19_Weights.IMAGENET1K_V1",
    licence="BSD-3-Clause",
)
RESNET50 = Backbone(
    name="resnet50",
    build=_resnet50,
    stage_names=("stem", "layer1", "layer2", "layer3", "layer4_1", "layer4_2", "layer4_3"),
    levels=("layer4_3", "layer3", "layer2"),
    channels=3,
    min_size_px=32,
    size_px=224,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    has_imagenet_weights=True,
    source="He et al. (2016)",
    default_rank=4,
    torchvision_weights="ResNet50_Weights.IMAGENET1K_V1",
    licence="BSD-3-Clause",
)
INCEPTION_V3 = Backbone(
    name="inception_v3",
    build=_inception_v3,
    stage_names=_INCEPTION_STAGES,
    levels=("Mixed_7c", "Mixed_7a", "Mixed_6e"),
    channels=3,
    min_size_px=75,
    size_px=299,
    # torchvision's Inception weights were trained on pixels in [-1, 1].
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    has_imagenet_weights=True,
    source="Szegedy et al. (2016)",
    default_rank=5,
    torchvision_weights="Inception_V3_Weights.IMAGENET1K_V1",
    licence="BSD-3-Clause",
)
MOBILENET_V2 = Backbone(
    name="mobilenet_v2",
    build=_mobilenet_v2,
    stage_names=tuple(f"block{number}" for number in range(19)),
    levels=("block18", "block17", "block13"),
    channels=3,
    min_size_px=32,
    size_px=224,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    has_imagenet_weights=True,
    source="Sandler et al. (2018)",
    default_rank=2,
    torchvision_weights="MobileNet_V2_Weights.IMAGENET1K_V1",
    licence="BSD-3-Clause",
)
