"""Chunks into one array: size, channels, depth and range are settled, images are written one by one."""

import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from trainables.common.text import count_text
from trainables.data.image_survey import notes_on_ranges
from trainables.data.pixel_range import bit_range, to_range
from trainables.data.prepared.chunk import Chunk, Stored, fill_up, resize_mask
from trainables.data.prepared.settings import Settings
from trainables.data.prepared_set import IMAGES_FILE, MASKS_FILE
from trainables.data.resizing import resize

_FULL_8: Final = 255.0
_COPIED_BYTES: Final = 2**20  # at a time


@dataclass(frozen=True, slots=True)
class Layout:
    """The common form of the images of a set.

    Attributes:
        size: Height and width, in pixels.
        is_colour: True for RGB.
        bits: 8 or 16.
        max_value: Brightest value that an image can hold.
        white_of_16: Brightest value of images of 16 bits whose files do not state it.
        fills_up: Fill images up with black rather than resize them.
        has_masks: True where there are masks.
        laid: Where an image lies that is filled up: in the upper left `corner`; or, as the declared steps lay
            a mammogram on a size, in the middle of the height at the side of the chest wall, `left` or
            `right`, or in the `middle` of the width where no side is declared.
    """

    size: tuple[int, int]
    is_colour: bool
    bits: int
    max_value: float
    white_of_16: float
    fills_up: bool
    has_masks: bool
    laid: Literal["corner", "left", "right", "middle"] = "corner"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type of the images."""
        return np.dtype("<u1" if self.bits == 8 else "<u2")

    def white_of(self, one: Stored) -> float:
        """Brightest value that the file of an image can hold."""
        if one.stated_max is not None:
            return one.stated_max
        return _FULL_8 if one.bits == 8 else self.white_of_16

    def holds(self, one: Stored) -> bool:
        """True for an image whose stored bytes are those of the common form."""
        shape = (*self.size, 3) if self.is_colour else self.size
        is_of_type = one.bits == self.bits and (one.bits == 8 or sys.byteorder == "little")
        is_of_range = self.white_of(one) == self.max_value and not one.is_inverted
        return one.shape == shape and is_of_type and is_of_range

    def corner(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Row and column at which the upper left corner of an image of this shape lies."""
        if not self.fills_up or self.laid == "corner":
            return (0, 0)
        free = self.size[1] - shape[1]
        return (self.size[0] - shape[0]) // 2, {"left": 0, "right": free, "middle": free // 2}[self.laid]

    def placed(self, one: Stored) -> Stored:
        """Notes of an image whose region is where it lies in the common form."""
        if one.finding is None:
            return one
        down, right = self.corner(one.shape)
        left, top, width, height = one.finding
        return replace(one, finding=(left + right, top + down, width, height))


def layout_of(stored: Sequence[Stored], settings: Settings, notes: list[str]) -> Layout:
    """Settle the common form of images.

    Args:
        stored: The images, at least one.
        settings: What was done to each.
        notes: Sentences on conversions are added here.
    """
    fills_up = settings.mm_per_px is not None and settings.size is None
    shapes = Counter(one.shape[:2] for one in stored)
    if fills_up:
        size = (max(shape[0] for shape in shapes), max(shape[1] for shape in shapes))
    else:
        height, width = max(shapes, key=lambda shape: (shapes[shape], shape))
        size = (height, width)
    _note_sizes(shapes, size, fills_up, notes)
    deep = [one for one in stored if one.bits == 16]
    unstated = [one.largest for one in deep if one.stated_max is None]
    white = float(bit_range(max(unstated))) if unstated else 0.0
    whites = [one.stated_max or (_FULL_8 if one.bits == 8 else white) for one in stored]
    if deep and len(deep) < len(stored):
        notes.append(f"{len(stored) - len(deep)} of {len(stored)} images have 8 bits and were scaled to 16")
    if turned := sum(one.is_inverted for one in stored):
        be = "is a TIFF" if turned == 1 else "are TIFFs"
        notes.append(
            f"{count_text(turned, 'image')} of {len(stored)} {be} in which 0 is white, and turned over"
        )
    if lost := sum(one.lacks_breast for one in stored):
        shows = "shows" if lost == 1 else "show"
        notes.append(
            f"{count_text(lost, 'image')} of {len(stored)} {shows} no breast that could be found, and "
            f"{'was' if lost == 1 else 'were'} kept whole"
        )
    is_colour = [len(one.shape) == 3 for one in stored]
    if any(is_colour) and not all(is_colour):
        notes.append(f"{is_colour.count(False)} of {len(stored)} images are grey and were copied to RGB")
    return Layout(
        size=size,
        is_colour=any(is_colour),
        bits=16 if deep else 8,
        max_value=float(max(whites)),
        white_of_16=white,
        fills_up=fills_up,
        has_masks=any(one.has_mask for one in stored),
        laid="corner" if settings.steps is None else settings.steps.chest_wall or "middle",
    )


def notes_on_whites(stored: Sequence[Stored], layout: Layout, names: Sequence[str]) -> list[str]:
    """Return sentences on images whose files do not state their white, and that do not fill the common one.

    Args:
        stored: The images.
        layout: Their common form.
        names: Name of each image.
    """
    unstated = [row for row, one in enumerate(stored) if one.bits == 16 and one.stated_max is None]
    if not unstated:
        return []
    largest = np.array([stored[row].largest for row in unstated])
    return notes_on_ranges(largest, layout.white_of_16, lambda place: names[unstated[place]])


def write_arrays(
    chunks: Sequence[tuple[Chunk, Sequence[Stored]]], layout: Layout, count: int, folder: Path
) -> None:
    """Write `images.npy` and, where there are some, `masks.npy`, image by image.

    Chunks whose images have the common form are copied as they are.

    Args:
        chunks: Chunks that are done, in order, with the images that each holds.
        layout: Common form of the images.
        count: Number of images.
        folder: Folder of the files.

    Raises:
        OSError: If they cannot be written.
    """
    channels = (3,) if layout.is_colour else ()
    with (folder / IMAGES_FILE).open("wb") as images:
        _write_head(images, layout.dtype, (count, *layout.size, *channels))
        if not layout.has_masks:
            for chunk, stored in chunks:
                if all(layout.holds(one) for one in stored):
                    with chunk.pixels_file.open("rb") as file:
                        shutil.copyfileobj(file, images, _COPIED_BYTES)
                    continue
                for pixels, _ in _settled(chunk, stored, layout):
                    images.write(np.ascontiguousarray(pixels, layout.dtype).data)
            return
        with (folder / MASKS_FILE).open("wb") as masks:
            _write_head(masks, np.dtype(np.uint8), (count, *layout.size))
            for chunk, stored in chunks:
                for pixels, mask in _settled(chunk, stored, layout):
                    images.write(np.ascontiguousarray(pixels, layout.dtype).data)
                    masks.write(np.ascontiguousarray(mask).data)


def _write_head(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    head = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)


def _settled(
    chunk: Chunk, stored: Sequence[Stored], layout: Layout
) -> Iterator[tuple[NDArray[Any], NDArray[np.uint8]]]:
    """Images and masks of a chunk in the common form; an image without a mask has an empty one."""
    with chunk.pixels_file.open("rb") as file:
        for one in stored:
            pixels, mask = _read(file, one)
            white = layout.white_of(one)
            if white != layout.max_value or one.is_inverted:
                ranged = to_range(
                    pixels, white=white, max_value=layout.max_value, is_inverted=one.is_inverted
                )
                pixels = np.rint(ranged).astype(layout.dtype)
            yield _in_form(pixels, layout), _mask_in_form(mask, layout)


def _read(file: IO[bytes], one: Stored) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    file.seek(one.offset)
    pixels = np.fromfile(file, one.dtype, int(np.prod(one.shape))).reshape(one.shape)
    if not one.has_mask:
        return pixels, None
    height, width = one.shape[:2]
    return pixels, np.fromfile(file, np.uint8, height * width).reshape(height, width)


def _in_form(pixels: NDArray[Any], layout: Layout) -> NDArray[Any]:
    if layout.fills_up:
        pixels = fill_up(pixels, layout.size, layout.corner(pixels.shape))
    else:
        pixels = resize(pixels, layout.size)
    return np.repeat(pixels[..., None], 3, axis=2) if layout.is_colour and pixels.ndim == 2 else pixels


def _mask_in_form(mask: NDArray[np.uint8] | None, layout: Layout) -> NDArray[np.uint8]:
    if mask is None:
        return np.zeros(layout.size if layout.has_masks else (0, 0), np.uint8)
    if layout.fills_up:
        return fill_up(mask, layout.size, layout.corner(mask.shape))
    return resize_mask(mask, layout.size)


def _note_sizes(
    shapes: "Counter[tuple[int, ...]]", size: tuple[int, int], fills_up: bool, notes: list[str]
) -> None:
    odd = sum(number for shape, number in shapes.items() if shape != size)
    if odd:
        done = "filled up with black" if fills_up else "resized"
        be = "was" if odd == 1 else "were"
        notes.append(
            f"{count_text(odd, 'image')} of {shapes.total()} {be} {done} to {size[0]}x{size[1]} pixels"
        )
