"""One file of stored features: written whole or not at all, checked when opened, locked while it is read.

    <tap>.npy     one row per image
    <tap>.json    size, checksum and compute time; its modification time is the time of the last use

Guarantee: when a process opens a file for the first time, every byte is compared with the checksum of what
was written. Every later access checks that size and modification time have not changed since, so a file that
somebody truncates or writes to ends a trial with a `PrefixError`, not with wrong numbers. (A file that is
truncated in the microseconds between check and read ends the process.) Not noticed is a disk that later
returns other bytes for a file that nobody wrote to.
"""

import contextlib
import io
import json
import math
import os
import weakref
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from trainables.common.errors import PrefixError
from trainables.common.types import FloatArray
from trainables.features.locks import is_at, share
from trainables.features.stored_header import (
    DamagedFeaturesError,
    ExpectedFeatures,
    Header,
    check_finite,
    read_header,
)

PARTIAL: Final = ".partial"
_FEATURES: Final = "prefix"  # folder of a store
_BLOCK_BYTES: Final = 1 << 22
_checksums: dict[tuple[int, int, int, int], int] = {}  # of files that this process has read whole
_finite: set[tuple[int, int, int, int]] = set()  # files in which this process has looked for NaN


def features_folder(store: Path) -> Path:
    """Return the folder of the features in a store, as `<key>/<view>/<tap>.npy`.

    Args:
        store: Folder of the store, of this machine or shared.
    """
    return store / _FEATURES


@dataclass(frozen=True, slots=True)
class Meta:
    """Metadata beside a file of features.

    Attributes:
        crc32: CRC-32 checksum of the whole file.
        bytes: Size of the file, in bytes.
        seconds: Time of the pass that wrote it, for all images; the pass may have continued to later taps.
        images: Number of images.
    """

    crc32: int
    bytes: int
    seconds: float
    images: int

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            is_number = isinstance(value, float if name == "seconds" else int) or type(value) is int
            if not is_number or isinstance(value, bool) or not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number from 0 up, found {value!r}")

    def as_json(self) -> str:
        """Text of the file beside the features."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @property
    def seconds_per_image(self) -> float:
        """Compute time of one image, in seconds."""
        return self.seconds / max(1, self.images)


@dataclass(frozen=True, slots=True)
class Stored:
    """An open file of features.

    Attributes:
        array: Features, shape (images, ...), float16 or float32; the file is locked against eviction as long
            as the array exists.
        meta: Metadata beside the file.
    """

    array: FloatArray
    meta: Meta


class _Seal:
    """An open file with the size and modification time that it had when its content was checked."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor, self.path = os.dup(descriptor), path
        self.seen = _look(descriptor)
        weakref.finalize(self, os.close, self.descriptor)

    def check(self) -> None:
        if _look(self.descriptor) != self.seen:
            raise PrefixError(
                f"stored features {self.path} were changed while a trial was reading them; nothing may write "
                "to the store; run the trial again, the file is then checked and rebuilt"
            )


class StoredArray(np.ndarray[Any, Any]):
    """A memory-mapped array that checks, whenever it is indexed, that its file has not changed."""

    seal: _Seal | None = None

    def __getitem__(self, index: Any) -> Any:
        if self.seal is not None:
            self.seal.check()
        found = super().__getitem__(index)
        return found.view(np.ndarray) if isinstance(found, np.ndarray) else found


def check_unchanged(arrays: Iterable[FloatArray]) -> None:
    """Check that the files behind some arrays have not changed since they were opened.

    Raises:
        PrefixError: If one was changed; data read from it meanwhile cannot be trusted.
    """
    for array in arrays:
        if isinstance(array, StoredArray) and array.seal is not None:
            array.seal.check()


def meta_path(path: Path) -> Path:
    """Path of the metadata of a file of features."""
    return path.with_suffix(".json")


def read_meta(path: Path) -> Meta:
    """Read the metadata of a file of features.

    Raises:
        FileNotFoundError: If there is none: the features are not there either, or not yet.
        DamagedFeaturesError: If it cannot be parsed.
    """
    return meta_of(meta_path(path).read_text(), meta_path(path))


def meta_of(text: str, where: object) -> Meta:
    """Return the metadata in the text of `Meta.as_json`.

    Raises:
        DamagedFeaturesError: If it cannot be parsed.
    """
    try:
        return Meta(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise DamagedFeaturesError(f"{where} cannot be read: {error}") from error


def open_stored(path: Path, expected: ExpectedFeatures | None = None) -> Stored | None:
    """Open a file of features for reading, and record the use; None if it is not there.

    Args:
        path: Path of the file.
        expected: The features that are asked for; None takes any.

    Raises:
        DamagedFeaturesError: If its content is not what was written, or not what is expected.
    """
    while True:
        try:
            with path.open("rb", buffering=0) as file:
                share(file.fileno())
                meta = read_meta(path)
                if not is_at(file.fileno(), path):
                    continue  # replaced or evicted between opening and locking
                stored = mapped(file, path, meta, expected)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DamagedFeaturesError(f"{path} cannot be read: {error.strerror or error}") from error
        with contextlib.suppress(OSError):  # a store that is read-only
            os.utime(meta_path(path))
        return stored


def discard(path: Path) -> None:
    """Remove a file of features; its metadata first, so that features without metadata are never trusted."""
    meta_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def mapped(file: io.FileIO, path: Path, meta: Meta, expected: ExpectedFeatures | None = None) -> Stored:
    """Check an open file that is locked for reading, and map it.

    Raises:
        DamagedFeaturesError: If its content is not what was written, or not what is expected.
    """
    descriptor = file.fileno()
    seal = _Seal(descriptor, path)
    size = os.fstat(descriptor).st_size
    if size != meta.bytes:
        raise DamagedFeaturesError(f"{path} has {size} bytes, not the {meta.bytes} that were written")
    if checksum(descriptor) != meta.crc32:
        raise DamagedFeaturesError(f"{path} does not match its checksum")
    header = checked_header(file, path, meta, expected)
    # The map keeps a copy of the descriptor, and with it the lock, until the last array on it is gone.
    memory = mmap(descriptor, 0, access=ACCESS_READ)
    array = StoredArray(header.shape, header.kind, buffer=memory, offset=header.offset)
    if _name(descriptor) not in _finite:
        check_finite(array.view(np.ndarray), path)
        _finite.add(_name(descriptor))
    array.seal = seal
    seal.check()
    return Stored(array, meta)


def checked_header(
    file: BinaryIO | io.FileIO, where: Path, meta: Meta, expected: ExpectedFeatures | None
) -> Header:
    """Read the header of an open file and compare it with its metadata and with what is expected.

    Raises:
        DamagedFeaturesError: If it fits neither.
    """
    header = read_header(file, where)
    if header.bytes != meta.bytes or header.shape[:1] != (meta.images,):
        raise DamagedFeaturesError(
            f"{where} is not what its metadata say: {header.shape} in {meta.bytes} bytes for {meta.images} "
            "images"
        )
    if expected is not None:
        expected.check(header, where)
    return header


def _look(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns


def checksum(descriptor: int) -> int:
    """CRC-32 of a file; read once per process, and reused while size and modification time stay."""
    name = _name(descriptor)
    if name not in _checksums:
        _checksums[name] = _read_checksum(descriptor)
    return _checksums[name]


def _name(descriptor: int) -> tuple[int, int, int, int]:
    """What identifies the content of a file within this process."""
    found = os.fstat(descriptor)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _read_checksum(descriptor: int) -> int:
    crc = position = 0
    while block := os.pread(descriptor, _BLOCK_BYTES, position):
        crc, position = zlib.crc32(block, crc), position + len(block)
    return crc
