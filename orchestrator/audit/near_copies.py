"""Images that show the same picture, though their pixels differ: turned, saved again, brightened or cut.

Every image gets a perceptual hash of real numbers: the low frequencies of its local contrast, each in units
of what is usual in the set. Turning an image changes only their signs and order, so that no image is hashed
twice for its eight symmetries. Pairs whose hashes have a high cosine are then laid over each other
(`registration`), which decides.

Source:
    Zauner (2010), "Implementation and benchmarking of perceptual image hash functions", on hashes of cosines.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audit.digests import SIDE
from orchestrator.audit.registration import SAME, likeness, local_contrast
from trainables.common.types import Float32Array, Float64Array, IntArray

MOST_PAIRS: Final = 2000  # that are laid over each other, the most alike by their hashes first

_ALIKE: Final = 0.75  # cosine of two hashes from which a pair is looked at; 98 of 100 copies have more
_FREQUENCIES: Final = 12
_LEAST_SPREAD: Final = (
    0.01  # of the values of an image, in shares of the range; less shows nothing to compare
)
_LEAST_SCALE: Final = 1e-3  # of a frequency, as a share of the largest
_ROWS_AT_ONCE: Final = 1024


@dataclass(frozen=True, slots=True)
class NearCopy:
    """Two images that show the same picture.

    Attributes:
        first: Place of one image.
        second: Place of the other, which comes later.
        likeness: Share of the local contrast of one that the other explains, at most 1.
        is_turned: True if one is turned or mirrored.
    """

    first: int
    second: int
    likeness: float
    is_turned: bool


@dataclass(frozen=True, slots=True)
class NearCopies:
    """The pairs that were found.

    Attributes:
        pairs: Pairs of the same picture, the most alike first.
        left: Number of further pairs with similar hashes that were not looked at.
    """

    pairs: tuple[NearCopy, ...]
    left: int = 0


def find_near_copies(
    small: Float32Array,
    groups: NDArray[np.str_],
    labels: IntArray,
    *,
    most_pairs: int = MOST_PAIRS,
    proposed: IntArray | None = None,
) -> NearCopies:
    """Find images of different groups, or with different labels, that show the same picture.

    Copies within a group with the same label change nothing that a search does, and are not looked for.

    Args:
        small: Small grey images, shape (n, 64, 64), in [0, 1].
        groups: Group of each image that a split keeps whole, shape (n,).
        labels: Label of each image, shape (n,).
        most_pairs: Number of pairs that are laid over each other at most.
        proposed: Further pairs to lay over each other, the most alike first, as many at most; shape (p, 2).
    """
    hashes = _Hashes.of(small)
    pairs, cosines, symmetries = _candidates(hashes, np.unique(groups, return_inverse=True)[1], labels)
    order = np.argsort(-cosines, kind="stable")
    found = []
    for place in order[:most_pairs].tolist():
        first, second = pairs[place].tolist()
        alike = likeness(_turned(small[second], int(symmetries[place])), small[first])
        if alike >= SAME:
            found.append(NearCopy(first, second, alike, bool(symmetries[place])))
    if proposed is not None:
        is_seen = np.isin(proposed @ (len(small), 1), pairs @ (len(small), 1))
        found += _copies_among(small, hashes, proposed[~is_seen][:most_pairs])
    found.sort(key=lambda pair: (-pair.likeness, pair.first, pair.second))
    return NearCopies(tuple(found), max(0, len(order) - most_pairs))


def _copies_among(small: Float32Array, hashes: "_Hashes", pairs: IntArray) -> list[NearCopy]:
    """The pairs that show the same picture in the turn in which their hashes are most alike."""
    turned = [hashes.vectors(symmetry) for symmetry in range(8)]
    found = []
    for first, second in pairs[hashes.shows[pairs].all(axis=1)].tolist():
        symmetry = int(np.argmax([turned[0][first] @ vectors[second] for vectors in turned]))
        alike = likeness(_turned(small[second], symmetry), small[first])
        if alike >= SAME:
            found.append(NearCopy(first, second, alike, bool(symmetry)))
    return found


@dataclass(frozen=True, slots=True)
class _Hashes:
    """Low frequencies of each image.

    Attributes:
        coefficients: In units of what is usual, shape (n, frequencies, frequencies).
        shows: True for images with structure to compare, shape (n,).
    """

    coefficients: Float32Array
    shows: NDArray[np.bool_]

    @classmethod
    def of(cls, small: Float32Array) -> "_Hashes":
        n, half = len(small), SIDE // 2
        halved = small.reshape(n, half, 2, half, 2).mean(axis=(2, 4))
        contrast = np.stack([local_contrast(one, narrow=1.0, wide=4.0, floor=0.02) for one in halved])
        shows = halved.std(axis=(1, 2)) >= _LEAST_SPREAD
        cosines = _cosines(half)
        found = cosines @ contrast @ cosines.T
        usual = (found[shows] ** 2).mean(axis=0) if shows.any() else np.ones(found.shape[1:])
        scale = np.sqrt((usual + usual.T) / 2)
        return cls(found / np.maximum(scale, _LEAST_SCALE * scale.max()), shows)

    def vectors(self, symmetry: int = 0) -> Float32Array:
        """Unit vectors of the images, turned by one of the eight symmetries; shape (n, d)."""
        turned = self.coefficients if symmetry < 4 else self.coefficients.transpose(0, 2, 1)
        signs = (-1.0) ** np.arange(_FREQUENCIES, dtype=np.float32)
        if symmetry % 4 // 2:
            turned = turned * signs[:, None]
        if symmetry % 2:
            turned = turned * signs[None, :]
        order = np.add.outer(np.arange(_FREQUENCIES), np.arange(_FREQUENCIES))
        vectors = turned[:, (order > 0) & (order < _FREQUENCIES + 2)]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Float32Array = (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)
        return unit


def _cosines(side: int) -> Float32Array:
    """The first rows of the discrete cosine transform, shape (frequencies, side)."""
    places, orders = np.arange(side) + 0.5, np.arange(_FREQUENCIES)
    return np.cos(np.pi * np.outer(orders, places) / side).astype(np.float32)


def _candidates(
    hashes: _Hashes, groups: IntArray, labels: IntArray
) -> tuple[IntArray, Float64Array, IntArray]:
    """Pairs with similar hashes, shape (p, 2), their cosines and the symmetry that each has it at."""
    plain, turned = hashes.vectors(), [hashes.vectors(symmetry) for symmetry in range(8)]
    pairs, cosines, symmetries = [], [], []
    for start in range(0, len(plain), _ROWS_AT_ONCE):
        block = slice(start, min(start + _ROWS_AT_ONCE, len(plain)))
        best, at = _best(plain[block], [vectors[start:] for vectors in turned])
        matters = (groups[block, None] != groups[None, start:]) | (
            labels[block, None] != labels[None, start:]
        )
        matters &= hashes.shows[block, None] & hashes.shows[None, start:]
        matters &= np.arange(start, len(plain))[None] > np.arange(block.start, block.stop)[:, None]
        one, other = np.nonzero(matters & (best >= _ALIKE))
        pairs.append(np.stack([one + start, other + start], axis=1))
        cosines.append(best[one, other])
        symmetries.append(at[one, other])
    return np.concatenate(pairs), np.concatenate(cosines), np.concatenate(symmetries)


def _best(plain: Float32Array, turned: list[Float32Array]) -> tuple[Float32Array, IntArray]:
    """The largest cosine of each pair over the symmetries, and where it is."""
    best = plain @ turned[0].T
    at = np.zeros(best.shape, dtype=np.int8)
    for symmetry, vectors in enumerate(turned[1:], start=1):
        cosine = plain @ vectors.T
        better = cosine > best
        best[better], at[better] = cosine[better], symmetry
    return best, at.astype(np.int64)


def _turned(image: Float32Array, symmetry: int) -> Float32Array:
    """An image turned in the way that `_Hashes.vectors` turns its frequencies."""
    found = image if symmetry < 4 else image.T
    if symmetry % 4 // 2:
        found = found[::-1]
    return np.ascontiguousarray(found[:, ::-1] if symmetry % 2 else found)
