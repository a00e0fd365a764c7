"""Image files read into one memory-mapped array, one image at a time: memory does not grow with the set.

Each file is decoded once. Its pixels are appended to a scratch file as they are; when all are known, the
common shape, channels and range are settled, and the array is written row by row.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.text import count_text
from trainables.common.types import IntArray
from trainables.data.image_files import UnreadableImageError, decode_image, is_grey
from trainables.data.image_survey import notes_on_ranges
from trainables.data.patches import PixelArray
from trainables.data.pixel_range import bit_range, to_range
from trainables.data.resizing import resize

ARRAY_FILE: Final = "images.npy"
_SCRATCH_FILE: Final = "decoded.raw"


@dataclass(frozen=True, slots=True)
class ImageArray:
    """Images of a set, and what their files say about the range of their values.

    Attributes:
        images: uint8 or uint16, shape (N, H, W) or (N, H, W, 3), memory-mapped.
        stated_max: Largest value of the range, where files state it or are turned over within it; else None.
        shapes: Height and width of each image in its file, shape (N, 2).
    """

    images: PixelArray
    stated_max: float | None
    shapes: IntArray


@dataclass(frozen=True, slots=True)
class _Decoded:
    """Facts about one decoded image; its pixels are in the scratch file from `offset` on."""

    file: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    largest: int
    stated_max: int | None
    is_inverted: bool
    is_transparent: bool
    was_colour: bool  # stored as RGB with equal channels, and kept as grey
    is_two_valued: bool

    @property
    def white(self) -> int:
        """Largest value by the header, else by the bits in use."""
        if self.stated_max is not None:
            return self.stated_max
        return 255 if self.dtype == np.uint8 else bit_range(self.largest)


def read_image_files(
    files: Sequence[Path], folder: Path, notes: list[str], *, max_value: float | None = None
) -> ImageArray:
    """Read image files into one array.

    All images get the most frequent shape; the others are resized, see `trainables.data.resizing`. If every
    image is grey the array is grey, even where files are stored as RGB with equal channels; otherwise it is
    RGB.

    Args:
        files: Paths, at least one.
        folder: Folder for the array's file, on a disk with room for two copies of the decoded images.
        notes: Sentences on every conversion are added here.
        max_value: Largest value of the range in use, as the user states it; None to find it.

    Returns:
        The images in the order of `files`.

    Raises:
        DataError: If a file cannot be read whole, states another range than the user, or if 8- and 16-bit
            images are mixed.
    """
    scratch = folder / _SCRATCH_FILE
    try:
        with scratch.open("wb") as out:
            decoded = [_append(file, out) for file in files]
        _check_depth(decoded)
        _check_stated(decoded, max_value)
        white = max_value or float(max(one.white for one in decoded))
        images = _assembled(decoded, scratch, folder / ARRAY_FILE, white, notes)
    finally:
        scratch.unlink(missing_ok=True)
    is_stated = any(one.stated_max is not None or one.is_inverted for one in decoded)
    if is_stated and max_value is None and images.dtype == np.uint16:
        notes += _notes_on_unstated(decoded, white)
    shapes = np.array([one.shape[:2] for one in decoded], dtype=np.int64)
    return ImageArray(images, white if is_stated else None, shapes)


def _notes_on_unstated(decoded: Sequence[_Decoded], white: float) -> list[str]:
    """Sentences on files that do not state their white, and do not fill what others state."""
    if all(one.stated_max is not None for one in decoded):
        return []
    largest = np.array([one.largest if one.stated_max is None else white for one in decoded])
    return notes_on_ranges(largest, white, lambda row: decoded[row].file.name)


def _append(file: Path, out: IO[bytes]) -> _Decoded:
    try:
        image = decode_image(file)
    except UnreadableImageError as error:
        raise DataError(
            f"{file} cannot be read as an image (it {error.problem}); replace it or remove it"
        ) from error
    pixels = image.pixels
    if pixels.dtype == np.float32:
        raise DataError(f"{file} holds float32 pixels; save it with 8 or 16 bits")
    was_colour = pixels.ndim == 3 and is_grey(pixels)
    if was_colour:
        pixels = np.ascontiguousarray(pixels[..., 0])
    offset, (low, high) = out.tell(), (pixels.min(), pixels.max())
    out.write(pixels.data)
    return _Decoded(
        file=file,
        shape=pixels.shape,
        dtype=pixels.dtype,
        offset=offset,
        largest=int(high),
        stated_max=image.stated_max,
        is_inverted=image.is_inverted,
        is_transparent=image.is_transparent,
        was_colour=was_colour,
        is_two_valued=bool(low < high and ((pixels == low) | (pixels == high)).all()),
    )


def _check_depth(decoded: Sequence[_Decoded]) -> None:
    first = {one.dtype.itemsize * 8: one.file for one in reversed(decoded)}
    if len(first) > 1:
        raise DataError(
            f"8- and 16-bit images are mixed: {first[8]} has 8 bits, {first[16]} has 16; "
            "save all images with the same depth"
        )


def _check_stated(decoded: Sequence[_Decoded], max_value: float | None) -> None:
    if max_value is None:
        return
    for one in decoded:
        if one.stated_max not in (None, max_value):
            raise DataError(
                f"{one.file} states {one.stated_max} as its largest value, against --max-value "
                f"{max_value:g}; leave that option out"
            )
        if one.largest > max_value:
            raise DataError(
                f"{one.file} holds values up to {one.largest}, above --max-value {max_value:g}; give the "
                "largest value that the images can hold, or leave that file out"
            )


def _assembled(
    decoded: Sequence[_Decoded], scratch: Path, target: Path, max_value: float, notes: list[str]
) -> PixelArray:
    height, width = _common_shape(decoded)
    is_colour = any(len(one.shape) == 3 for one in decoded)
    _note_conversions(decoded, (height, width), max_value, notes)
    shape = (len(decoded), height, width, *((3,) if is_colour else ()))
    images = np.lib.format.open_memmap(target, mode="w+", dtype=decoded[0].dtype, shape=shape)
    for row, pixels in enumerate(_settled(decoded, scratch, (height, width), max_value, is_colour=is_colour)):
        images[row] = pixels
    images.flush()
    del images
    return np.load(target, mmap_mode="r")


def _settled(
    decoded: Sequence[_Decoded],
    scratch: Path,
    shape: tuple[int, int],
    max_value: float,
    *,
    is_colour: bool,
) -> Iterator[NDArray[Any]]:
    """Images in the common shape, channels and range, one after the other."""
    with scratch.open("rb") as file:
        for one in decoded:
            file.seek(one.offset)
            pixels = np.fromfile(file, one.dtype, int(np.prod(one.shape))).reshape(one.shape)
            white = max_value if one.stated_max is None else one.stated_max
            ranged = to_range(pixels, white=white, max_value=max_value, is_inverted=one.is_inverted)
            pixels = ranged if ranged.dtype == one.dtype else np.rint(ranged).astype(one.dtype)
            pixels = resize(pixels, shape)
            yield np.repeat(pixels[..., None], 3, axis=2) if is_colour and pixels.ndim == 2 else pixels


def _common_shape(decoded: Sequence[_Decoded]) -> tuple[int, int]:
    """The most frequent height and width; the largest of equally frequent ones."""
    counts = Counter(one.shape[:2] for one in decoded)
    height, width = max(counts, key=lambda shape: (counts[shape], shape))
    return height, width


def _note_conversions(
    decoded: Sequence[_Decoded], shape: tuple[int, int], max_value: float, notes: list[str]
) -> None:
    count, height, width = len(decoded), *shape
    odd = sum(one.shape[:2] != shape for one in decoded)
    grey = sum(len(one.shape) == 2 for one in decoded)
    was_colour = sum(one.was_colour for one in decoded)
    if odd:
        be = "is not {0}x{1} and was resized" if odd == 1 else "are not {0}x{1} and were resized"
        notes.append(f"{odd} of {count} images {be.format(height, width)}")
    if grey == count and was_colour:
        notes.append(
            f"{was_colour} of {count} images are stored as RGB with equal channels and are read as grey"
        )
    elif 0 < grey < count:
        notes.append(f"{grey} of {count} images are grey and were copied to three channels")
    _note_some(
        decoded, [one.is_transparent for one in decoded], "partly transparent; that was dropped", notes
    )
    _note_some(decoded, [one.is_inverted for one in decoded], "TIFFs in which 0 is white; turned over", notes)
    scaled = [one.stated_max not in (None, max_value) for one in decoded]
    _note_some(decoded, scaled, f"scaled to {max_value:g} from the largest value that they state", notes)
    two = [one.is_two_valued for one in decoded]
    if not all(two):
        _note_some(decoded, two, "of two values only, as masks are; leave them out if they are masks", notes)


def _note_some(decoded: Sequence[_Decoded], are: Sequence[bool], text: str, notes: list[str]) -> None:
    if any(are):
        first = decoded[list(are).index(True)].file
        notes.append(
            f"{count_text(sum(are), 'image')} of {len(decoded)} {'is' if sum(are) == 1 else 'are'} {text}: "
            f"{first.name}{', ...' if sum(are) > 1 else ''}"
        )
