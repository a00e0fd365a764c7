"""A second look for copies, by the cosine of features that a search has left in the store.

Nothing is computed for it: where the store holds no features of the set, there is no second look. Features
propose pairs that the hashes of the first look pass over; these are laid over each other like all others,
which decides. Pairs whose features are closer than those of any two pictures that were measured, though they
do not fit onto each other, are named as a remark.

Each feature is taken in units of its spread over the set: plain cosines of two mammograms are all near 1.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audit.examined_set import ExaminedSet
from trainables.common.types import Float32Array, FloatArray, IntArray
from trainables.features.keys import rows_digest
from trainables.features.stored_files import features_folder, open_stored
from trainables.features.stored_header import DamagedFeaturesError

# Measured as `python -m benchmarks.feature_copies` does (docs/lab_log.md, 2026-11-27): of 10,000 pairs of
# other pictures the most similar have 0.60 to 0.91, half of the copies 0.23 to 0.86 by their change.
ALIKE: Final = 0.6  # cosine from which a pair is laid over each other
NEARLY_SAME: Final = 0.93  # cosine from which a pair is named, whatever comes of that

_IDENTITY: Final = "d4-0"  # the view without any turn
_POOLED: Final = ".gap"
_LEAST_IMAGES: Final = 20  # below which a spread over the set says nothing
_LEAST_SPREAD: Final = 1e-6
_ROWS_AT_ONCE: Final = 1024


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """Features of a set in the store.

    Attributes:
        name: Their key, view and tap, as the store has them.
        backbone: Backbone that they come from.
        vectors: One row for each row of the task, shape (n, d), float16 or float32.
    """

    name: str
    backbone: str
    vectors: FloatArray


@dataclass(frozen=True, slots=True)
class AlikePairs:
    """Pairs of images with similar features, the most similar first.

    Attributes:
        pairs: Places of the images, the earlier one first, shape (p, 2).
        cosines: Cosine of each pair, shape (p,).
    """

    pairs: IntArray
    cosines: NDArray[np.float32]


def stored_vectors(examined: ExaminedSet, store: Path) -> StoredVectors | None:
    """Find pooled features of a set that pretrained weights gave; of several those with the most numbers.

    Args:
        examined: The set.
        store: Folder of the store.

    Returns:
        The features; None where the store holds none of these rows.
    """
    count = len(examined.rows.rows)
    if examined.patch_set.is_table or count < _LEAST_IMAGES:
        return None
    wanted = {"fingerprint": examined.patch_set.fingerprint, "rows": rows_digest(examined.rows.rows)}
    best: StoredVectors | None = None
    features = features_folder(store)
    for file in sorted(features.glob("*/key.json")):
        described = _described(file)
        is_of_set = all(described.get(name) == value for name, value in wanted.items())
        if not is_of_set or described.get("weights") == "random":
            continue
        for place in sorted((file.parent / _IDENTITY).glob(f"*{_POOLED}.npy")):
            array = _opened(place)
            if array is not None and array.ndim == 2 and len(array) == count:
                name = place.relative_to(features).with_suffix("").as_posix()
                if best is None or array.shape[1] > best.vectors.shape[1]:
                    best = StoredVectors(name, str(described.get("backbone")), array)
    return best


def _described(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _opened(file: Path) -> FloatArray | None:
    """Features of a file; None for one that is damaged, which the next search computes anew."""
    try:
        stored = open_stored(file)
    except DamagedFeaturesError:
        return None
    return None if stored is None else stored.array


def alike_pairs(
    vectors: FloatArray, groups: NDArray[np.str_], labels: IntArray, *, least: float = ALIKE
) -> AlikePairs:
    """Find images of different groups, or with different labels, whose features are similar.

    Args:
        vectors: Features, shape (n, d).
        groups: Group of each image that a split keeps whole, shape (n,).
        labels: Label of each image, shape (n,).
        least: Smallest cosine.

    >>> vectors = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, 9.0], [3.1, 1.1, 0.1]])
    >>> alike_pairs(vectors, np.array(["a", "b", "c"]), np.array([0, 1, 0])).pairs.tolist()
    [[0, 2]]
    """
    unit, group = _units(vectors), np.unique(groups, return_inverse=True)[1]
    pairs, cosines = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    for start in range(0, len(unit), _ROWS_AT_ONCE):
        block = slice(start, min(start + _ROWS_AT_ONCE, len(unit)))
        cosine = unit[block] @ unit[start:].T
        matters = (group[block, None] != group[None, start:]) | (labels[block, None] != labels[None, start:])
        matters &= np.arange(start, len(unit))[None] > np.arange(block.start, block.stop)[:, None]
        one, other = np.nonzero(matters & (cosine >= least))
        pairs.append(np.stack([one + start, other + start], axis=1))
        cosines.append(cosine[one, other])
    found, near = np.concatenate(pairs), np.concatenate(cosines)
    order = np.argsort(-near, kind="stable")
    return AlikePairs(found[order], near[order])


def _units(vectors: FloatArray) -> Float32Array:
    """Unit vectors of the features, each in units of its spread over the set."""
    plain = np.asarray(vectors, dtype=np.float32)
    spread = plain.std(axis=0)
    scaled = (plain - plain.mean(axis=0)) / np.where(spread > _LEAST_SPREAD, spread, np.inf)
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: Float32Array = scaled / np.maximum(lengths, 1e-9)
    return unit
