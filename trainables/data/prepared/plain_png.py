"""PNG files without any peculiarity, decoded in half of the time that Pillow takes to check and read them.

Patches are small, so that what a reader does around its decoder is most of the work. Whatever is not plain
(a palette, transparency, orientation, text, a damaged checksum) is left to the one reader of image files,
whose pixels are the same.
"""

import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {(8, 0): (), (16, 0): (), (8, 2): (3,)}  # bits and type of colour -> axes behind the sides
_MEANINGLESS: Final = frozenset({b"pHYs", b"tIME", b"gAMA", b"sRGB", b"cHRM", b"sBIT"})  # to Pillow, as to us
_MOST_PIXELS: Final = 1 << 24


def decode_plain_png(path: Path) -> NDArray[Any] | None:
    """Decode a PNG file that is grey of 8 or 16 bits or RGB of 8 bits, and nothing else.

    Args:
        path: The file.

    Returns:
        uint8 or uint16, shape (H, W) or (H, W, 3); None for a file that another reader must look at.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    shape = _plain_shape(content)
    if shape is None:
        return None
    import imagecodecs

    try:
        pixels = np.asarray(imagecodecs.png_decode(content))
    except Exception:  # imagecodecs has an error type of its own for each library; the other reader says why
        return None
    return pixels if pixels.shape == shape else None


def _plain_shape(content: bytes) -> tuple[int, ...] | None:
    """Shape of the image of a plain file whose checksums are right; None for any other file."""
    if content[:16] != _SIGNATURE + b"\0\0\0\rIHDR":
        return None
    width, height, bits, colour, *methods = struct.unpack(">2I5B", content[16:29])
    channels = _CHANNELS.get((bits, colour))
    if channels is None or any(methods) or not 0 < width * height <= _MOST_PIXELS:
        return None
    place, end = 8, len(content)
    has_pixels = False
    while place + 12 <= end:
        length = int.from_bytes(content[place : place + 4], "big")
        name, after = content[place + 4 : place + 8], place + 8 + length
        if zlib.crc32(content[place + 4 : after]) != int.from_bytes(content[after : after + 4], "big"):
            return None
        if name == b"IEND":
            return (height, width, *channels) if has_pixels else None
        if name == b"IDAT":
            has_pixels = True
        elif name != b"IHDR" and name not in _MEANINGLESS:
            return None
        place = after + 4
    return None
