"""Backbones from any network of timm (Apache-2.0) that is a list of stages: `timm:<name>`.

Stages are found automatically: modules of the network are run one after the other until their output equals
that of the network's own `forward_features`; maps whose channels are last, as those of Swin, are turned.
Plain vision transformers are cut by `trainables.models.timm_tokens`, and compared in the same way. A network
that computes something else between its modules (several maps at once) is refused. Paper and licence of each
network are in timm's own file; the weights are the user's file.
"""

import difflib
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

import torch
from torch import Tensor, nn

from trainables.common.errors import ConfigError, UnknownNameError
from trainables.models.stages import Backbone
from trainables.models.timm_tokens import (
    OPTIONS,
    is_token_net,
    token_cuts,
    token_levels,
    token_readout,
    token_readouts,
    token_stages,
)

FAMILY: Final = "timm"
_ANY_SIZE: Final = {"strict_img_size": False}  # Swin
_SIDES_PX: Final = (32, 48, 64, 96, 128, 160, 192, 224, 256, 299, 331, 384)

Modules = OrderedDict[str, nn.Module]  # by their path in timm's network


class PublishedStage(nn.Sequential):
    """Modules of a published network, one after the other.

    Attributes:
        paths: Path of each module in that network, such as `blocks.0`.
    """

    def __init__(self, modules: Modules) -> None:
        super().__init__(OrderedDict((path.replace(".", "_"), module) for path, module in modules.items()))
        self.paths = tuple(modules)

    def published_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers under the names that they have in the published network."""
        for path, module in zip(self.paths, self, strict=True):
            for name, tensor in module.state_dict(keep_vars=True).items():
                yield f"{path}.{name}", tensor


class ChannelsLastStage(PublishedStage):
    """Modules of a network whose maps have their channels last; the stage takes and gives them first."""

    takes_images = False

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same."""
        found: Tensor = super().forward(features if self.takes_images else features.permute(0, 2, 3, 1))
        return found.permute(0, 3, 1, 2)


def timm_backbone(name: str) -> Backbone:
    """Return the backbone of a `timm:` name.

    Raises:
        UnknownNameError: If timm has no such network.
        ConfigError: If the network cannot be cut into stages that run one after the other.
    """
    return _found(name)


@functools.lru_cache(maxsize=32)
def _found(name: str) -> Backbone:
    short = name.removeprefix(f"{FAMILY}:")
    _check_known(short)
    # Inspecting a network must not change later random draws, and it needs real numbers even where the caller
    # is on the meta device.
    with torch.random.fork_rng(devices=()), torch.device("cpu"):
        net = _net(short)
        side = _smallest_side(net, name)
        build: Callable[[int], OrderedDict[str, nn.Module]]
        kinds: tuple[str, ...] = ()
        cuts: tuple[str, ...] = ()
        lists: tuple[tuple[str, ...], ...] = ()
        if is_token_net(net):
            kinds = token_readouts(net)
            build = functools.partial(_build_tokens, short)
            stages = _checked_tokens(short, side, name)
            names, levels = tuple(stages), token_levels(stages)
            cuts, lists = token_cuts(stages, kinds)
        else:
            modules, paths = _modules_of_features(net, side, name), _feature_paths(net)
            groups = _groups(modules, paths, has_attention=_has_channels_last(net))
            build = functools.partial(_build, short, groups)
            names, levels = tuple(groups), _levels(groups, paths)
    published = net.default_cfg
    return Backbone(
        name=name,
        build=build,
        stage_names=names,
        levels=levels,
        channels=3,
        min_size_px=side,
        size_px=max(side, published["input_size"][-1]),
        mean=tuple(published["mean"]),
        std=tuple(published["std"]),
        has_imagenet_weights=True,
        source=f"timm's {net.default_cfg['architecture']}",
        licence=str(published.get("license") or ""),
        readouts=kinds,
        build_readout=token_readout if kinds else None,
        readout_cuts=cuts,
        tap_lists=lists,
    )


Groups = OrderedDict[str, tuple[str, ...]]  # stage -> paths of its modules


def _build(short: str, groups: Groups, channels: int) -> "OrderedDict[str, nn.Module]":
    net = _net(short)
    modules = _flat_modules(net)
    kind = ChannelsLastStage if _has_channels_last(net) else PublishedStage
    stages = OrderedDict(
        (stage, kind(OrderedDict((path, modules[path]) for path in paths))) for stage, paths in groups.items()
    )
    first = next(iter(stages.values()))
    if isinstance(first, ChannelsLastStage):
        first.takes_images = True
    return OrderedDict(stages)


def _has_channels_last(net: Any) -> bool:
    return getattr(net, "output_fmt", "NCHW") == "NHWC"


def _build_tokens(short: str, channels: int) -> "OrderedDict[str, nn.Module]":
    return token_stages(_net(short), f"{FAMILY}:{short}")


def _checked_tokens(short: str, side: int, name: str) -> "OrderedDict[str, nn.Module]":
    """Stages of a transformer that compute what the network computes.

    Raises:
        ConfigError: If they do not.
    """
    net = _net(short)
    _stir(net)
    with torch.inference_mode():
        features = torch.rand(2, 3, side, side)
        expected = net.forward_features(features)
        stages = token_stages(net, name)
        try:
            for stage in stages.values():
                features = stage(features)
        except Exception as error:
            raise _not_a_list(name, f"its blocks take something else than tokens ({error})") from error
        prefix = net.num_prefix_tokens
        patches = expected[:, prefix:].mean(dim=1)
        wanted = torch.cat([patches, expected[:, 0]], dim=1) if prefix else patches
    if not _agree(features.mean(dim=(2, 3)), wanted):
        raise _not_a_list(name, "it computes something else between its blocks")
    return stages


def _net(short: str) -> Any:
    """The network with random weights, on torch's default device."""
    from trainables.models.timm_library import timm

    def made() -> Any:
        sizes: tuple[dict[str, Any], ...] = (OPTIONS, _ANY_SIZE, {})
        for options in sizes:
            try:
                net = timm.create_model(short, pretrained=False, **options)
            except TypeError:  # it has no such options
                continue
            embedding: Any = getattr(net, "patch_embed", None)
            if hasattr(embedding, "dynamic_img_pad"):
                embedding.dynamic_img_pad = True
            return net
        raise AssertionError("every network can be made without options")

    device = torch.get_default_device()
    if device.type != "meta":
        return made().eval()
    # Some networks compute their own layout with operators that a meta device lacks. Their weights are thrown
    # away, so drawing them must not change later random draws.
    with torch.random.fork_rng(devices=()), torch.device("cpu"):
        net = made()
    return net.to(device).eval()


def _check_known(short: str) -> None:
    from trainables.models.timm_library import timm

    if not timm.is_model(short):
        near = difflib.get_close_matches(short.partition(".")[0], timm.list_models(), n=6, cutoff=0.3)
        raise UnknownNameError("network of timm", short, near or ("convnext_atto", "regnetx_002", "resnet18"))


def _smallest_side(net: Any, name: str) -> int:
    """Smallest of a few usual input sides that a network accepts, in pixels."""
    reason = ""
    for side in _SIDES_PX:
        try:
            with torch.inference_mode():
                net.forward_features(torch.zeros(1, 3, side, side))
        except Exception as error:
            # Each network fails in its own way on images that are too small for it.
            reason = str(error)
        else:
            return side
    raise ConfigError(
        f"{name} takes square images of 3 channels at none of {', '.join(map(str, _SIDES_PX))} pixels: "
        f"{reason}"
    )


def _flat_modules(net: Any) -> Modules:
    """Direct modules of a network; lists of features or blocks are expanded by one level."""
    opened = {path.rpartition(".")[0] for path in _feature_paths(net)}
    flat: Modules = OrderedDict()
    for name, module in net.named_children():
        if isinstance(module, nn.Sequential) and name in opened:
            flat |= {f"{name}.{inner}": child for inner, child in module.named_children()}
        else:
            flat[name] = module
    return flat


def _feature_paths(net: Any) -> list[str]:
    return [str(info["module"]) for info in getattr(net, "feature_info", ())]


def _modules_of_features(net: Any, side: int, name: str) -> Modules:
    """Modules that, run one after the other, compute the network's `forward_features`."""
    torch.manual_seed(0)
    _stir(net)
    flat = _flat_modules(net)
    with torch.inference_mode():
        features = torch.rand(2, 3, side, side)
        expected = net.forward_features(features)
        channels = 3 if _has_channels_last(net) else 1
        is_map = isinstance(expected, Tensor) and expected.dim() == 4
        if not is_map or expected.shape[channels] != net.num_features:
            raise _not_a_list(name, "its features are not a map (channels, height, width)")
        for count, (path, module) in enumerate(flat.items(), start=1):
            try:
                features = module(features)
            except Exception as error:
                raise _not_a_list(
                    name, f"{path} takes something else than {_before(flat, count)} gives"
                ) from error
            if _agree(features, expected):
                return OrderedDict(islice(flat.items(), count))
    raise _not_a_list(name, "it computes something else between its modules")


def _agree(found: object, expected: Tensor) -> bool:
    is_same_shape = isinstance(found, Tensor) and found.shape == expected.shape
    return is_same_shape and torch.allclose(found, expected, rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]


def _before(flat: Modules, count: int) -> str:
    return list(flat)[count - 2] if count > 1 else "an image"


def _not_a_list(name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"{name} cannot be cut into stages that run one after the other: {reason}; take a network of plain "
        f"stages, such as timm:resnet18, timm:regnetx_002 or timm:vit_small_patch16_224"
    )


def _stir(net: nn.Module) -> None:
    # With initial weights some residual branches are zero, so a wrong chain without them would seem to agree.
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    for name, parameter in net.named_parameters():
        if name.endswith("gamma"):
            nn.init.uniform_(parameter, 0.5, 1.5)


def _groups(modules: Modules, feature_paths: list[str], *, has_attention: bool) -> Groups:
    """Group modules into stages.

    A block is a stage. Single convolutions are grouped up to the point where timm takes features; a layer
    without a convolution belongs to the stage before it, unless it is a block of attention.
    """
    groups: list[list[str]] = []
    is_open = False
    for path, module in modules.items():
        is_single = isinstance(module, nn.Conv2d)
        has_convolution = any(isinstance(part, nn.Conv2d) for part in module.modules())
        has_convolution |= has_attention and path in feature_paths
        if groups and (not has_convolution or (is_single and is_open)):
            groups[-1].append(path)
        else:
            groups.append([path])
        is_open = (is_single or (is_open and not has_convolution)) and path not in feature_paths
    return OrderedDict((_stage_name(paths, number), tuple(paths)) for number, paths in enumerate(groups))


def _stage_name(paths: list[str], number: int) -> str:
    return "stem" if number == 0 else paths[0].replace(".", "_")


def _levels(groups: Groups, feature_paths: list[str]) -> tuple[str, ...]:
    """The last stage, then those after the stem where timm takes features, deepest first."""
    taken = [
        stage
        for stage, paths in islice(groups.items(), 1, None)
        if any(path == taken or taken.startswith(f"{path}.") for path in paths for taken in feature_paths)
    ]
    return tuple(dict.fromkeys((next(reversed(groups)), *reversed(taken))))[:3]
