"""TIFF files with any tags, byte by byte, since no library here writes what others do."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_SHORT, _LONG = 3, 4


def write_tiff(path: Path, pixels: np.ndarray, tags: Mapping[int, int], *, order: str = "<") -> Path:
    """Write an uncompressed TIFF in one strip, or one strip a channel where tag 284 is 2.

    Args:
        path: Where to write it.
        pixels: Values, shape (H, W) or (H, W, C); in planes they are stored as (C, H, W).
        tags: Further tags, or others than those that follow from the pixels, each of one SHORT.
        order: "<" for little-endian, ">" for big-endian.
    """
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    planes = list(np.moveaxis(pixels, -1, 0)) if tags.get(284) == 2 else [pixels]
    strips = [plane.astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes]
    bits = [8 * pixels.dtype.itemsize] * channels
    entries: dict[int, tuple[int, list[int]]] = {
        256: (_SHORT, [width]),
        257: (_SHORT, [height]),
        258: (_SHORT, bits),
        259: (_SHORT, [1]),
        262: (_SHORT, [2 if channels > 2 else 1]),
        273: (_LONG, [0] * len(strips)),
        277: (_SHORT, [channels]),
        278: (_SHORT, [height]),
        279: (_LONG, [len(strip) for strip in strips]),
        **{tag: (_SHORT, [value]) for tag, value in tags.items()},
    }
    after = 8 + 2 + 12 * len(entries) + 4
    place = after + sum(_size(*entry) for entry in entries.values() if _size(*entry) > 4)
    entries[273] = (_LONG, [place + sum(map(len, strips[:number])) for number in range(len(strips))])
    directory, beyond = struct.pack(f"{order}H", len(entries)), b""
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == _SHORT else 'I'}", *values)
        if len(packed) > 4:
            cell, beyond = struct.pack(f"{order}I", after + len(beyond)), beyond + packed
        else:
            cell = packed.ljust(4, b"\0")
        directory += struct.pack(f"{order}HHI", tag, kind, len(values)) + cell
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    path.write_bytes(head + directory + b"\0" * 4 + beyond + b"".join(strips))
    return path


def _size(kind: int, values: list[int]) -> int:
    return len(values) * (2 if kind == _SHORT else 4)
