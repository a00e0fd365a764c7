"""Regions cut out of films: boxes, the three methods of source system 003, and its tiles of healthy tissue.

Source system 003 drew offsets and turns at random, for its test part too, and anew in every run. Here the
draws follow from the name of the example, so that a set prepared twice is the same set.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError, UnknownNameError
from trainables.data.collections.collection import Box, Cut

Pixels: TypeAlias = NDArray[Any]

TILE_PX: Final = 598  # side of a tile in pixels of the film
SMALL_TILE_PX: Final = 299  # side of what the nets of source system 003 take
_ELONGATED: Final = 1.5  # a region of such sides gets one tile a half
_ZOOMS: Final = ((2.0, 1.2), (1.5, 1.3))  # tile side in regions, and the region's share of it with padding
_ZOOMS_OF_6: Final = ((2.0, 1.2), (1.75, 1.3))
_LEAST_ZOOM_PX: Final = 300
_RESERVE_PX: Final = 20  # what the random offset leaves of the tile's margin
_MARGIN_PX: Final = 50
_STRIDE_OF_6_PX: Final = 200
_LEAST_MEAN_OF_6: Final = 25.0  # of 255
_CROPS: Final = 3
_BRIGHT, _MOST_BRIGHT = 225, 100  # of 255; pixels, the same number whatever the tile
_DARK, _MOST_DARK = 20, 50_000
_TILE_STRIDE_PX: Final = 350


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of an image.

    Attributes:
        name: What it is called beside its siblings, such as `zoom-1`; empty for the only one.
        pixels: Shape (h, w) or (h, w, 3), in the number type of the image.
        box: Where it was cut, in pixels of the image; before turns.
    """

    name: str
    pixels: Pixels
    box: Box


@dataclass(frozen=True, slots=True)
class TissueLimits:
    """What a tile of healthy tissue must be like; source: notebook 9.5 of source system 003.

    Attributes:
        mean: Least mean, of 255.
        variance_low: Least variance, of 255 squared.
        variance_high: Largest variance.
        film_px: Height in pixels that a film of this kind is thought of, where it is scanned more coarsely
            than the tiles are for; its tiles and strides are then the smaller ones. 0 takes it as it is.
    """

    mean: float
    variance_low: float
    variance_high: float
    film_px: int = 0


LIMITS: Final[Mapping[str, TissueLimits]] = MappingProxyType(
    {
        "dba": TissueLimits(38, 20, 1_500),
        "lumisys": TissueLimits(28, 10, 10_000),
        "howtek": TissueLimits(30, 10, 10_000),
        "mias": TissueLimits(38, 20, 2_000, film_px=2_642),  # half the height of the other films
    }
)


def cut_pieces(
    pixels: Pixels, cut: Cut | None, box: Box | None, *, name: str, max_value: float, machine: str = ""
) -> list[Piece]:
    """Cut the pieces of one example.

    Args:
        pixels: Image, shape (H, W) or (H, W, 3).
        cut: How; None takes the box where there is one, else the whole image.
        box: Region, in pixels of the image.
        name: Name of the example; random draws follow from it.
        max_value: Brightest value that the image can hold; the limits of tiles are shares of it.
        machine: Scanner of the film, for tiles.

    Returns:
        The pieces; none where no tile is tissue.

    Raises:
        DataError: If the box lies outside of the image, or a method needs one and there is none.
        UnknownNameError: If there are no limits for the scanner.

    >>> film = np.zeros((700, 900), np.uint16)
    >>> [piece.name for piece in cut_pieces(film, "roi_1", Box(300, 200, 80, 60), name="a", max_value=4095)]
    ['native', 'zoom-1', 'zoom-2']
    """
    inside = None if box is None or cut == "whole" else _inside(box, pixels)
    if cut == "tiles":
        return list(_tissue_tiles(pixels, max_value, _limits(machine), _draws(name)))
    if inside is None:
        if cut not in (None, "whole"):
            raise DataError(f"has no region, which the method {cut} needs")
        height, width = pixels.shape[:2]
        return [Piece("", pixels, Box(0, 0, width, height))]
    if cut in (None, "box"):
        return [Piece("", _pixels_in(pixels, inside), inside)]
    return _METHODS[str(cut)](pixels, inside, max_value, _draws(name))


def _draws(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


def box_of_mask(mask: NDArray[Any]) -> Box:
    """Return the smallest box around the brightest pixels of a mask.

    Args:
        mask: Outline of a region, filled, shape (h, w); above half of its largest value is inside.

    Raises:
        DataError: If the mask is empty.

    >>> mask = np.zeros((9, 9), np.uint8)
    >>> mask[2:5, 3:8] = 255
    >>> box_of_mask(mask)
    Box(left=3, top=2, width=5, height=3)
    """
    inside = mask > mask.max() / 2
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        raise DataError("has an empty mask")
    left, top = int(columns[0]), int(rows[0])
    return Box(left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1)


def _zoomed_method(pixels: Pixels, box: Box, max_value: float, rng: np.random.Generator) -> list[Piece]:
    """Method 1 of 003, data set 8: the region at native size, at two zooms, and halves of a long one."""
    pieces = [_tile("native", pixels, _centre(box), TILE_PX)]
    pieces += _zooms(pixels, box, _ZOOMS, rng)
    pieces += _halves(pixels, box)
    return [_turned(piece, rng) for piece in pieces]


def _native_method(pixels: Pixels, box: Box, max_value: float, rng: np.random.Generator) -> list[Piece]:
    """Method 2 of 003, data set 9: three tiles of native size at random around the region."""
    side = max(box.width, box.height)
    around = max(round(TILE_PX * (1.2 if side < TILE_PX else 1.05)), side)
    space = _square(pixels, _centre(box), around)
    pieces = []
    for crop in range(_CROPS):
        left = space.left + int(rng.integers(0, max(space.width - TILE_PX, 0) + 1))
        top = space.top + int(rng.integers(0, max(space.height - TILE_PX, 0) + 1))
        own = Box(left, top, min(TILE_PX, space.width), min(TILE_PX, space.height))
        pieces.append(_turned(Piece(f"crop-{crop + 1}", _pixels_in(pixels, own), own), rng))
    return pieces


def _both_methods(pixels: Pixels, box: Box, max_value: float, rng: np.random.Generator) -> list[Piece]:
    """Data set 6 of 003: the zooms, the region at native size where it fits, else tiles over it."""
    side = max(box.width, box.height)
    pieces = _zooms(pixels, box, _ZOOMS_OF_6, rng) + _halves(pixels, box)
    if side <= SMALL_TILE_PX - 60:
        pieces.append(_tile("native", pixels, _centre(box), SMALL_TILE_PX))
    elif side > SMALL_TILE_PX:
        least = _LEAST_MEAN_OF_6 / 255 * max_value
        over = Box(
            box.left - _MARGIN_PX,
            box.top - _MARGIN_PX,
            box.width + 2 * _MARGIN_PX,
            box.height + 2 * _MARGIN_PX,
        )
        tiles = _grid(_clipped(over, pixels), SMALL_TILE_PX, _STRIDE_OF_6_PX)
        cut = [Piece(f"tile-{n + 1}", _pixels_in(pixels, tile), tile) for n, tile in enumerate(tiles)]
        pieces += [piece for piece in cut if piece.pixels.mean() >= least]
    return [_turned(piece, rng) for piece in pieces]


_METHODS: Final[Mapping[str, Callable[[Pixels, Box, float, np.random.Generator], list[Piece]]]] = (
    MappingProxyType({"roi_1": _zoomed_method, "roi_2": _native_method, "data_set_6": _both_methods})
)


def _tissue_tiles(
    pixels: Pixels, max_value: float, limits: TissueLimits, rng: np.random.Generator
) -> Iterator[Piece]:
    """Tiles of the whole image that hold tissue; what is burnt in at full brightness counts as black."""
    height, width = pixels.shape[:2]
    side, stride = TILE_PX, _TILE_STRIDE_PX
    if limits.film_px:
        scale = height / limits.film_px
        side, stride = max(1, round(SMALL_TILE_PX * scale)), max(1, round(_STRIDE_OF_6_PX * scale))
    for number, box in enumerate(_grid(Box(0, 0, width, height), side, stride)):
        tile = _pixels_in(pixels, box)
        eight_bits = (tile.astype(np.float32) * (255.0 / max_value)).astype(np.uint8)
        blank = eight_bits == 255
        eight_bits[blank] = 0
        if is_tissue(_enlarged(eight_bits) if limits.film_px else eight_bits, limits):
            shown = np.where(blank, tile.dtype.type(0), tile)
            yield _turned(Piece(f"tile-{number + 1}", shown, box), rng)


def _enlarged(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A tile of a coarse film at the size for which its dark and bright pixels are counted."""
    import cv2

    size = (SMALL_TILE_PX, SMALL_TILE_PX)
    return np.asarray(cv2.resize(tile, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def is_tissue(tile: NDArray[np.uint8], limits: TissueLimits) -> bool:
    """Tell whether a tile of 8 bits shows tissue: not too bright, not too dark, and varied enough."""
    if (tile >= _BRIGHT).sum() >= _MOST_BRIGHT or (tile <= _DARK).sum() > _MOST_DARK:
        return False
    return bool(
        tile.mean() >= limits.mean and limits.variance_low <= float(tile.var()) <= limits.variance_high
    )


def _limits(machine: str) -> TissueLimits:
    if machine.lower() not in LIMITS:
        raise UnknownNameError("scanner", machine, LIMITS)
    return LIMITS[machine.lower()]


def _zooms(
    pixels: Pixels, box: Box, zooms: tuple[tuple[float, float], ...], rng: np.random.Generator
) -> list[Piece]:
    side, (x, y) = max(box.width, box.height), _centre(box)
    pieces = []
    for number, (factor, padding) in enumerate(zooms, start=1):
        tile = max(_LEAST_ZOOM_PX, round(factor * side))
        most = max(0.0, (tile - padding * side - _RESERVE_PX) / 2)
        offset = rng.uniform(-most, most, 2)
        pieces.append(_tile(f"zoom-{number}", pixels, (x + offset[0], y + offset[1]), tile))
    return pieces


def _halves(pixels: Pixels, box: Box) -> list[Piece]:
    """Two tiles of native size along the long side of an elongated region."""
    long, short = max(box.width, box.height), min(box.width, box.height)
    if long <= _ELONGATED * short:
        return []
    x, y = _centre(box)
    step = (box.width / 4, 0.0) if box.width > box.height else (0.0, box.height / 4)
    return [
        _tile(f"half-{number}", pixels, (x + sign * step[0], y + sign * step[1]), TILE_PX)
        for number, sign in ((1, -1), (2, 1))
    ]


def _tile(name: str, pixels: Pixels, centre: tuple[float, float], side: int) -> Piece:
    box = _square(pixels, centre, side)
    return Piece(name, _pixels_in(pixels, box), box)


def _turned(piece: Piece, rng: np.random.Generator) -> Piece:
    """Mirrored and turned by quarters at random."""
    turned = piece.pixels
    if rng.random() < 0.5:
        turned = turned[:, ::-1]
    if rng.random() < 0.5:
        turned = turned[::-1]
    return Piece(piece.name, np.rot90(turned, int(rng.integers(0, 4))), piece.box)


def _square(pixels: Pixels, centre: tuple[float, float], side: int) -> Box:
    """A square around a point, moved inside of the image, and smaller where the image is."""
    height, width = pixels.shape[:2]
    wide, high = min(side, width), min(side, height)
    left = min(max(round(centre[0] - wide / 2), 0), width - wide)
    top = min(max(round(centre[1] - high / 2), 0), height - high)
    return Box(left, top, wide, high)


def _grid(area: Box, side: int, stride: int) -> Iterator[Box]:
    for top in range(area.top, area.top + area.height - side + 1, stride):
        for left in range(area.left, area.left + area.width - side + 1, stride):
            yield Box(left, top, side, side)


def _centre(box: Box) -> tuple[float, float]:
    return box.left + (box.width - 1) / 2, box.top + (box.height - 1) / 2


def _inside(box: Box, pixels: Pixels) -> Box:
    clipped = _clipped(box, pixels)
    if clipped.width < 1 or clipped.height < 1:
        height, width = pixels.shape[:2]
        raise DataError(f"has a region outside of its image of {height}x{width} pixels: {box}")
    return clipped


def _clipped(box: Box, pixels: Pixels) -> Box:
    height, width = pixels.shape[:2]
    left, top = max(box.left, 0), max(box.top, 0)
    right, bottom = min(box.left + box.width, width), min(box.top + box.height, height)
    return Box(left, top, right - left, bottom - top)


def _pixels_in(pixels: Pixels, box: Box) -> Pixels:
    return pixels[box.top : box.top + box.height, box.left : box.left + box.width]
