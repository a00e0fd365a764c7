"""The header of a stored file, checked before anything is mapped: what a file claims is not believed.

A .npy header may ask for any number type and shape. An object type would make the process follow bytes of the
file as pointers, and another shape would give wrong numbers; so only what was asked for is taken.
"""

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import PrefixError

if TYPE_CHECKING:  # it imports torch
    from trainables.models.taps import Shape, Tap

_KINDS: Final = ("<f2", "<f4")
_BLOCK_NUMBERS: Final = 1 << 21
# The bits of the exponent: all of them are set in infinite numbers and in NaN, and in no other.
_EXPONENTS: Final = {2: (np.uint16, 0x7C00), 4: (np.uint32, 0x7F800000)}


class DamagedFeaturesError(PrefixError):
    """A stored file whose content is not what was written."""


@dataclass(frozen=True, slots=True)
class Header:
    """Header of a .npy file.

    Attributes:
        shape: Shape of the array, images first.
        kind: Number type, float16 or float32, little-endian.
        offset: Position of the first number, in bytes.
    """

    shape: tuple[int, ...]
    kind: np.dtype[Any]
    offset: int

    @property
    def bytes(self) -> int:
        """Size of a file with this header."""
        return self.offset + math.prod(self.shape) * self.kind.itemsize


@dataclass(frozen=True, slots=True)
class ExpectedFeatures:
    """Features that a reader asks for.

    Attributes:
        images: Number of images.
        tap: Tap of the features.
        kind: Number type that was asked for; float32 may lie in its place, for features beyond float16.
        shape: Shape (C, H, W) after the stage of the tap; None if it is not known.
    """

    images: int
    tap: "Tap"
    kind: str
    shape: "Shape | None" = None

    def check(self, header: Header, where: object) -> None:
        """Refuse a file of other features.

        Args:
            header: Header of the file.
            where: Its path, for the message.

        Raises:
            DamagedFeaturesError: If number type, number of images or shape differ.
        """
        if self.kind == "float32" and header.kind.itemsize != 4:
            raise DamagedFeaturesError(f"{where} holds {header.kind.name}, not float32")
        wanted: tuple[int | None, ...] = (None,) if self.tap.is_pooled else (None, None, None)
        if self.shape is not None:
            wanted = self.shape[:1] if self.tap.is_pooled else self.shape
        found = header.shape
        fits = len(found) == 1 + len(wanted) and found[0] == self.images
        if not fits or any(size not in (None, other) for size, other in zip(wanted, found[1:], strict=True)):
            asked = ", ".join("any" if size is None else str(size) for size in (self.images, *wanted))
            raise DamagedFeaturesError(f"{where} has shape {found}, not ({asked})")


def read_header(file: BinaryIO | io.FileIO, where: object) -> Header:
    """Read the header of an open file, from its begin.

    Raises:
        DamagedFeaturesError: If it is not one that a store writes.
    """
    file.seek(0)
    try:
        np.lib.format.read_magic(file)
        shape, is_fortran, kind = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # numpy's parser has many error types and no common one
        raise DamagedFeaturesError(f"{where} has no header that can be read: {error}") from error
    if kind.str not in _KINDS or is_fortran:
        raise DamagedFeaturesError(f"{where} holds numbers of type {kind.str!r}, not float16 or float32")
    return Header(shape, kind, file.tell())


def check_finite(array: NDArray[Any], where: object) -> None:
    """Refuse features that are infinite or no numbers.

    Args:
        array: Features, shape (images, ...), float16 or float32 and contiguous.
        where: Path of the file, for the message.

    Raises:
        DamagedFeaturesError: If one is not finite; no store writes such a file.
    """
    whole, exponent = _EXPONENTS[array.dtype.itemsize]
    numbers = array.reshape(-1).view(whole)
    for start in range(0, len(numbers), _BLOCK_NUMBERS):
        if ((numbers[start : start + _BLOCK_NUMBERS] & exponent) == exponent).any():
            raise DamagedFeaturesError(f"{where} holds numbers that are not finite")
