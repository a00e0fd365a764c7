"""One look at the images of a set: a small copy of each, and a few numbers about its values."""

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.types import Float32Array, IntArray
from trainables.data.patches import PixelArray

SIDE: Final = 64  # pixels of the small copies
BINS: Final = 16  # of the histogram of a channel
_BLOCKS: Final = 16  # a side, of the thumbnail and of the border
_SAMPLED: Final = 100  # pixels a side, about, that statistics of a larger image are taken from
_DARK: Final = 0.06  # of the range; film background lies below
_MARGIN: Final = 0.15  # of the range of an image; margins lie below
_FILLED: Final = 0.05  # of a row or column that is no margin
_WIDE: Final = 0.9  # share of an image from which it has no margin worth cutting
_MOSTLY: Final = 0.6  # share that is no margin, below which margins are most of the images
_FILM_SHARE: Final = 0.05  # of dark pixels in half of the images: they show a breast before a background


@dataclass(frozen=True, slots=True)
class ImageDigests:
    """What is kept of each image; values are shares of the range of the set, in [0, 1].

    Attributes:
        small: Grey copies, area averaged, shape (n, SIDE, SIDE).
        content: The same without dark margins, so that the tissue fills the copy, shape (n, SIDE, SIDE).
        filled: Share of each image that is no dark margin, shape (n,).
        mean: Mean of each channel, shape (n, channels).
        deviation: Standard deviation of each channel, shape (n, channels).
        histogram: Share of the pixels in each bin of each channel, shape (n, channels * BINS).
        lowest: Smallest value, shape (n,).
        saturated: Share of the pixels at the upper end of the range, shape (n,).
        colour: Largest difference between two channels of a pixel, mean over pixels, shape (n,); 0 for grey.
    """

    small: Float32Array
    content: Float32Array
    filled: Float32Array
    mean: Float32Array
    deviation: Float32Array
    histogram: Float32Array
    lowest: Float32Array
    saturated: Float32Array
    colour: Float32Array

    def of(self, places: IntArray) -> "ImageDigests":
        """Digests of some of the images, shape (m,) places."""
        return ImageDigests(*(getattr(self, field.name)[places] for field in fields(self)))

    @property
    def compared(self) -> Float32Array:
        """Copies to compare images by: without margins where these are most of the images, else whole.

        The outlines of films on wide margins look alike; narrow margins are kept, since where they end is not
        the same in a copy.
        """
        return self.content if np.median(self.filled) < _MOSTLY else self.small

    @property
    def thumbnails(self) -> Float32Array:
        """Means of 16 x 16 blocks, shape (n, 256)."""
        return self._blocks().reshape(len(self.small), -1)

    @property
    def shows_background(self) -> bool:
        """True where at least half of the images have a dark background, as films and mammograms do."""
        return bool(np.median((self.small < _DARK).mean(axis=(1, 2))) >= _FILM_SHARE)

    @property
    def border(self) -> Float32Array:
        """Blocks along the four edges; where a breast is before a background, its blocks get the background's
        median. Shape (n, 60)."""
        blocks = self._blocks()
        edge = np.ones((_BLOCKS, _BLOCKS), dtype=bool)
        edge[1:-1, 1:-1] = False
        ring = blocks[:, edge].copy()
        if self.shows_background:
            is_breast = ring > _DARK * 2
            background = np.where(is_breast, np.nan, ring)
            level = np.zeros(len(ring), dtype=np.float32)
            some = ~is_breast.all(axis=1)
            level[some] = np.nanmedian(background[some], axis=1)
            ring = np.where(is_breast, level[:, None], ring)
        return ring.astype(np.float32)

    def _blocks(self) -> Float32Array:
        inside = SIDE // _BLOCKS
        shaped = self.small.reshape(len(self.small), _BLOCKS, inside, _BLOCKS, inside)
        return shaped.mean(axis=(2, 4), dtype=np.float32)


def digest_images(images: PixelArray, rows: IntArray, max_value: float) -> ImageDigests:
    """Look at some images of a set, one at a time: memory grows by 33 kB an image.

    Args:
        images: Images, shape (N, H, W) or (N, H, W, 3).
        rows: Rows to look at, shape (n,).
        max_value: Pixel value that becomes 1.0.
    """
    channels = 3 if images.ndim == 4 else 1
    small = np.empty((len(rows), SIDE, SIDE), dtype=np.float32)
    content, filled = np.empty_like(small), np.empty(len(rows), dtype=np.float32)
    numbers = np.empty((len(rows), 2 * channels + channels * BINS + 3), dtype=np.float32)
    mapped = np.asarray(images)  # slices of a plain array cost less than those of a memory map
    for place, row in enumerate(rows.tolist()):
        image = mapped[row]
        small[place] = _small(image, max_value)
        content[place], filled[place] = _content(image, small[place], max_value)
        numbers[place] = _numbers(image, max_value)
    ends = np.cumsum([channels, channels, channels * BINS])
    mean, deviation, histogram, rest = np.split(numbers, ends, axis=1)
    return ImageDigests(small, content, filled, mean, deviation, histogram, *rest.T)


def _small(image: NDArray[Any], max_value: float) -> Float32Array:
    import cv2  # takes a fifth of a second to import

    shrunk = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    grey = shrunk.mean(axis=2) if shrunk.ndim == 3 else shrunk
    return grey / np.float32(max_value)


def _content(image: NDArray[Any], small: Float32Array, max_value: float) -> tuple[Float32Array, float]:
    """A small copy of the part that is no margin, and its share of the image."""
    low, high = float(small.min()), float(small.max())
    is_tissue = small > low + _MARGIN * (high - low)
    edges = [_extent(is_tissue.mean(axis=axis) >= _FILLED) for axis in (1, 0)]
    filled = float(np.prod([last - first for first, last in edges])) / SIDE**2
    if filled > _WIDE:
        return small, filled
    rows, columns = (
        slice(side * first // SIDE, max(side * last // SIDE, side * first // SIDE + 1))
        for side, (first, last) in zip(image.shape[:2], edges, strict=True)
    )
    return _small(np.ascontiguousarray(image[rows, columns]), max_value), filled


def _extent(is_filled: NDArray[np.bool_]) -> tuple[int, int]:
    places = np.flatnonzero(is_filled)
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, len(is_filled))


def _numbers(image: NDArray[Any], max_value: float) -> Float32Array:
    step = max(1, round(min(image.shape[:2]) / _SAMPLED))
    sampled = image[::step, ::step]
    channels = sampled.shape[2] if sampled.ndim == 3 else 1
    shares = np.ascontiguousarray(sampled.reshape(-1, channels).T, dtype=np.float32) / np.float32(max_value)
    bins = np.minimum((shares * BINS).astype(np.int64), BINS - 1) + BINS * np.arange(channels)[:, None]
    counts = np.bincount(bins.ravel(), minlength=BINS * channels)
    darkest, brightest = shares.min(axis=0), shares.max(axis=0)  # over the channels of each pixel
    is_white = darkest >= 1.0 - 0.5 / 255
    rest = (darkest.min(), is_white.mean(), (brightest - darkest).mean())
    return np.concatenate(
        [shares.mean(axis=1), shares.std(axis=1), counts / shares.shape[1], rest], dtype=np.float32
    )
