"""All backbones: those that modules of `trainables.models.families` define, families, and registered ones."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from trainables.common.discovery import constants_of
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.common.registered import register, registered
from trainables.models import custom_cnn, families, timm_generic
from trainables.models.stages import Backbone
from trainables.models.table import TABLE

BACKBONES: Final = MappingProxyType(
    {backbone.name: backbone for backbone in constants_of(families, Backbone)}
)


def _by_rank(*, is_optional: bool) -> tuple[str, ...]:
    ranked = sorted(
        (backbone.default_rank, backbone.name)
        for backbone in BACKBONES.values()
        if backbone.default_rank is not None and backbone.is_optional == is_optional
    )
    return tuple(name for _, name in ranked)


# Backbones of a search that names none, in their order, and those that it takes where they are installed.
DEFAULT_BACKBONES: Final = _by_rank(is_optional=False)
OPTIONAL_BACKBONES: Final = _by_rank(is_optional=True)
# Names that describe a net: `family:description`.
_FAMILIES: Final[MappingProxyType[str, Callable[[str], Backbone]]] = MappingProxyType(
    {custom_cnn.FAMILY: custom_cnn.custom_cnn, timm_generic.FAMILY: timm_generic.timm_backbone}
)


def register_backbone(backbone: Backbone, *, replace: bool = False) -> Backbone:
    """Make a backbone known by its name, in this process and in the workers of searches that it starts.

    A search finds it by `model.backbone=NAME`; with a `default_rank` it is among the backbones of a search
    that names none. A name stands for one net: features and weights that a search keeps are found by it, so a
    net that computes something else needs another name.

    Args:
        backbone: The backbone; its `build` may be a function of a notebook.
        replace: Take the place of a backbone that was registered under the same name.

    Returns:
        The backbone.

    Raises:
        ConfigError: If the name is taken, its stages are not those that it builds, or it cannot be sent to
            another process.
    """
    if not isinstance(backbone, Backbone):
        raise ConfigError(
            f"a Backbone is needed, found {backbone!r}; make one with orchestrator.Backbone(...)"
        )
    if ":" in backbone.name or not backbone.name.strip():
        raise ConfigError(
            f"backbone {backbone.name!r}: a name without a colon is needed, which marks a family"
        )
    _check_stages(backbone)
    register("backbone", backbone.name, backbone, own=(*BACKBONES, TABLE.name), replace=replace)
    return backbone


def _check_stages(backbone: Backbone) -> None:
    built = tuple(backbone.build(backbone.channels or 1))
    if built != tuple(backbone.stage_names):
        raise ConfigError(
            f"backbone {backbone.name!r} builds the stages {', '.join(built) or 'none'}, but its stage_names "
            f"are {', '.join(backbone.stage_names) or 'none'}; let both be the same, in order"
        )
    unknown = [level for level in backbone.levels if level not in built]
    if unknown or not backbone.levels:
        raise ConfigError(
            f"backbone {backbone.name!r}: levels must name stages that it has, deepest first; found "
            f"{', '.join(unknown) or 'none'} beside {', '.join(built)}"
        )


def default_backbones() -> tuple[str, ...]:
    """Return the backbones of a search that names none, in their order: optional and registered ones last."""
    own = sorted(
        (backbone.default_rank, name)
        for name, backbone in registered("backbone").items()
        if backbone.default_rank is not None
    )
    return (*DEFAULT_BACKBONES, *OPTIONAL_BACKBONES, *(name for _, name in own))


def fixed_backbones() -> tuple[str, ...]:
    """Return the names of those without weights: statistics of pixels, and the columns of a table.

    >>> "vgg16" in fixed_backbones(), "table" in fixed_backbones()
    (False, True)
    """
    everything: dict[str, Backbone] = {**BACKBONES, **registered("backbone")}
    return (*(name for name, backbone in everything.items() if backbone.is_fixed), TABLE.name)


def backbone_named(name: str) -> Backbone:
    """Return the backbone in `BACKBONES`, a registered one, that of a `scratch:` or `timm:` name, or `table`.

    Raises:
        UnknownNameError: If there is none; the message holds the nearest name.
        ConfigError: If a `scratch:` or `timm:` name describes what cannot be built.

    >>> backbone_named("scratch:blocks=2,filters=16").levels
    ('block2', 'block1')
    """
    if name in BACKBONES:
        return BACKBONES[name]
    own = registered("backbone")
    if name in own:
        found: Backbone = own[name]
        return found
    if name == TABLE.name:  # not a net, so it is not among `BACKBONES`
        return TABLE
    family, colon, _ = name.partition(":")
    if colon and family in _FAMILIES:
        return _FAMILIES[family](name)
    raise UnknownNameError("backbone", name, (*BACKBONES, *own, "scratch:blocks=3,convs=2", "timm:resnet18"))
