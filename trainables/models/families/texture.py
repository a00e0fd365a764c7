"""`texture`: co-occurrence, local binary patterns and the spectrum of an image's grey values. No weights.

Haralick et al. (1973), "Textural features for image classification"; Ojala et al. (2002), "Multiresolution
gray-scale and rotation invariant texture classification with local binary patterns".
"""

import functools
import math
from collections import OrderedDict
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.models.stages import Backbone

LEVELS: Final = 16  # grey levels of the co-occurrence matrix, between an image's own extremes
DISTANCES: Final = (1, 3)  # pixels between the two of a pair
DIRECTIONS: Final = ((0, 1), (-1, 1), (-1, 0), (-1, -1))  # rows and columns: 0, 45, 90 and 135 degrees
RADII: Final = (1.0, 3.0)  # pixels from the centre of a local pattern to its eight points
POINTS: Final = 8
RINGS: Final = 12  # of the spectrum, equally wide, up to the highest frequency along an axis
SPECTRUM_PX: Final = 128  # larger images are reduced to this side before their spectrum
_TIE: Final = 1e-6  # a point this little darker than the centre counts as equal: interpolation is not exact
_LEAST: Final = 1e-12


def _pattern_of(code: int) -> int:
    """Number of ones among the bits if these change at most twice on the way around, else the last one."""
    bits = [code >> point & 1 for point in range(POINTS)]
    is_uniform = sum(bits[point] != bits[point - 1] for point in range(POINTS)) <= 2
    return sum(bits) if is_uniform else POINTS + 1


_PATTERNS: Final = tuple(map(_pattern_of, range(2**POINTS)))  # of numbers with a bit for each point


class Texture(nn.Module):
    """Statistics of texture on the mean of the channels."""

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) to statistics (B, 52, 1, 1).

        In order, for each distance: contrast, homogeneity, energy, correlation and entropy of the
        co-occurrence matrix, each as mean and as range over four directions; for each radius, the shares of
        the ten rotation-invariant uniform patterns; and the log power in each ring of the spectrum.
        """
        grey = images.mean(dim=1)
        found = [*co_occurrence(grey), *(pattern_shares(grey, radius) for radius in RADII), ring_powers(grey)]
        return torch.cat(found, dim=1)[:, :, None, None]


def co_occurrence(grey: Tensor) -> list[Tensor]:
    """Statistics of grey-level pairs in (B, H, W): mean and range over directions, (B, 10) a distance."""
    levels = _levels(grey)
    found = []
    for distance in DISTANCES:
        by_direction = torch.stack(
            [haralick(_pairs(levels, *_steps(distance, *direction))) for direction in DIRECTIONS]
        )
        spread = by_direction.amax(dim=0) - by_direction.amin(dim=0)
        found.append(torch.cat([by_direction.mean(dim=0), spread], dim=1))
    return found


def _steps(distance: int, row: int, column: int) -> tuple[int, int]:
    """Rows and columns to the nearest pixel at a distance in a direction, as in scikit-image."""
    length = math.hypot(row, column)
    return round(distance * row / length), round(distance * column / length)


def _levels(grey: Tensor) -> Tensor:
    """Grey level of each pixel of (B, H, W), between the image's own extremes, in [0, LEVELS)."""
    darkest = grey.amin(dim=(1, 2), keepdim=True)
    width = (grey.amax(dim=(1, 2), keepdim=True) - darkest).clamp_min(_LEAST)
    return ((grey - darkest) / width * LEVELS).floor().clamp(0, LEVELS - 1)


def _pairs(levels: Tensor, down: int, right: int) -> Tensor:
    """Symmetric co-occurrence matrix of levels (B, H, W) for an offset, sums to 1, (B, LEVELS, LEVELS)."""
    height, width = levels.shape[1:]
    first = levels[:, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
    second = levels[:, max(0, down) : height - max(0, -down), max(0, right) : width - max(0, -right)]
    counts = _counts(first * LEVELS + second, LEVELS**2).unflatten(1, (LEVELS, LEVELS))
    both = counts + counts.transpose(1, 2)
    return both / both.sum(dim=(1, 2), keepdim=True).clamp_min(1.0)


def _counts(numbers: Tensor, kinds: int) -> Tensor:
    """How often each number in [0, kinds) is in each image: (B, H, W) to (B, kinds).

    Whole numbers of single precision are exact up to 16 million pixels.
    """
    places = numbers.flatten(1).to(torch.int64)
    nothing = torch.zeros(places.shape[0], kinds, dtype=numbers.dtype, device=numbers.device)
    return nothing.scatter_add(1, places, torch.ones_like(places, dtype=numbers.dtype))


def haralick(pairs: Tensor) -> Tensor:
    """Contrast, homogeneity, energy, correlation and entropy of matrices (B, L, L), shape (B, 5).

    The correlation of an image of one grey level is 1, as in scikit-image.
    """
    steps = torch.arange(pairs.shape[1], dtype=pairs.dtype, device=pairs.device)
    apart = (steps[:, None] - steps) ** 2
    shares = pairs.sum(dim=2)
    mean = (shares * steps).sum(dim=1)
    variance = (shares * steps**2).sum(dim=1) - mean**2
    product = (pairs * (steps[:, None] * steps)).sum(dim=(1, 2)) - mean**2
    is_flat = variance < _TIE
    one = torch.ones_like(variance)
    correlation = torch.where(is_flat, one, product / torch.where(is_flat, one, variance))
    return torch.stack(
        [
            (pairs * apart).sum(dim=(1, 2)),
            (pairs / (1.0 + apart)).sum(dim=(1, 2)),
            (pairs**2).sum(dim=(1, 2)).sqrt(),
            correlation,
            -(pairs * pairs.clamp_min(_LEAST).log()).sum(dim=(1, 2)),
        ],
        dim=1,
    )


def pattern_shares(grey: Tensor, radius: float) -> Tensor:
    """Shares of the rotation-invariant uniform patterns of eight points, (B, H, W) to (B, 10).

    Pixels nearer to the border than the radius have no pattern.
    """
    margin = math.ceil(radius)
    height, width = grey.shape[1:]
    centre = grey[:, margin : height - margin, margin : width - margin]
    codes = torch.zeros_like(centre)
    for point in range(POINTS):
        bits = _point(grey, margin, *_offset(point, radius)) >= centre - _TIE
        codes = codes + bits.to(grey.dtype) * 2**point
    counts = _counts(codes, 2**POINTS)
    kinds = torch.tensor(_PATTERNS)[:, None] == torch.arange(POINTS + 2)
    return counts @ kinds.to(counts) / counts.sum(dim=1, keepdim=True)


def _offset(point: int, radius: float) -> tuple[float, float]:
    """Rows and columns from the centre to a point, rounded as in scikit-image."""
    angle = 2 * math.pi * point / POINTS
    return round(-radius * math.sin(angle), 5), round(radius * math.cos(angle), 5)


def _point(grey: Tensor, margin: int, down: float, right: float) -> Tensor:
    """Grey values at an offset from every inner pixel, interpolated between the four around it."""
    height, width = grey.shape[1] - 2 * margin, grey.shape[2] - 2 * margin
    top, left = math.floor(down), math.floor(right)
    terms = [
        grey[:, margin + row : margin + row + height, margin + column : margin + column + width] * share
        for row, by_row in ((top, 1 - (down - top)), (top + 1, down - top))
        for column, by_column in ((left, 1 - (right - left)), (left + 1, right - left))
        if (share := by_row * by_column) > 0
    ]
    return functools.reduce(torch.add, terms)


def ring_powers(grey: Tensor) -> Tensor:
    """Log of the mean power in rings of equal frequency, (B, H, W) to (B, RINGS); windowed by Hann."""
    side = min(SPECTRUM_PX, *grey.shape[1:])
    if grey.shape[1:] != (side, side):
        grey = F.interpolate(
            grey.unsqueeze(1), size=(side, side), mode="bilinear", align_corners=False, antialias=True
        ).squeeze(1)
    steps = torch.arange(side, dtype=torch.float64)
    angles = 2 * math.pi * ((steps[:, None] * steps) % side) / side
    # Matrices in place of torch.fft, which the exporter does not write for all sizes.
    cosines, sines = (part.to(grey.dtype).to(grey.device) for part in (angles.cos(), angles.sin()))
    window = (0.5 - 0.5 * torch.cos(2 * math.pi * steps / side)).to(grey.dtype).to(grey.device)
    waves = (grey - grey.mean(dim=(1, 2), keepdim=True)) * window[:, None] * window
    real = cosines @ waves @ cosines - sines @ waves @ sines
    imaginary = cosines @ waves @ sines + sines @ waves @ cosines
    power = (real**2 + imaginary**2) / side**2
    rings = _rings(side).to(grey.dtype).to(grey.device)
    return (power.flatten(1) @ rings / rings.sum(dim=0) + _LEAST).log()


def _rings(side: int) -> Tensor:
    """Membership of each frequency in each ring, shape (side * side, RINGS); the mean belongs to none."""
    steps = torch.arange(side, dtype=torch.float64)
    frequency = torch.where(steps < (side + 1) // 2, steps, steps - side) / side
    radius = (frequency[:, None] ** 2 + frequency**2).sqrt().flatten()
    ring = (radius / 0.5 * RINGS).ceil() - 1
    return (ring[:, None] == torch.arange(RINGS)).to(torch.float64) * (radius > 0)[:, None]


def _build(channels: int) -> "OrderedDict[str, nn.Module]":
    return OrderedDict(texture=Texture())


TEXTURE: Final = Backbone(
    name="texture",
    build=_build,
    stage_names=("texture",),
    levels=("texture",),
    min_size_px=32,
    size_px=256,
    source="Co-occurrence, local binary patterns and spectrum, no weights",
    is_fixed=True,
    default_rank=91,
)
