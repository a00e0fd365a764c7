"""Networks of timm whose weights lie in `--weights-dir`: each file that is named after one is a backbone.

The bundled backbones find their own files there (`trainables.models.weights`). A file that neither they nor
timm know, and a network that cannot be cut into stages or whose file does not fit, is a reason, not an error.
"""

import dataclasses
from pathlib import Path

from trainables.common.errors import ConfigError, UnknownNameError, WeightsError
from trainables.models.registry import BACKBONES, backbone_named
from trainables.models.timm_generic import FAMILY
from trainables.models.weights import (
    NAMED_SUFFIXES,
    WITHOUT_ORDER,
    Inventory,
    WeightsFile,
    build_stages,
    find_weights,
)


def with_nets_of_folder(inventory: Inventory, weights_dir: Path | None) -> Inventory:
    """Add the networks of timm that have a file in a folder of weights.

    Args:
        inventory: Backbones that have been looked for already.
        weights_dir: The folder; None adds nothing.

    Returns:
        The inventory with each further network as `timm:NAME`, or the reason against it, and with the reason
        against each file that belongs to no backbone.
    """
    usable, left_out = dict(inventory.usable), dict(inventory.left_out)
    for path in _files(weights_dir):
        name = f"{FAMILY}:{path.stem}"
        if _is_bundled(path.stem):
            if path.suffix == ".safetensors" and not _has_other_form(path):
                left_out[path.name] = f"{WITHOUT_ORDER}; save its state dict as {path.stem}.pt"
            continue
        if name in usable or name in left_out:
            continue
        try:
            backbone_named(name)
        except UnknownNameError as error:
            left_out[path.name] = f"{error}; name the file after its network"
            continue
        except ConfigError as error:
            left_out[name] = str(error)
            continue
        try:
            usable[name] = _fitting(name, weights_dir)
        except (ConfigError, WeightsError, UnknownNameError) as error:  # the last of a name in its notes
            left_out[name] = str(error)
    return dataclasses.replace(inventory, usable=usable, left_out=left_out)


def _has_other_form(path: Path) -> bool:
    return any(path.with_suffix(own).is_file() for own in NAMED_SUFFIXES if own != path.suffix)


def _files(weights_dir: Path | None) -> list[Path]:
    found = sorted(weights_dir.iterdir()) if weights_dir is not None and weights_dir.is_dir() else []
    return [path for path in found if path.suffix in NAMED_SUFFIXES and path.is_file()]


def _is_bundled(stem: str) -> bool:
    """True for a file of a bundled backbone, which may carry more behind its name, such as a hash."""
    if stem in BACKBONES:
        return True
    from trainables.models.timm_library import timm

    own = stem.partition("-")[0]
    return own in BACKBONES or (not timm.is_model(own) and any(stem.startswith(name) for name in BACKBONES))


def _fitting(name: str, weights_dir: Path | None) -> WeightsFile:
    """The file of a network that takes all tensors which the network needs."""
    backbone = backbone_named(name)
    found = find_weights(name, weights_dir=weights_dir, may_download=False)
    build_stages(backbone, channels=backbone.channels or 3, weights=found)
    return found
