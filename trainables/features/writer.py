"""Writing of a feature file: disk space is reserved first, and the file gets its name when it is whole."""

import errno
import io
import math
import os
import uuid
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from trainables.common.files import write_atomically
from trainables.common.types import FloatArray
from trainables.features.locks import share
from trainables.features.stored_files import PARTIAL, Meta, Stored, checksum, mapped, meta_path
from trainables.features.stored_header import ExpectedFeatures


class PartialFile:
    """An unfinished file: written under a temporary name, and moved into place when it is whole.

    Args:
        path: Final path; its folder exists and the caller holds the lock of its view.
        size: Size in bytes; reserved here, so that writing does not fail half-way.

    Raises:
        OSError: If the disk is full.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
        self.file = io.FileIO(self.partial, "x+")
        try:
            share(self.file.fileno())  # from now on, so that it is not evicted between `keep` and reading
            reserve_blocks(self.file.fileno(), size)
        except BaseException:
            self.drop()
            raise

    def write(self, content: bytes | memoryview, position: int) -> None:
        """Write bytes at a position."""
        write_at(self.file.fileno(), content, position)

    def checksum(self) -> int:
        """CRC-32 of the written content."""
        return checksum(self.file.fileno())

    def drop(self) -> None:
        """Remove the unfinished file."""
        self.file.close()
        self.partial.unlink(missing_ok=True)

    def keep(self, meta: Meta, expected: ExpectedFeatures | None = None) -> Stored:
        """Move the file into place, write its metadata, and open it.

        Raises:
            DamagedFeaturesError: If it is not what is expected.
        """
        meta_path(self.path).unlink(missing_ok=True)
        self.partial.replace(self.path)
        write_atomically(meta_path(self.path), meta.as_json())
        with self.file as file:
            return mapped(file, self.path, meta, expected)


class Writer:
    """Writes one file of features, batch by batch.

    Args:
        path: Final path; its folder exists and the caller holds the lock of its view.
        shape: Shape of the features, (images, ...).
        kind: Number type, float16 or float32.

    Raises:
        OSError: If the disk is full.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
        self.shape, self.kind = shape, kind
        header = npy_header(shape, kind)
        self.start = len(header)
        self.file = PartialFile(path, self.start + stored_bytes(shape, kind))
        try:
            self.file.write(header, 0)
        except BaseException:
            self.file.drop()
            raise

    def put(self, start: int, values: FloatArray) -> None:
        """Write the features of consecutive images; `start` is the position of the first one."""
        row_bytes = stored_bytes(self.shape[1:], self.kind)
        self.file.write(np.ascontiguousarray(values).tobytes(), self.start + start * row_bytes)

    def written(self) -> FloatArray:
        """Read the written features back into memory, shape (images, ...)."""
        memory = mmap(self.file.file.fileno(), 0, access=ACCESS_READ)  # the name may be gone
        content = np.frombuffer(memory, self.kind, offset=self.start, count=math.prod(self.shape))
        return content.reshape(self.shape).copy()

    def drop(self) -> None:
        """Remove the unfinished file."""
        self.file.drop()

    def keep(self, seconds: float) -> Stored:
        """Move the file into place and open it.

        Args:
            seconds: Time of the pass, in seconds.
        """
        size = self.start + stored_bytes(self.shape, self.kind)
        return self.file.keep(Meta(self.file.checksum(), size, round(seconds, 4), self.shape[0]))


def npy_header(shape: tuple[int, ...], kind: np.dtype[Any]) -> bytes:
    """Return the first bytes of a .npy file.

    >>> len(npy_header((5, 2), np.dtype("float16"))) % 64
    0
    """
    buffer = io.BytesIO()
    description = {"descr": kind.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def stored_bytes(shape: tuple[int, ...], kind: DTypeLike) -> int:
    """Size of an array, in bytes.

    >>> stored_bytes((10, 3), "float16")
    60
    """
    return math.prod(shape) * np.dtype(kind).itemsize


def reserve_blocks(descriptor: int, size: int) -> None:
    """Reserve disk blocks for a file.

    Raises:
        OSError: If the disk is full.
    """
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if is_out_of_room(error):
            raise
        os.ftruncate(
            descriptor, size
        )  # a file system that cannot reserve; writing may then find the disk full


def write_at(descriptor: int, content: bytes | memoryview, position: int) -> None:
    """Write all bytes of `content`, however many calls that takes.

    Raises:
        OSError: If the disk is full.
    """
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, position)
        view, position = view[written:], position + written


def is_out_of_room(error: OSError) -> bool:
    """True if the disk, or this user's quota, is full, so that room may be made; no read-only disk is."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
