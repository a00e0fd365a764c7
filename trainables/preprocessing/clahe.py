"""Contrast-limited adaptive histogram equalisation (CLAHE), in torch operations that can be exported."""

from typing import Final

import torch
from torch import Tensor

_LEVELS: Final = 256


def equalise(images: Tensor, *, clip_limit: float, grid: int) -> Tensor:
    """Equalise each image and channel separately, tile by tile (CLAHE).

    It agrees with OpenCV's `createCLAHE` on 8-bit images, but does not round its result. Histograms have 256
    levels; between two levels the mapping is interpolated, so that 16-bit images keep their depth. Where one
    side is a multiple of the grid and the other is not, OpenCV pads both, and its tiles are a pixel larger.

    Args:
        images: Images in [0, 1], shape (B, C, H, W); values outside are clipped.
        clip_limit: Largest count of a level, as a multiple of the mean count of a tile; 1 hardly changes an
            image, 40 hardly limits.
        grid: Number of tiles along each side.

    Returns:
        Equalised images in [0, 1], same shape.

    Source:
        Zuiderveld (1994), "Contrast limited adaptive histogram equalization", Graphics Gems IV.

    >>> equalise(torch.zeros(1, 1, 16, 16), clip_limit=2.0, grid=4).shape
    torch.Size([1, 1, 16, 16])
    """
    levels = images.flatten(0, 1).clamp(0.0, 1.0) * (_LEVELS - 1)
    counts = _limited(_counts(levels, grid), clip_limit)
    mappings = counts.cumsum(dim=2) / counts.sum(dim=2, keepdim=True)
    return _blend(levels, mappings, grid).unflatten(0, images.shape[:2])


def _counts(levels: Tensor, grid: int) -> Tensor:
    """Histogram of each tile of (N, H, W), shape (N, grid * grid, 256); exact in float32 up to 2**24."""
    tall, wide = (_tile_side(side, grid) for side in levels.shape[1:])
    rows = _mirrored(levels.shape[1], grid * tall, levels.device)
    columns = _mirrored(levels.shape[2], grid * wide, levels.device)
    padded = levels.index_select(1, rows).index_select(2, columns)
    tiles = padded.reshape(-1, grid, tall, grid, wide).transpose(2, 3)
    bins = tiles.reshape(-1, grid * grid, tall * wide).round().to(torch.int64)
    empty = torch.zeros(bins.shape[0], grid * grid, _LEVELS, device=levels.device)
    return empty.scatter_add(2, bins, torch.ones_like(bins, dtype=torch.float32))


def _limited(counts: Tensor, clip_limit: float) -> Tensor:
    """Clip the counts at the limit and spread the excess over all levels, its remainder evenly."""
    area = counts.sum(dim=2, keepdim=True)
    limit = (area * (clip_limit / _LEVELS)).floor().clamp(min=1.0)
    excess = (counts - limit).clamp(min=0.0).sum(dim=2, keepdim=True)
    share = (excess / _LEVELS).floor()
    remainder = excess - share * _LEVELS
    step = (_LEVELS / remainder.clamp(min=1.0)).floor()
    place = torch.arange(_LEVELS, device=counts.device, dtype=torch.float32)
    turn = (place / step).floor()
    gets_one = (turn * step == place) & (turn < remainder)
    return counts.minimum(limit) + share + gets_one.to(torch.float32)


def _blend(levels: Tensor, mappings: Tensor, grid: int) -> Tensor:
    """Map (N, H, W) by the four tiles around each pixel, interpolated between their centres."""
    height, width = levels.shape[1:]
    upper, lower, down = _neighbours(height, grid, levels.device)
    left, right, across = _neighbours(width, grid, levels.device)
    below = levels.floor().clamp(max=_LEVELS - 2)
    part, table = (levels - below).flatten(1), mappings.flatten(1)

    def mapped(row: Tensor, column: Tensor) -> Tensor:
        tile = row.unsqueeze(1) * grid + column
        place = (tile * _LEVELS + below.to(torch.int64)).flatten(1)
        found = torch.lerp(table.gather(1, place), table.gather(1, place + 1), part)
        return found.reshape(-1, height, width)

    above = torch.lerp(mapped(upper, left), mapped(upper, right), across)
    under = torch.lerp(mapped(lower, left), mapped(lower, right), across)
    return torch.lerp(above, under, down.unsqueeze(1))


def _neighbours(side: int, grid: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Tile before and after each of `side` pixels, and the weight of the one after; shape (side,) each."""
    place = torch.arange(side, device=device, dtype=torch.float32) / _tile_side(side, grid) - 0.5
    before = place.floor()
    first, second = (tile.clamp(0, grid - 1).to(torch.int64) for tile in (before, before + 1))
    return first, second, place - before


def _tile_side(side: int, grid: int) -> int:
    return (side + grid - 1) // grid


def _mirrored(side: int, padded: int, device: torch.device) -> Tensor:
    """Index of the pixel at each of `padded` positions; those past the end are mirrored at the last pixel."""
    place = torch.arange(padded, device=device)
    return torch.minimum(place, 2 * (side - 1) - place).clamp(min=0)
