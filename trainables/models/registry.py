"""All backbones: those that the modules of `trainables.models.families` define, and families by name."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from trainables.common.discovery import constants_of
from trainables.common.errors import UnknownNameError
from trainables.models import custom_cnn, families, timm_generic
from trainables.models.stages import Backbone
from trainables.models.table import TABLE

BACKBONES: Final = MappingProxyType(
    {backbone.name: backbone for backbone in constants_of(families, Backbone)}
)
# Backbones of a search that names none, in their order.
DEFAULT_BACKBONES: Final = tuple(
    name
    for _, name in sorted(
        (backbone.default_rank, backbone.name)
        for backbone in BACKBONES.values()
        if backbone.default_rank is not None
    )
)
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
    if name == TABLE.name:  # not a net, so it is not among `BACKBONES`
        return TABLE
    family, colon, _ = name.partition(":")
    if colon and family in _FAMILIES:
        return _FAMILIES[family](name)
    raise UnknownNameError("backbone", name, (*BACKBONES, "scratch:blocks=3,convs=2", "timm:resnet18"))
