"""All backbones. Adding one is one line here and a `Backbone` in a family file."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from trainables.common.errors import UnknownNameError
from trainables.models import custom_cnn, timm_generic
from trainables.models.inception_lite import INCEPTION_LITE
from trainables.models.nasnet import NASNET
from trainables.models.source_000_nets import IDC_BENCH, SCRATCH4, SIA6CONV
from trainables.models.source_003_nets import (
    M1_SAME,
    M1_SAME_CONV5,
    M1_VALID,
    S1_0_0,
    S1_0_1_39N,
    S1_2,
    VGG_LITE,
)
from trainables.models.stages import Backbone
from trainables.models.table import TABLE
from trainables.models.timm_families import EFFICIENTNET_LITE0, MOBILENET_V1
from trainables.models.torchvision_families import INCEPTION_V3, MOBILENET_V2, RESNET50, VGG16, VGG19

_DEFAULT: Final = (SCRATCH4, EFFICIENTNET_LITE0, MOBILENET_V2, VGG16, RESNET50, INCEPTION_V3)
_ON_REQUEST: Final = (
    *(VGG19, MOBILENET_V1, NASNET),
    *(IDC_BENCH, SIA6CONV, M1_VALID, M1_SAME, M1_SAME_CONV5),
    *(S1_0_0, S1_0_1_39N, S1_2, VGG_LITE, INCEPTION_LITE),
)

BACKBONES: Final = MappingProxyType({backbone.name: backbone for backbone in (*_DEFAULT, *_ON_REQUEST)})
# What a search tries when it is not told which.
DEFAULT_BACKBONES: Final = tuple(backbone.name for backbone in _DEFAULT)
# Names that describe a net: `family:description`.
_FAMILIES: Final[MappingProxyType[str, Callable[[str], Backbone]]] = MappingProxyType(
    {custom_cnn.FAMILY: custom_cnn.custom_cnn, timm_generic.FAMILY: timm_generic.timm_backbone}
)


def backbone_named(name: str) -> Backbone:
    """Return the backbone of a name in `BACKBONES`, of a `scratch:` or `timm:` name, or `table`.

    Raises:
        UnknownNameError: If there is none; the message holds the nearest name.
        ConfigError: If a `scratch:` or `timm:` name describes what cannot be built.

    >>> backbone_named("scratch:blocks=2,filters=16").levels
    ('block2', 'block1')
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if name == TABLE.name:  # no net, so it is none of `BACKBONES`
        return TABLE
    family, colon, _ = name.partition(":")
    if colon and family in _FAMILIES:
        return _FAMILIES[family](name)
    raise UnknownNameError("backbone", name, (*BACKBONES, "scratch:blocks=3,convs=2", "timm:resnet18"))
