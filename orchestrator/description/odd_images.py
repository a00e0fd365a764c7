"""Images that do not look like the others of their set, and why."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audit.digests import ImageDigests
from trainables.common.types import Float32Array, IntArray

BLANK, SATURATED, GREY, INVERTED = "blank", "saturated", "grey", "inverted"
SIZE, EDGED, MARKED = "size", "edged", "marked"
REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        BLANK: "nearly one value everywhere",
        SATURATED: "a quarter or more of the pixels at the upper end of the range",
        GREY: "grey among colour images",
        INVERTED: "bright around a dark middle, where the others are dark around a bright one",
        SIZE: "of another size than most, and resized",
        EDGED: "a white strip along an edge, as scanners leave it",
        MARKED: "bright marks beside the breast, such as letters of lead or burnt-in text",
    }
)

_FLAT: Final = 0.01  # spread of the values, in shares of the range
_WHITE: Final = 0.25  # share of saturated pixels
_HUE: Final = 0.01  # mean difference between channels
_BRIGHT_BORDER: Final = 0.6
_STRIP: Final = 0.7  # brightness of a strip along an edge, and twice what lies behind it
_BEHIND: Final = 8  # pixels behind the edge of a copy of 64 x 64 pixels
_BREAST: Final = 0.12  # of the range; what is brighter belongs to the breast or to a mark
_MARK: Final = 0.4  # brightest value of a mark
_MARK_PIXELS: Final = (3, 160)  # smallest and largest size of a mark in a copy of 64 x 64 pixels


def odd_images(digests: ImageDigests, file_shapes: IntArray | None) -> dict[str, IntArray]:
    """Return reason -> places of the images that it holds for; reasons that hold for none are left out.

    Args:
        digests: Digests of the images.
        file_shapes: Height and width of each image in its file, shape (n, 2); None where not known.
    """
    flat = digests.deviation.max(axis=1) < _FLAT
    found = {
        BLANK: flat,
        SATURATED: (digests.saturated >= _WHITE) & ~flat & (np.median(digests.saturated) < _WHITE / 2),
        GREY: _grey_among_colour(digests),
        SIZE: _of_another_size(file_shapes, len(flat)),
    }
    if digests.shows_background:
        found[INVERTED] = _inverted(digests.small) & ~flat
        found[EDGED] = _edged(digests.small) & ~found[INVERTED] & ~flat
        found[MARKED] = np.array([_is_marked(one) for one in digests.small])
        found[MARKED] &= ~(found[INVERTED] | found[EDGED])
    return {reason: np.flatnonzero(is_odd) for reason, is_odd in found.items() if is_odd.any()}


def _grey_among_colour(digests: ImageDigests) -> NDArray[np.bool_]:
    if digests.mean.shape[1] == 1 or np.median(digests.colour) < 3 * _HUE:
        return np.zeros(len(digests.colour), dtype=bool)
    return np.asarray(digests.colour < _HUE, dtype=bool)


def _of_another_size(file_shapes: IntArray | None, count: int) -> NDArray[np.bool_]:
    if file_shapes is None:
        return np.zeros(count, dtype=bool)
    shapes, counts = np.unique(file_shapes, axis=0, return_counts=True)
    return np.asarray((file_shapes != shapes[counts.argmax()]).any(axis=1), dtype=bool)


def _inverted(small: Float32Array) -> NDArray[np.bool_]:
    """True where the border, four pixels wide, is bright and brighter than what lies within."""
    inner = slice(4, -4)
    is_border = np.ones(small.shape[1:], dtype=bool)
    is_border[inner, inner] = False
    border = np.median(small[:, is_border], axis=1)
    return np.asarray((border > _BRIGHT_BORDER) & (border > small[:, inner, inner].mean(axis=(1, 2))), bool)


def _edged(small: Float32Array) -> NDArray[np.bool_]:
    """True where a side is white along at least half of its length, and dark a little further in."""
    found = np.zeros(len(small), dtype=bool)
    for turned in (small, small[:, ::-1], small.transpose(0, 2, 1), small.transpose(0, 2, 1)[:, ::-1]):
        edge, behind = np.median(turned[:, 0], axis=1), np.median(turned[:, _BEHIND], axis=1)
        found |= (edge > _STRIP) & (edge > 2 * behind)
    return found


def _is_marked(small: Float32Array) -> bool:
    """True where something small and bright stands apart from the largest bright region."""
    from scipy import ndimage

    regions, count = ndimage.label(small > _BREAST)
    if count < 2:
        return False
    sizes = np.bincount(regions.ravel())[1:]
    peaks = ndimage.maximum(small, regions, index=np.arange(1, count + 1))
    low, high = _MARK_PIXELS
    is_mark = (sizes >= low) & (sizes <= high) & (np.asarray(peaks) >= _MARK)
    is_mark[sizes.argmax()] = False
    return bool(is_mark.any())
