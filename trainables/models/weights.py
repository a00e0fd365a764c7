"""Search for pretrained weights, and loading of weights into a backbone's stages.

Searched in order: a state dict named after the backbone in `--weights-dir`, an installed package,
torchvision's own download. Files and their hashes are known before the first trial. For a network named
`timm:<name>` only that folder is searched, for a state dict in `<name>.pt`, `<name>.pth` or
`<name>.safetensors`: of timm's own network, or of a larger one that holds it below a prefix, as published
checkpoints of image and text encoders do (`model` -> `image_encoder.conv_stem.weight`); tensors under other
names are taken if their naming is known (`trainables.models.key_maps`), if they have the same layers in the
same order, or by the rules that stand beside the file (`trainables.models.weights_notes`).
"""

import functools
import hashlib
import importlib.util
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trainables.common.errors import WeightsError
from trainables.models.key_maps import KeyMap, key_map_for
from trainables.models.registry import backbone_named
from trainables.models.stages import Backbone
from trainables.models.table import TABLE
from trainables.models.timm_generic import FAMILY as TIMM
from trainables.models.weights_notes import WeightsNotes, notes_beside, renamed

# Parts of the published files that no stage holds: classifiers and Inception's auxiliary head.
_DROPPED_PREFIXES = ("classifier.", "fc.", "_fc.", "last_linear.", "AuxLogits.")
WITHOUT_ORDER: Final = "a .safetensors file does not keep the order of its layers, by which this net is read"
_SUFFIXES = (".pt", ".pth")
NAMED_SUFFIXES = (*_SUFFIXES, ".safetensors")
_NAMED_IN_MESSAGES = 5
# Where checkpoints keep the state dict, and what stands before the names of an image encoder in it.
_NESTED = ("state_dict", "model", "model_state_dict", "teacher", "net", "module")
_ENCODERS = ("image_encoder.", "visual.", "backbone.", "encoder.", "module.")


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of pretrained weights.

    Attributes:
        path: Path of the file.
        origin: Origin of the file: `weights folder`, `package` or `torchvision`.
        sha256: SHA-256 hash of the file, and of the rules for its names where there are any, in hex; part of
            every key in the prefix store.
        notes: What the user says about it beside the file.
    """

    path: Path
    origin: str
    sha256: str
    notes: WeightsNotes = field(default_factory=WeightsNotes)


def find_weights(name: str, *, weights_dir: Path | None, may_download: bool) -> WeightsFile:
    """Find the ImageNet weights of a backbone.

    Raises:
        WeightsError: If there are none; the message lists the places that were searched.
    """
    if name.startswith(f"{TIMM}:"):
        return _timm_weights(name, weights_dir)
    tried: list[str] = []
    if weights_dir is not None:
        for path in sorted(weights_dir.glob(f"{name}*")):
            if path.suffix in NAMED_SUFFIXES and not _is_of_another_net(path.stem, name):
                if path.suffix in _SUFFIXES:
                    return _of_folder(path, name)
                tried.append(f"{path.name} is not taken: {WITHOUT_ORDER}")
        tried.append(f"no {name}*.pt or {name}*.pth in {weights_dir}")
    else:
        tried.append(f"no --weights-dir with {name}*.pt or {name}*.pth was given")
    backbone = backbone_named(name)
    if backbone.weights_package:
        packaged = _packaged(backbone.weights_package)
        if packaged is not None:
            return _hashed(packaged, "package")
        tried.append(f"package {backbone.weights_package.replace('_', '-')} is not installed")
    if backbone.torchvision_weights:
        found = _of_torchvision(backbone.torchvision_weights, may_download=may_download)
        if isinstance(found, WeightsFile):
            return found
        tried.append(found)
    raise WeightsError(f"no ImageNet weights for {name}: {'; '.join(tried)}")


def _of_torchvision(weights: str, *, may_download: bool) -> WeightsFile | str:
    """Torchvision's file, downloaded if necessary, or the reason why there is none."""
    from trainables.models.torchvision_library import models

    url = models.get_weight(weights).url
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if cached.is_file():
        return _hashed(cached, "torchvision")
    if not may_download:
        return "not downloaded before; a search downloads it unless it is --offline"
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(cached), hash_prefix=_hash_in_name(cached.stem))
    except (URLError, OSError, RuntimeError) as error:
        return f"torchvision's download failed ({error})"
    return _hashed(cached, "torchvision")


def build_stages(
    backbone: Backbone, *, channels: int, weights: WeightsFile | None
) -> "OrderedDict[str, nn.Module]":
    """Build a backbone's stages and load weights into them.

    Args:
        backbone: Backbone from the registry.
        channels: Channels of the input, 1 or 3.
        weights: File to load, or None for random weights.

    Raises:
        WeightsError: If the file cannot be read or its tensors do not fit.
    """
    stages = backbone.build(channels)
    if weights is None:
        return stages
    keys, file_name = weights.notes.keys, weights.path.name
    found = renamed(_read(weights.path), keys, file_name) if keys else _read(weights.path)
    published = [stage for stage in stages.values() if isinstance(stage, NamedAsPublished)]
    if published:
        naming = key_map_for(backbone.name, weights.notes.key_map, [name for name, _ in found], file_name)
        _fill_by_name(published, dict(found), file_name, backbone.name, naming, is_renamed=bool(keys))
    else:
        kept = [(name, value) for name, value in found if not name.startswith(_DROPPED_PREFIXES)]
        _fill(_by_layer(_named_tensors(stages)), _by_layer(kept), file_name, backbone.name)
    return stages


Layer = dict[str, Tensor]


@runtime_checkable
class NamedAsPublished(Protocol):
    """A stage that knows the names which its tensors have in the published network."""

    def published_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Return parameters and buffers under those names."""
        ...


def _named_tensors(stages: "OrderedDict[str, nn.Module]") -> list[tuple[str, Tensor]]:
    return [
        (f"{stage}.{name}", tensor)
        for stage, module in stages.items()
        for name, tensor in module.state_dict(keep_vars=True).items()
    ]


def _by_layer(tensors: list[tuple[str, Tensor]]) -> list[Layer]:
    # Published files name and order tensors in their own ways (some put running_mean before weight), but
    # all list the layers in the order of the network.
    layers: dict[str, Layer] = {}
    for name, tensor in tensors:
        layer, _, leaf = name.rpartition(".")
        if leaf != "num_batches_tracked":
            layers.setdefault(layer, {})[leaf] = tensor
    return list(layers.values())


def _fill(targets: list[Layer], sources: list[Layer], file_name: str, backbone: str) -> None:
    def shapes(layers: list[Layer]) -> list[dict[str, tuple[int, ...]]]:
        return [{leaf: tuple(tensor.shape) for leaf, tensor in layer.items()} for layer in layers]

    if shapes(sources) != shapes(targets):
        raise WeightsError(
            f"{file_name} does not fit {backbone}: {len(targets)} layers are needed, in the order and of the "
            f"shapes of the published network; the file holds {len(sources)} layers, or other shapes"
        )
    with torch.no_grad():
        for target, source in zip(targets, sources, strict=True):
            for leaf, tensor in target.items():
                tensor.copy_(source[leaf])


def _fill_by_name(
    stages: Sequence[NamedAsPublished],
    found: dict[str, Tensor],
    file_name: str,
    backbone: str,
    naming: KeyMap | None,
    *,
    is_renamed: bool,
) -> None:
    targets = {
        name: tensor
        for stage in stages
        for name, tensor in stage.published_tensors()
        if not name.endswith("num_batches_tracked")  # which nothing reads, and old files lack
    }
    if naming is not None:
        theirs = naming.names(targets)
        targets = {theirs[name]: tensor for name, tensor in targets.items()}
    prefix = "" if is_renamed and naming is None else _prefix_of(targets, found)
    named = {name: found.get(f"{prefix}{name}") for name in targets}
    strange = [
        name for name, own in targets.items() if (other := named[name]) is None or other.shape != own.shape
    ]
    layers, others = _by_layer(list(targets.items())), _by_layer(_encoder_of(found))
    is_by_order = naming is None and not is_renamed
    if is_by_order and len(strange) == len(targets) and len(layers) == len(others):
        _fill(layers, others, file_name, backbone)
        return
    if strange:
        raise WeightsError(_misfit(targets, named, file_name, backbone, list(found)))
    with torch.no_grad():
        for name, tensor in targets.items():
            tensor.copy_(found[f"{prefix}{name}"])


def _misfit(
    targets: Mapping[str, Tensor],
    named: Mapping[str, Tensor | None],
    file_name: str,
    backbone: str,
    found: Sequence[str],
) -> str:
    """Say which tensors are missing, and which have another shape, a few of each by name."""
    missing = [name for name in targets if named[name] is None]
    shapes = [
        f"{name} {tuple(other.shape)} instead of {tuple(own.shape)}"
        for name, own in targets.items()
        if (other := named[name]) is not None and other.shape != own.shape
    ]
    said = [
        f"{what} {_a_few(own)}" for own, what in ((missing, "missing"), (shapes, "of another shape")) if own
    ]
    return (
        f"{file_name} does not fit {backbone}: of its {len(targets)} tensors {', '.join(said)}. The file "
        f"begins with {', '.join(found[:3])}; save the state dict of timm's own network, or say in "
        f"{Path(file_name).with_suffix('.yaml')} beside it, under keys, how its names are to be read"
    )


def _a_few(names: Sequence[str]) -> str:
    more = "; ..." if len(names) > _NAMED_IN_MESSAGES else ""
    return f"{len(names)} ({'; '.join(names[:_NAMED_IN_MESSAGES])}{more})"


def _prefix_of(targets: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """What stands before the published names in a checkpoint: the shortest that most of them have."""
    first = next(iter(targets))
    ends = sorted((key.removesuffix(first) for key in found if key.endswith(first)), key=len)
    return max(ends, key=lambda prefix: sum(f"{prefix}{name}" in found for name in targets), default="")


def _encoder_of(found: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Tensors of the image encoder of a checkpoint, without its classifier, under shorter names."""
    prefix = next((own for own in _ENCODERS if any(key.startswith(own) for key in found)), "")
    own = [(key.removeprefix(prefix), value) for key, value in found.items() if key.startswith(prefix)]
    return [(key, value) for key, value in own if not key.startswith(_DROPPED_PREFIXES)]


def _read(path: Path) -> list[tuple[str, Tensor]]:
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as a state dict: {error}") from error
    while isinstance(state, dict) and (inner := next((key for key in _NESTED if key in state), None)):
        state = state[inner]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} is not a state dict (name -> tensor); save model.state_dict() by itself")
    return list(state.items())


def _timm_weights(name: str, weights_dir: Path | None) -> WeightsFile:
    short = name.partition(":")[2]
    possible = (
        [weights_dir / f"{short}{suffix}" for suffix in NAMED_SUFFIXES] if weights_dir is not None else []
    )
    for path in possible:
        if path.is_file():
            return _of_folder(path, name)
    where = f" in {weights_dir}" if weights_dir is not None else ", since no --weights-dir was given"
    raise WeightsError(
        f"no weights for {name}: no {short}.pt, .pth or .safetensors{where}; save timm's state dict there "
        f"or train all stages from model.weights=random"
    )


def _of_folder(path: Path, name: str) -> WeightsFile:
    found = _hashed(path, "weights folder")
    key_map_for(name, found.notes.key_map, (), path.name)  # refuses a backbone that its notes do not fit
    return found


def _is_of_another_net(stem: str, name: str) -> bool:
    """True for a file such as `resnet50d.pt`, which begins with `resnet50` and is a network of timm."""
    if stem == name or stem.startswith(f"{name}-"):  # torchvision's files have a hash behind their name
        return False
    from trainables.models.timm_library import timm

    return bool(timm.is_model(stem.partition("-")[0]))


def _packaged(package: str) -> Path | None:
    """Weights file of an installed package; None where the package is not installed or holds none."""
    found = importlib.util.find_spec(package)
    folders = list(found.submodule_search_locations or ()) if found else []
    return next((path for folder in folders for path in sorted(Path(folder).rglob("*.pth"))), None)


def _hash_in_name(stem: str) -> str | None:
    # torchvision ends its file names with the first eight digits of the file's hash.
    return stem.rsplit("-", 1)[-1] if "-" in stem else None


@functools.lru_cache(maxsize=64)
def _digest(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hashed(path: Path, origin: str) -> WeightsFile:
    stat, notes = path.stat(), notes_beside(path)
    digest = _digest(path, stat.st_size, stat.st_mtime_ns)
    if notes.keys or notes.key_map:  # other names may mean other tensors, and so other features
        rules = f"{notes.keys} {notes.key_map}" if notes.key_map else f"{notes.keys}"
        digest = hashlib.sha256(f"{digest} {rules}".encode()).hexdigest()
    return WeightsFile(path, origin, digest, notes)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Backbones that a search may use.

    Attributes:
        usable: Pretrained file of each usable backbone; None for nets trained from scratch, and for
            statistics, which have no weights.
        left_out: Reason for each backbone that cannot be used.
    """

    usable: dict[str, WeightsFile | None]
    left_out: dict[str, str]


def hash_of(weights: WeightsFile | None) -> str:
    """Name of a backbone's weights in keys: the hash of their file, or `random`."""
    return weights.sha256 if weights else "random"


def weights_text(name: str, file: WeightsFile | None) -> str:
    """Say where the weights of a usable backbone come from, or why no file holds them.

    Args:
        name: Name of the backbone.
        file: Its file, or None, as in `Inventory.usable`.
    """
    if file is not None:
        return f"ImageNet weights from {file.origin}"
    has_none = name == TABLE.name or backbone_named(name).is_fixed
    return "has no weights" if has_none else "trains from scratch"


def take_inventory(
    names: tuple[str, ...], *, weights_dir: Path | None, may_download: bool, is_random: bool = False
) -> Inventory:
    """Look for the weights of each backbone; nets that train from scratch need none.

    Args:
        names: Names of the backbones.
        weights_dir: Folder of the user's files, or None.
        may_download: True if torchvision may download files.
        is_random: True where all trials train from random weights, so that no file is searched.
    """
    usable: dict[str, WeightsFile | None] = {}
    left_out: dict[str, str] = {}
    for name in names:
        if is_random or not backbone_named(name).has_imagenet_weights:
            usable[name] = None
            continue
        try:
            usable[name] = find_weights(name, weights_dir=weights_dir, may_download=may_download)
        except WeightsError as error:
            left_out[name] = str(error)
    return Inventory(usable, left_out)
