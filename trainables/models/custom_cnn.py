"""Nets from scratch whose structure is part of their name: `scratch:blocks=3,convs=2,filters=32`.

Blocks of convolutions with pooling; the ranges cover the nets of the five source systems. Settings that a
name leaves out have their defaults, so `scratch:blocks=3` is a complete name.
"""

import functools
import math
from collections import OrderedDict
from typing import Annotated, Final

from pydantic import Field, ValidationError, model_validator
from torch import nn

from trainables.common.errors import ConfigError, UnknownNameError
from trainables.common.frozen import FrozenModel
from trainables.models.heads import Dropout
from trainables.models.layers import (
    KERAS,
    KERAS_NORMALISED,
    Branches,
    Padding,
    Recipe,
    Residual,
    max_pool,
    unit,
)
from trainables.models.stages import Backbone

FAMILY: Final = "scratch"
_WIDEST: Final = 512
_SMALLEST_PX: Final = 16  # the smallest side that a configuration may ask for
# A net with valid padding that needs more than this would have nearly every image enlarged first.
_LARGEST_PX: Final = 512


class Structure(FrozenModel):
    """Structure of a free-form net.

    Attributes:
        blocks: Number of blocks, 1 to 6; a block is a stage, and ends with a pool that halves the side.
        convs: Convolutions in each block, 1 to 3.
        filters: Channels of the first block, 16 to 512; each block has twice those of the one before, at most
            512.
        kernel: Side of every convolution, 3, 5 or 7 pixels.
        stride: Stride of the first convolution, 1 or 2.
        pool: Side of every pooling window, 2 or 3 pixels, stride 2.
        padding: `same` (TensorFlow's) or `valid`.
        norm: Batch normalisation after every convolution, 0 or 1.
        dropout: Dropout probability after every pooling layer, 0 to 0.25.
        branch: A single convolution parallel to those of each block, 0 or 1; each branch gets half of the
            channels.
        residual: Residual connection around the convolutions of each block, through a 1x1 convolution, 0 or
            1.
    """

    blocks: Annotated[int, Field(ge=1, le=6)] = 4
    convs: Annotated[int, Field(ge=1, le=3)] = 1
    filters: Annotated[int, Field(ge=16, le=512)] = 32
    kernel: Annotated[int, Field(ge=3, le=7)] = 3
    stride: Annotated[int, Field(ge=1, le=2)] = 1
    pool: Annotated[int, Field(ge=2, le=3)] = 2
    padding: Padding = "same"
    norm: bool = False
    dropout: Annotated[float, Field(ge=0.0, le=0.25)] = 0.0
    branch: bool = False
    residual: bool = False

    @model_validator(mode="after")
    def _can_be_built(self) -> "Structure":
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel={self.kernel}: 3, 5 or 7 are possible")
        if self.padding == "valid" and (self.branch or self.residual):
            raise ValueError("branch=1 and residual=1 need padding=same: their parts must have one side")
        if self.min_size_px > _LARGEST_PX:
            raise ValueError(
                f"such a net needs images of {self.min_size_px} pixels, above {_LARGEST_PX}; take fewer "
                f"blocks or convs, or padding=same"
            )
        return self

    @property
    def name(self) -> str:
        """Canonical name, with every setting, in order."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        texts = (
            f"{name}={int(value) if isinstance(value, bool) else _plain(value)}"
            for name, value in values.items()
        )
        return f"{FAMILY}:{','.join(texts)}"

    @property
    def min_size_px(self) -> int:
        """Smallest input side in pixels that leaves one position, at least 16."""
        if self.padding == "same":
            return _SMALLEST_PX
        side = 1
        for block in reversed(range(self.blocks)):
            stride = self.stride if block == 0 else 1
            side = (side - 1) * 2 + self.pool + (self.convs - 1) * (self.kernel - 1)
            side = (side - 1) * stride + self.kernel
        return max(_SMALLEST_PX, side)

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of channels after each block."""
        return tuple(min(_WIDEST, self.filters * 2**block) for block in range(self.blocks))


def structure_of(name: str) -> Structure:
    """Parse the structure in a free-form name.

    Args:
        name: `scratch:` and settings such as `blocks=3,padding=valid`, in any order.

    Raises:
        UnknownNameError: If a setting does not exist.
        ConfigError: If a setting has no value, occurs twice, or its value is not allowed.

    >>> structure_of("scratch:norm=1,blocks=2").name
    'scratch:blocks=2,convs=1,filters=32,kernel=3,stride=1,pool=2,padding=same,norm=1,dropout=0,branch=0,residual=0'
    """
    values: dict[str, str] = {}
    for text in filter(None, name.removeprefix(f"{FAMILY}:").split(",")):
        setting, separator, value = (part.strip() for part in text.partition("="))
        if setting not in Structure.model_fields:
            raise UnknownNameError(f"setting of {FAMILY}:", setting, Structure.model_fields)
        if not (separator and value) or setting in values:
            raise ConfigError(f"{name}: {setting} needs one value, such as {FAMILY}:blocks=3,convs=2")
        values[setting] = value
    try:
        return Structure.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}={values.get(str(part))}: " for part in first["loc"])
        raise ConfigError(f"{name}: {where}{first['msg'].removeprefix('Value error, ')}") from error


def custom_cnn(name: str) -> Backbone:
    """Return the backbone that a free-form name describes; it keeps the name as it was written.

    Raises:
        UnknownNameError: If a setting does not exist.
        ConfigError: If a value is not allowed.

    >>> custom_cnn("scratch:blocks=3,stride=2").stage_names
    ('block1', 'block2', 'block3')
    """
    return _backbone(name, structure_of(name))


@functools.lru_cache(maxsize=1024)
def _backbone(name: str, structure: Structure) -> Backbone:
    names = tuple(f"block{number}" for number in range(1, structure.blocks + 1))
    return Backbone(
        name=name,
        build=functools.partial(_build, structure),
        stage_names=names,
        levels=tuple(reversed(names))[:3],
        min_size_px=structure.min_size_px,
        size_px=max(299, structure.min_size_px),
        source="Free form, after the scratch nets of source systems 000 to 004",
    )


def _build(structure: Structure, channels: int) -> "OrderedDict[str, nn.Module]":
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    for number, width in enumerate(structure.widths, start=1):
        body = _body(structure, channels, width, stride=structure.stride if number == 1 else 1)
        layers = [body, max_pool(structure.pool, padding=structure.padding)]
        if structure.dropout:
            layers.append(Dropout(structure.dropout))
        stages[f"block{number}"] = nn.Sequential(*layers)
        channels = width
    return stages


def _body(structure: Structure, inputs: int, width: int, *, stride: int) -> nn.Module:
    recipe = KERAS_NORMALISED if structure.norm else KERAS
    beside = width // 2 if structure.branch else 0
    body: nn.Module = _convolutions(structure, recipe, inputs, width - beside, stride=stride)
    if beside:
        single = unit(recipe, inputs, beside, structure.kernel, stride=stride)
        body = Branches([body, single])
    if structure.residual:
        body = Residual(body, unit(recipe, inputs, width, 1, stride=stride))
    return body


def _convolutions(
    structure: Structure, recipe: Recipe, inputs: int, width: int, *, stride: int
) -> nn.Sequential:
    units = []
    for place in range(structure.convs):
        own = stride if place == 0 else 1
        units.append(unit(recipe, inputs, width, structure.kernel, stride=own, padding=structure.padding))
        inputs = width
    return nn.Sequential(*units)


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and math.isclose(value, int(value)) else value
