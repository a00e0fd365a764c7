"""Features of frozen stages: computed once per key, read by every fold, epoch, trial and later search.

    <store>/prefix/<key>/key.json            what the key stands for
    <store>/prefix/<key>/<view>/<tap>.npy    one row an image, memory-mapped
    <store>/prefix/<key>/<view>/<tap>.json   shape and checksum
    <store>/prefix/<key>/<view>.lock         held while the view is being computed; dies with its process

A tap is a place where features leave the stages: after a stage, as a map or averaged over positions. One
forward pass fills every tap that the search may ask for.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import uuid
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.files import write_atomically
from trainables.data.views import View
from trainables.errors import PrefixError

FORMAT: Final = 1  # raise it when the meaning of stored features changes; older ones are then never read
_LARGEST_HALF: Final = 65504.0


@dataclass(frozen=True, slots=True)
class Tap:
    """Where features leave the stages.

    Attributes:
        stage: Name of the last stage that was run.
        is_pooled: Averaged over positions to (C,), else the map (C, H, W).
    """

    stage: str
    is_pooled: bool

    def __str__(self) -> str:
        return f"{self.stage}.{'gap' if self.is_pooled else 'map'}"


@dataclass(frozen=True, slots=True)
class PrefixKey:
    """What the features are a function of, besides view and tap.

    Attributes:
        fingerprint: Of the patch set.
        rows: Rows of the patch set, in order, shape (images,).
        backbone: Name.
        weights: Hash of the weights file.
        transform: `TransformSpec.as_key()`.
    """

    fingerprint: str
    rows: NDArray[np.int64]
    backbone: str
    weights: str
    transform: dict[str, object]

    def describe(self) -> dict[str, object]:
        """Plain values that are hashed."""
        return {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "rows": hashlib.sha256(np.ascontiguousarray(self.rows, dtype="<i8").tobytes()).hexdigest(),
            "images": len(self.rows),
            "backbone": self.backbone,
            "weights": self.weights,
            "transform": self.transform,
        }

    def digest(self) -> str:
        """Name of the key's folder."""
        text = json.dumps(self.describe(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


# Yields (position of the first image, {tap: features (B, ...) as float32}) over all images of one view.
Compute = Callable[[View, Sequence[Tap]], Iterator[tuple[int, dict[Tap, Tensor]]]]


@dataclass(frozen=True, slots=True)
class StoredViews:
    """Features of several views of the same images, memory-mapped.

    Attributes:
        arrays: One (images, ...) array a view, float16 or float32.
        computed: How many of them this call computed.
    """

    arrays: tuple[NDArray[np.floating[Any]], ...]
    computed: int


class PrefixStore:
    """A folder of stored features, shared by all processes of a node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "prefix"

    def views(
        self, key: PrefixKey, views: Sequence[View], tap: Tap, *, also: Sequence[Tap], compute: Compute
    ) -> StoredViews:
        """Return the features of some views, computing those that are missing.

        Views that another process is computing are left to it while there are others to compute, so that
        several workers that need the same key share the work.

        Args:
            key: Data, backbone, weights, transform.
            views: In the order wanted.
            tap: Where the features leave.
            also: Other taps to fill in the same pass.
            compute: Called for a missing view.
        """
        place = self.folder / key.digest()
        if not (place / "key.json").exists():
            write_atomically(place / "key.json", json.dumps(key.describe(), indent=1))
        missing = [view for view in views if self._open(place, view, tap) is None]
        computed = 0
        for may_wait in (False, True):
            for view in list(missing):
                with _lock(place / f"{view}.lock", may_wait=may_wait) as is_mine:
                    if not is_mine:
                        continue
                    if self._open(place, view, tap) is None:
                        self._fill(place, view, (tap, *also), len(key.rows), compute)
                        computed += 1
                    missing.remove(view)
        arrays = [self._open(place, view, tap) for view in views]
        if any(array is None for array in arrays):
            raise PrefixError(f"features just written to {place} cannot be read back; is the disk full?")
        return StoredViews(tuple(array for array in arrays if array is not None), computed)

    def _open(self, place: Path, view: View, tap: Tap) -> NDArray[np.floating[Any]] | None:
        path = place / str(view) / f"{tap}.npy"
        try:
            stat = path.stat()
            meta = json.loads(path.with_suffix(".json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        if stat.st_size != meta["bytes"] or _checksum(path, stat.st_size, stat.st_mtime_ns) != meta["crc32"]:
            warnings.warn(f"stored features {path} are damaged and are computed again", stacklevel=2)
            path.unlink(missing_ok=True)
            return None
        array: NDArray[np.floating[Any]] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array

    def _fill(self, place: Path, view: View, taps: Sequence[Tap], images: int, compute: Compute) -> None:
        folder = place / str(view)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.partial"):  # of a process that died; we hold the lock
            leftover.unlink()
        wanted = [other for other in dict.fromkeys(taps) if self._open(place, view, other) is None]
        for kind in (np.float16, np.float32):
            writers = {tap: _Writer(folder / f"{tap}.npy", images, np.dtype(kind)) for tap in wanted}
            for start, features in compute(view, wanted):
                for tap, values in features.items():
                    writers[tap].put(start, values.numpy())
            wanted = [tap for tap, writer in writers.items() if not writer.finish()]
            if not wanted:
                return


class _Writer:
    """Writes one tap under a temporary name; moves it into place when it is whole and in range."""

    def __init__(self, path: Path, images: int, kind: np.dtype[Any]) -> None:
        self.path, self.images, self.kind = path, images, kind
        self.partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        self.array: NDArray[Any] | None = None
        self.largest = 0.0

    def put(self, start: int, values: NDArray[np.float32]) -> None:
        if self.array is None:
            shape = (self.images, *values.shape[1:])
            self.array = np.lib.format.open_memmap(self.partial, mode="w+", dtype=self.kind, shape=shape)
        self.largest = float(np.maximum(self.largest, np.abs(values).max()))  # keeps NaN, max() would not
        with np.errstate(over="ignore"):
            self.array[start : start + len(values)] = values

    def finish(self) -> bool:
        """Keep the file; False if half precision cannot hold it and it must be computed in float32."""
        if self.array is None:
            raise PrefixError("no image to compute features of")
        self.array.flush()  # type: ignore[attr-defined]
        self.array = None
        if not np.isfinite(self.largest):
            self.partial.unlink()
            raise PrefixError(
                f"features for {self.path.name} are not finite; are the weights or pixels broken?"
            )
        if self.kind == np.float16 and self.largest > _LARGEST_HALF:
            self.partial.unlink()
            return False
        stat = self.partial.stat()
        meta = {
            "crc32": _checksum(self.partial, stat.st_size, stat.st_mtime_ns),
            "bytes": stat.st_size,
        }
        self.partial.replace(self.path)
        write_atomically(self.path.with_suffix(".json"), json.dumps(meta))
        return True


@functools.lru_cache(maxsize=4096)
def _checksum(path: Path, size: int, modified_ns: int) -> int:
    # Cached per process: a file is read whole once, then trusted while size and time stay.
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            crc = zlib.crc32(block, crc)
    return crc


@contextlib.contextmanager
def _lock(path: Path, *, may_wait: bool) -> Iterator[bool]:
    """Hold a lock that the kernel lets go when this process ends; yields False if another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if may_wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
