"""Key maps: how other libraries name the tensors of networks that timm has, for notes beside a weights file.

`efficientnet_pytorch` is the naming of Luke Melas-Kyriazi's library of that name (Apache-2.0), which the
image encoders of Mammo-CLIP (Ghosh et al. 2024, arXiv 2405.12255: EfficientNet-B2 and -B5) and Mammo-FM have:
blocks are numbered from first to last, and each normalisation by its place in the block. The library pads as
TensorFlow does and adds 1e-3 to variances, so its weights fit timm's `tf_efficientnet_` networks, which do
the same, and no others: in `efficientnet_b5`, of the same shapes, they would compute something else.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from trainables.common.errors import UnknownNameError, WeightsError

_BLOCK: Final = re.compile(r"^blocks\.(\d+)\.(\d+)\.(.+)$")
_OUTSIDE: Final = MappingProxyType(
    {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
)
_SQUEEZE: Final = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
# Blocks of the first stage do not widen their input, and have one convolution and one normalisation less.
_SEPARABLE: Final = MappingProxyType(
    {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2", **_SQUEEZE}
)
_INVERTED: Final = MappingProxyType(
    {
        "conv_pw": "_expand_conv",
        "bn1": "_bn0",
        "conv_dw": "_depthwise_conv",
        "bn2": "_bn1",
        "conv_pwl": "_project_conv",
        "bn3": "_bn2",
        **_SQUEEZE,
    }
)


@dataclass(frozen=True, slots=True)
class KeyMap:
    """Naming of another library.

    Attributes:
        nets: How the names of backbones begin that compute what the library's networks compute.
        why: Reason why others do not, for messages.
        first: A tensor of each of its networks, which tells the naming.
        names: From timm's names of a network's tensors to the library's, by timm's.
    """

    nets: tuple[str, ...]
    why: str
    first: str
    names: Callable[[Iterable[str]], dict[str, str]]


def _efficientnet_pytorch(published: Iterable[str]) -> dict[str, str]:
    """Return the name in efficientnet_pytorch of each tensor of a network.

    >>> names = ["blocks.0.0.bn1.bias", "blocks.1.0.conv_pwl.weight", "blocks.1.0.bn1.bias", "bn1.bias"]
    >>> list(_efficientnet_pytorch(names).values())
    ['_blocks.0._bn1.bias', '_blocks.1._project_conv.weight', '_blocks.1._bn0.bias', '_bn0.bias']
    """
    names = list(published)
    found = {name: match for name in names if (match := _BLOCK.match(name))}
    places = sorted({(int(match[1]), int(match[2])) for match in found.values()})
    inverted = {(int(match[1]), int(match[2])) for match in found.values() if match[3] == "conv_pwl.weight"}
    theirs: dict[str, str] = {}
    for name in names:
        if name not in found:
            theirs[name] = _replaced(name, _OUTSIDE)
            continue
        place = int(found[name][1]), int(found[name][2])
        layer = _replaced(found[name][3], _INVERTED if place in inverted else _SEPARABLE)
        theirs[name] = f"_blocks.{places.index(place)}.{layer}"
    return theirs


def _replaced(name: str, layers: MappingProxyType[str, str]) -> str:
    layer, _, leaf = name.rpartition(".")
    return f"{layers.get(layer, layer)}.{leaf}"


KEY_MAPS: Final = MappingProxyType(
    {
        "efficientnet_pytorch": KeyMap(
            nets=("timm:tf_efficientnet_b", "timm:tf_efficientnet_l"),
            why="its networks pad as TensorFlow does and add 1e-3 to variances",
            first="_conv_stem.weight",
            names=_efficientnet_pytorch,
        )
    }
)


def check_key_map(name: str) -> str:
    """Return the name of a key map that exists.

    Raises:
        UnknownNameError: If there is none of that name.
    """
    if name not in KEY_MAPS:
        raise UnknownNameError("key map", name, tuple(KEY_MAPS))
    return name


def key_map_for(backbone: str, asked: str | None, keys: Sequence[str], file_name: str) -> KeyMap | None:
    """Return the naming of a file: what its notes say, or else what its tensors tell.

    Args:
        backbone: Name of the backbone that the file is for.
        asked: Name of a key map, from the notes beside the file; None where they name none.
        keys: Names of the file's tensors.
        file_name: Name of the file, for messages.

    Returns:
        The naming; None where tensors have the names of the published network, or unknown ones.

    Raises:
        WeightsError: If the backbone computes something else than networks of that naming.
    """
    name = asked or next((own for own, one in KEY_MAPS.items() if _tells(one, keys)), None)
    if name is None:
        return None
    found = KEY_MAPS[name]
    if not backbone.startswith(found.nets):
        raise WeightsError(
            f"{file_name} has the names of {name}, and {found.why}: its weights are for "
            f"{' or '.join(f'{net}...' for net in found.nets)}, and {backbone} would compute something else "
            "with them"
        )
    return found


def _tells(key_map: KeyMap, keys: Sequence[str]) -> bool:
    return any(key == key_map.first or key.endswith(f".{key_map.first}") for key in keys)
