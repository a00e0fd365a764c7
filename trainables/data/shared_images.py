"""Images that two patch sets have in common, found by their pixels, whatever they are called."""

import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.types import IntArray
from trainables.data.image_survey import counts_digest, turns
from trainables.data.patches import PatchSet

NOT_SHARED: Final = -1  # the "row" of an image that the other set does not hold


def rows_elsewhere(patch_set: PatchSet, other: PatchSet) -> IntArray:
    """Return where the images of a set lie in another one.

    Images are the same if every stored pixel is, as they are, turned or mirrored, so that sets which were
    resized to other sides share none. Images of one value everywhere say nothing about who they are of, and
    are shared by no sets; rows of measurements are compared as they are.

    Args:
        patch_set: Images to look for.
        other: Images among which they are looked for.

    Returns:
        Row of `other` that holds the same image, the first of several, or `NOT_SHARED`; shape (N,), int64.
    """
    place = _Places(other)
    return np.array([place.of(image) for image in patch_set.images], dtype=np.int64)


class _Places:
    """Rows of the images of a set, by their pixels, and by how often each value occurs."""

    def __init__(self, patch_set: PatchSet) -> None:
        self._row_of: dict[bytes, int] = {}
        self._counts: set[bytes] = set()
        for row, image in enumerate(patch_set.images):
            if _is_blank(image):
                continue
            self._row_of.setdefault(_digest(image), row)
            if not patch_set.is_table:
                self._counts.add(counts_digest(image))

    def of(self, image: NDArray[Any]) -> int:
        """Row of the first image with these pixels, else of one that is turned against it."""
        if _is_blank(image):
            return NOT_SHARED
        row = self._row_of.get(_digest(image))
        if row is not None:
            return row
        if image.ndim == 1 or counts_digest(image) not in self._counts:
            return NOT_SHARED
        found = (self._row_of.get(_digest(turned)) for turned in turns(image))
        return next((row for row in found if row is not None), NOT_SHARED)


def _is_blank(image: NDArray[Any]) -> bool:
    return image.ndim > 1 and bool(image.min() == image.max())


def _digest(image: NDArray[Any]) -> bytes:
    digest = hashlib.blake2b(f"{image.shape} {image.dtype.str}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()
