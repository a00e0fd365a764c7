"""All backbones. Adding one is one line here and a `Backbone` in a family file."""

from types import MappingProxyType
from typing import Final

from trainables.errors import UnknownNameError
from trainables.models.scratch import SCRATCH4
from trainables.models.stages import Backbone
from trainables.models.timm_families import EFFICIENTNET_LITE0
from trainables.models.torchvision_families import INCEPTION_V3, MOBILENET_V2, RESNET50, VGG16

BACKBONES: Final = MappingProxyType(
    {
        backbone.name: backbone
        for backbone in (SCRATCH4, EFFICIENTNET_LITE0, MOBILENET_V2, VGG16, RESNET50, INCEPTION_V3)
    }
)


def backbone_named(name: str) -> Backbone:
    """Return the backbone of that name, or raise `UnknownNameError` with the nearest one."""
    if name not in BACKBONES:
        raise UnknownNameError("backbone", name, BACKBONES)
    return BACKBONES[name]
