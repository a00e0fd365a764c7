"""Images that two patch sets have in common, found by their pixels, whatever they are called."""

import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.types import IntArray
from trainables.data.patches import PatchSet

NOT_SHARED: Final = -1  # the "row" of an image that the other set does not hold


def rows_elsewhere(patch_set: PatchSet, other: PatchSet) -> IntArray:
    """Return where the images of a set lie in another one.

    Images are the same if every stored pixel is, so that sets which were resized to other sides share none.

    Args:
        patch_set: Images to look for.
        other: Images among which they are looked for.

    Returns:
        Row of `other` that holds the same image, the first of several, or `NOT_SHARED`; shape (N,), int64.
    """
    row_of: dict[bytes, int] = {}
    for row, image in enumerate(other.images):
        row_of.setdefault(_digest(image), row)
    return np.array([row_of.get(_digest(image), NOT_SHARED) for image in patch_set.images], dtype=np.int64)


def _digest(image: NDArray[Any]) -> bytes:
    digest = hashlib.blake2b(f"{image.shape} {image.dtype.str}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()
