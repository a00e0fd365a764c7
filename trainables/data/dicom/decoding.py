"""Stored values of one frame: the fastest decoder of each transfer syntax, and what it must not be given.

Which decoder is the fastest was measured by `python -m benchmarks.decoding`, with the figures in
`docs/performance.md`. imagecodecs (BSD-3) was the fastest for every compressed syntax, and it reads the JPEG
of 12 bits that the plugins of pydicom refuse. Decoders of JPEG fill what is missing with grey and tell
nobody, so that the end of each frame is looked for first, and lossless JPEG is decoded by two programs that
must agree.
"""

import struct
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.data.image_errors import ImageFileError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RLE: Final = "1.2.840.10008.1.2.5"
JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED: Final = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS: Final = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_FIRST_ORDER: Final = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS: Final = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR_LOSSLESS: Final = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"
JPEG_2000: Final = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS: Final = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_PROGRESSIVE: Final = "1.2.840.10008.1.2.4.202"
HTJ2K: Final = "1.2.840.10008.1.2.4.203"
IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
UNCOMPRESSED: Final = (IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN)
LARGEST_PIXELS: Final = 178_956_970  # the limit of Pillow, so that all formats have the same one
_LARGEST_INFLATED: Final = 1 << 31  # bytes of a deflated file once it is inflated
_END: Final = b"\xff\xd9"  # of JPEG, JPEG-LS and HTJ2K alike
_JPEG_2000_START: Final = b"\xff\x4f\xff\x51"
_SIZE_MARKERS: Final = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # of JPEG and JPEG-LS


class DicomError(ImageFileError):
    """A DICOM file that is not read; the message names the file, what was found and what to do."""


class DecodingError(ValueError):
    """Pixel data that cannot be decoded, as the rest of a sentence that begins with the file."""


def stored_values(dataset: "Dataset", frame: int) -> NDArray[Any]:
    """Decode one frame as it is stored, before any table or window.

    Args:
        dataset: A data set with its pixel data, of checked size.
        frame: Number of the frame, 0-based and below the number of frames.

    Returns:
        uint8 or uint16, or int16 for signed values; shape (H, W), or (H, W, 3) in the stored colour space.

    Raises:
        DecodingError: If the pixel data are missing, too short, damaged, or in an encoding without a decoder.
    """
    content = dataset.get("PixelData")
    if not content:
        floats = [name for name in ("FloatPixelData", "DoubleFloatPixelData") if name in dataset]
        if floats:
            raise DecodingError("holds floating-point pixels, which no mammogram does; it cannot be read")
        raise DecodingError("has no pixel data; remove it, or fetch the image that belongs to it")
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    shape = _shape(dataset)
    if syntax in UNCOMPRESSED:
        return _uncompressed(dataset, content, frame, shape)
    decode = _DECODERS.get(syntax)
    if decode is None:
        raise DecodingError(
            f"is encoded as {dataset.file_meta.TransferSyntaxUID.name}, for which there is no decoder; "
            "save it uncompressed"
        )
    encoded = _encoded_frame(dataset, content, frame)
    if syntax != RLE:
        _check_encoded(encoded, shape, syntax)
    values = decode(encoded, shape, dataset)
    if values.shape != shape:
        raise DecodingError(
            f"states {_size(shape)} pixels, but holds {_size(values.shape)}; fetch it again or leave it out"
        )
    return values


def lossless_jpeg(encoded: bytes) -> NDArray[Any]:
    """Decode a lossless JPEG that lies by itself, as the films of DDSM do.

    Args:
        encoded: The whole file.

    Returns:
        uint8 or uint16, shape (H, W).

    Raises:
        DecodingError: If it is cut short or damaged, no lossless JPEG, or of more pixels than are read.
    """
    size = _encoded_size(encoded)
    if size is None:
        raise DecodingError("is no JPEG, or is cut in its header; fetch it again")
    if size[0] * size[1] > LARGEST_PIXELS:
        raise DecodingError(f"states {_size(size)} pixels, more than {LARGEST_PIXELS}; leave it out")
    if not encoded[-64:].rstrip(b"\x00").endswith(_END):
        raise DecodingError("is truncated: its compressed image has no end; fetch it again")
    values = _agreed(encoded)
    if values.shape != size:
        raise DecodingError(f"has pixels of shape {values.shape}, as no grey film has; leave it out")
    return values


def check_inflated(content: bytes) -> None:
    """Refuse a deflated file that would fill the memory once it is inflated; `content` is the whole file."""
    meta = 132 + 12 + int.from_bytes(content[140:144], "little")
    inflater, held, size = zlib.decompressobj(-zlib.MAX_WBITS), content[meta:], 0
    while held and not inflater.eof:
        size += len(inflater.decompress(held, 1 << 24))
        held = inflater.unconsumed_tail
        if size > _LARGEST_INFLATED:
            raise DecodingError("grows beyond 2 GiB when it is inflated, as no mammogram does; leave it out")


def _shape(dataset: "Dataset") -> tuple[int, ...]:
    samples = int(dataset.get("SamplesPerPixel", 1) or 1)
    if samples not in (1, 3):
        raise DecodingError(f"has {samples} values a pixel; 1 (grey) and 3 (colour) can be read")
    size = (int(dataset.Rows), int(dataset.Columns))
    return size if samples == 1 else (*size, 3)


def _uncompressed(dataset: "Dataset", content: bytes, frame: int, shape: tuple[int, ...]) -> NDArray[Any]:
    bits = int(dataset.get("BitsAllocated", 16))
    if bits == 1:
        return _single_bits(content, frame, shape)
    if bits not in (8, 16):
        raise DecodingError(f"stores {bits} bits a value; 1, 8 and 16 can be read")
    order = ">" if str(dataset.file_meta.TransferSyntaxUID) == BIG_ENDIAN else "<"
    sign = "i" if int(dataset.get("PixelRepresentation", 0) or 0) else "u"
    kind = np.dtype(f"{order}{sign}{bits // 8}")
    count = int(np.prod(shape))
    size = count * kind.itemsize
    if len(content) < (frame + 1) * size:
        raise DecodingError(
            f"is truncated: {_size(shape)} pixels need {(frame + 1) * size} bytes, {len(content)} found; "
            "fetch it again"
        )
    values = np.frombuffer(content, kind, count, frame * size)
    if len(shape) == 3 and int(dataset.get("PlanarConfiguration", 0) or 0) == 1:
        values = np.moveaxis(values.reshape(3, *shape[:2]), 0, -1)
    return values.reshape(shape).astype(kind.newbyteorder("="), copy=False)


def _single_bits(content: bytes, frame: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Values of one bit each, packed without a gap between frames, the lowest bit first."""
    count = int(np.prod(shape))
    if len(content) * 8 < (frame + 1) * count:
        raise DecodingError(f"is truncated: {(frame + 1) * count} bits are needed; fetch it again")
    first = frame * count // 8
    bits = np.unpackbits(np.frombuffer(content, np.uint8, -1, first)[: count // 8 + 2], bitorder="little")
    start = frame * count - first * 8
    return bits[start : start + count].reshape(shape)


def _encoded_frame(dataset: "Dataset", content: bytes, frame: int) -> bytes:
    from pydicom.encaps import get_frame

    offsets = dataset.get("ExtendedOffsetTable")
    lengths = dataset.get("ExtendedOffsetTableLengths")
    try:
        encoded = get_frame(
            content,
            frame,
            number_of_frames=int(dataset.get("NumberOfFrames", 1) or 1),
            extended_offsets=(offsets, lengths) if offsets and lengths else None,
        )
    except Exception as error:  # pydicom has many error types for damaged fragments and no common one
        raise DecodingError(f"is truncated or damaged ({error}); fetch it again") from error
    if not encoded:
        raise DecodingError("is truncated: its frame is empty; fetch it again")
    return encoded


def _check_encoded(encoded: bytes, shape: tuple[int, ...], syntax: str) -> None:
    """Refuse a frame without an end, and one that would decode to other than the stated size."""
    # The decoder of JPEG 2000 refuses what is cut short by itself, and some encoders write no end.
    if syntax not in (JPEG_2000, JPEG_2000_LOSSLESS) and not encoded[-64:].rstrip(b"\x00").endswith(_END):
        raise DecodingError("is truncated: its compressed image has no end; fetch it again")
    size = _encoded_size(encoded)
    if size is not None and size != shape[:2]:
        raise DecodingError(
            f"states {_size(shape)} pixels, but its compressed image has {_size(size)}; leave it out"
        )


def _encoded_size(encoded: bytes) -> tuple[int, int] | None:
    """Height and width that a JPEG, JPEG-LS or JPEG 2000 stream states; None if no such marker is found."""
    if encoded.startswith(_JPEG_2000_START):  # a JPEG 2000 codestream begins with its size
        right, lower, left, upper = struct.unpack(">4I", encoded[8:24])
        return (lower - upper, right - left)
    place = 2
    while place + 9 <= len(encoded) and encoded[place] == 0xFF:
        marker, length = encoded[place + 1], int.from_bytes(encoded[place + 2 : place + 4], "big")
        if marker in _SIZE_MARKERS:
            height, width = struct.unpack(">2H", encoded[place + 5 : place + 9])
            return (height, width)
        place += 1 if marker == 0xFF else 2 + length
    return None


def _decoded(name: str, encoded: bytes) -> NDArray[Any]:
    import imagecodecs

    try:
        return np.asarray(getattr(imagecodecs, f"{name}_decode")(encoded))
    except Exception as error:  # imagecodecs has an error type for each of its libraries
        raise DecodingError(f"is truncated or damaged ({error}); fetch it again") from error


def _by(name: str) -> Callable[[bytes, tuple[int, ...], "Dataset"], NDArray[Any]]:
    return lambda encoded, shape, dataset: _decoded(name, encoded)


def _lossless_jpeg(encoded: bytes, shape: tuple[int, ...], dataset: "Dataset") -> NDArray[Any]:
    return _agreed(encoded)


def _agreed(encoded: bytes) -> NDArray[Any]:
    """Pixels of a lossless JPEG on which two decoders agree, since neither tells of damage."""
    values, again = _decoded("jpeg8", encoded), _decoded("jpegsof3", encoded)
    if values.shape != again.shape or not np.array_equal(values, again):
        raise DecodingError("is damaged: two decoders disagree about its pixels; fetch it again")
    return values


def _run_lengths(encoded: bytes, shape: tuple[int, ...], dataset: "Dataset") -> NDArray[Any]:
    """One segment for each byte of each sample, the highest byte first (DICOM PS3.5, annex G)."""
    import imagecodecs

    each = int(dataset.get("BitsAllocated", 16)) // 8
    samples, pixels = (shape[2] if len(shape) == 3 else 1), shape[0] * shape[1]
    head = struct.unpack("<16I", encoded[:64]) if len(encoded) >= 64 else (0,) * 16
    count = head[0]
    if count != each * samples or each not in (1, 2):
        raise DecodingError(f"has {count} run-length segments, {each * samples} expected; leave it out")
    ends = [*head[2 : count + 1], len(encoded)]
    planes = np.empty((samples, pixels, each), np.uint8)
    for number, (start, end) in enumerate(zip(head[1 : count + 1], ends, strict=True)):
        if not 64 <= start < end <= len(encoded):
            raise DecodingError("is truncated: a run-length segment is not whole; fetch it again")
        # A segment expands to 64 times its length at most, and padding may follow its last run.
        try:
            run = imagecodecs.packbits_decode(encoded[start:end], out=bytearray(pixels + 256))
            found = np.frombuffer(run, np.uint8)
        except Exception as error:  # imagecodecs has an error type for each of its libraries
            raise DecodingError(f"is damaged ({error}); fetch it again") from error
        if len(found) < pixels:
            raise DecodingError(
                f"is truncated: {len(found)} of {pixels} pixels in a run-length segment; fetch it again"
            )
        planes[number // each, :, each - 1 - number % each] = found[:pixels]
    values = planes.reshape(samples, -1).view(np.dtype(f"<u{each}")).reshape(samples, *shape[:2])
    return values[0] if samples == 1 else np.ascontiguousarray(np.moveaxis(values, 0, -1))


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[1::-1]))


_DECODERS: Final[Mapping[str, Callable[[bytes, tuple[int, ...], "Dataset"], NDArray[Any]]]] = (
    MappingProxyType(
        {
            RLE: _run_lengths,
            JPEG_BASELINE: _by("jpeg8"),
            JPEG_EXTENDED: _by("jpeg8"),
            JPEG_LOSSLESS: _lossless_jpeg,
            JPEG_LOSSLESS_FIRST_ORDER: _lossless_jpeg,
            JPEG_LS_LOSSLESS: _by("jpegls"),
            JPEG_LS_NEAR_LOSSLESS: _by("jpegls"),
            JPEG_2000_LOSSLESS: _by("jpeg2k"),
            JPEG_2000: _by("jpeg2k"),
            HTJ2K_LOSSLESS: _by("htj2k"),
            HTJ2K_LOSSLESS_PROGRESSIVE: _by("htj2k"),
            HTJ2K: _by("htj2k"),
        }
    )
)
