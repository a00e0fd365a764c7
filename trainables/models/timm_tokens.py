"""Vision transformers of timm as a list of stages: DINOv2, DINOv3, EVA, MAE and their kin, by `timm:<name>`.

Between stages travel maps, as between those of a convolutional net: at each position the token of its patch,
and behind it, in further channels, the tokens that belong to no patch (class token, registers), the same
everywhere. So the mean over positions of any stage is the mean of the patches and the class token side by
side, which is what linear probes of these nets read (Oquab et al. 2023, "DINOv2", section 7.1). The last
stage leaves the registers out.

Behind each block stand readouts, which take the net's final norm, as DINOv2's `get_intermediate_layers` does:
`class`, the class token alone; `patches`, the patches alone; and `both`. At the last block, behind whose norm
they stand, `both` is the block's own output. A search tries the first two there, and those of the last four
blocks side by side, as DINOv2's linear probes do.

Position embeddings are resampled to the size of the input by timm, and sides that are no multiple of the
patch are padded by it.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from trainables.common.errors import ConfigError
from trainables.models.readouts import Readout

OPTIONS: Final = {"dynamic_img_size": True, "dynamic_img_pad": True}
_LEVELS: Final = 3  # of a search: after the last block, after three quarters of them, and after half
_LAST: Final = 4  # blocks whose readouts stand together, as in DINOv2's linear probes
CLASS, PATCHES, BOTH = "class", "patches", "both"


def is_token_net(net: Any) -> bool:
    """Tell whether a network of timm is a plain vision transformer: one width, blocks one after the other."""
    parts = ("patch_embed", "blocks", "_pos_embed", "norm", "num_prefix_tokens")
    return all(hasattr(net, part) for part in parts) and isinstance(net.blocks, nn.Sequential | nn.ModuleList)


class TokenStem(nn.Module):
    """Patches, positions and tokens that belong to no patch: images (B, 3, H, W) to a map.

    Args:
        net: Network of timm; its blocks are taken out of it.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        net.blocks, net.norm = nn.ModuleList(), nn.Identity()
        for name in ("fc_norm", "head", "head_drop", "attn_pool"):
            if hasattr(net, name):
                setattr(net, name, nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        """Map images to (B, (1 + prefix) width, rows, columns)."""
        patches = self.net.patch_embed(images)  # (B, rows, columns, width)
        found = self.net._pos_embed(patches)
        tokens = self.net.norm_pre(found[0] if isinstance(found, tuple) else found)
        return as_map(tokens, self.net.num_prefix_tokens, patches.shape[1], patches.shape[2])

    def published_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers under the names that they have in the published network."""
        yield from self.net.state_dict(keep_vars=True).items()


class TokenBlock(nn.Module):
    """A block of a transformer, from map to map; the last one with the norm behind it.

    Args:
        path: Path of the block in the published network, such as `blocks.0`.
        block: The block.
        prefix: Number of tokens that belong to no patch.
        rope: Module of rotary positions, which every block is given; None without.
        norm: Norm of the published network, behind the last block; None elsewhere. Only the class token and
            the patches leave it.
    """

    def __init__(
        self, path: str, block: nn.Module, prefix: int, rope: nn.Module | None, norm: nn.Module | None
    ) -> None:
        super().__init__()
        self.path, self.prefix = path, prefix
        self.block, self.rope, self.norm = block, rope, norm

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, (1 + prefix) width, rows, columns) to the same, or behind the norm to (B, 2 width, ...)."""
        rows, columns = features.shape[2], features.shape[3]
        tokens = as_tokens(features, self.prefix)
        if self.rope is None:
            tokens = self.block(tokens)
        else:
            tokens = self.block(tokens, rope=self.rope.get_embed(shape=[rows, columns]))  # type: ignore[operator]
        if self.norm is None:
            return as_map(tokens, self.prefix, rows, columns)
        found = as_map(self.norm(tokens), self.prefix, rows, columns)
        width = tokens.shape[2]
        return found[:, : width * min(2, 1 + self.prefix)]

    def published_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers under the names that they have in the published network."""
        for name, tensor in self.block.state_dict(keep_vars=True).items():
            yield f"{self.path}.{name}", tensor
        for name, part in (("norm", self.norm), ("rope", self.rope)):
            if part is not None:
                yield from ((f"{name}.{own}", one) for own, one in part.state_dict(keep_vars=True).items())


def as_map(tokens: Tensor, prefix: int, rows: int, columns: int) -> Tensor:
    """Turn tokens into a map.

    Args:
        tokens: Tokens, shape (B, prefix + rows * columns, width), those of no patch first.
        prefix: Number of tokens that belong to no patch.
        rows: Number of rows of patches.
        columns: Number of columns of patches.

    Returns:
        Map, shape (B, (1 + prefix) * width, rows, columns): patches first.
    """
    patches = tokens[:, prefix:].transpose(1, 2).unflatten(2, (rows, columns))
    if prefix == 0:
        return patches
    others = tokens[:, :prefix].flatten(1)[:, :, None, None].expand(-1, -1, rows, columns)
    return torch.cat([patches, others], dim=1)


def as_tokens(features: Tensor, prefix: int) -> Tensor:
    """Turn a map back into tokens, shape (B, prefix + rows * columns, width); see `as_map`."""
    width = features.shape[1] // (1 + prefix)
    patches = features[:, :width].flatten(2).transpose(1, 2)
    if prefix == 0:
        return patches
    others = features[:, width:, 0, 0].unflatten(1, (prefix, width))
    return torch.cat([others, patches], dim=1)


class TokenReadout(Readout):
    """The class token of a block, its patches, or both, behind the final norm of the network.

    Args:
        kind: `class`, `patches` or `both`.
        prefix: Number of tokens of the block's map that belong to no patch, the class token first.
        norm: Final norm of the network; None where it stands before the map.
    """

    def __init__(self, kind: str, prefix: int, norm: nn.Module | None) -> None:
        super().__init__()
        self.kind, self.prefix = kind, prefix
        self.norm = nn.Identity() if norm is None else norm

    def extra_repr(self) -> str:
        """What tells it from other readouts, for keys."""
        return f"{self.kind}, prefix={self.prefix}"

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, (1 + prefix) width, rows, columns) to (B, width, ...), or for `both` to (B, 2 width, ...).

        A class token alone has one position.
        """
        width = features.shape[1] // (1 + self.prefix)
        patches, token = features[:, :width], features[:, width : 2 * width, :1, :1]
        if self.kind == PATCHES:
            return self._normal(patches)
        if self.kind == CLASS:
            return self._normal(token)
        return torch.cat([self._normal(patches), self._normal(token).expand_as(patches)], dim=1)

    def _normal(self, features: Tensor) -> Tensor:
        """The norm of each position of a map (B, width, rows, columns)."""
        normal: Tensor = self.norm(features.permute(0, 2, 3, 1))
        return normal.permute(0, 3, 1, 2)


def token_readouts(net: Any) -> tuple[str, ...]:
    """Return the kinds of readouts of a transformer: those with a class token only where it has one."""
    has_class = getattr(net, "cls_token", None) is not None
    return (CLASS, PATCHES, BOTH) if has_class else (PATCHES,)


def token_readout(stages: "OrderedDict[str, nn.Module]", stage: str, kind: str) -> TokenReadout:
    """Make the readout of a block.

    Args:
        stages: All stages of `token_stages`.
        stage: Name of the block.
        kind: Kind of the readout.
    """
    block, last = cast(TokenBlock, stages[stage]), cast(TokenBlock, next(reversed(stages.values())))
    if block is last:  # only the class token and the patches leave its norm
        return TokenReadout(kind, min(1, block.prefix), None)
    return TokenReadout(kind, block.prefix, last.norm)


def token_cuts(
    stages: "OrderedDict[str, nn.Module]", kinds: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the cuts with readouts that a search tries, and the lists of cuts that stand together.

    Args:
        stages: All stages of `token_stages`.
        kinds: Kinds of readouts of the network.
    """
    blocks = [name for name in reversed(stages) if name != "stem"][:_LAST]
    cuts = tuple(f"top.{kind}" for kind in kinds if kind != BOTH)
    together = (CLASS, BOTH) if CLASS in kinds else (PATCHES,)
    lists = tuple(
        tuple(f"{'top' if place == 0 else name}.{kind}" for place, name in enumerate(blocks))
        for kind in together
    )
    return cuts if CLASS in kinds else (), lists


def token_stages(net: Any, name: str) -> "OrderedDict[str, nn.Module]":
    """Cut a vision transformer into stages: `stem`, then one for each block.

    Args:
        net: Network of timm, made with `OPTIONS`; it is taken apart.
        name: Name that the user typed, for messages.

    Raises:
        ConfigError: If each of its blocks has positions of its own.
    """
    if getattr(net, "rope_mixed", False):
        raise ConfigError(f"{name} has learned positions of its own in each block; take another transformer")
    blocks, norm, prefix, rope = list(net.blocks), net.norm, net.num_prefix_tokens, getattr(net, "rope", None)
    stages: OrderedDict[str, nn.Module] = OrderedDict(stem=TokenStem(net))
    for number, block in enumerate(blocks):
        last = norm if number == len(blocks) - 1 else None
        stages[f"blocks_{number}"] = TokenBlock(f"blocks.{number}", block, prefix, rope, last)
    return stages


def token_levels(stages: "OrderedDict[str, nn.Module]") -> tuple[str, ...]:
    """Return the stages at which a search cuts: the last block, and those at three quarters and one half."""
    blocks = [name for name in stages if name != "stem"]
    quarters = [len(blocks), round(0.75 * len(blocks)), round(0.5 * len(blocks))]
    return tuple(dict.fromkeys(blocks[count - 1] for count in quarters if count > 0))[:_LEVELS]
