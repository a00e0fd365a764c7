"""A chunk of examples, read, cut and resampled by one process, and written to two files.

The pixels come first and the notes about them last, so that a chunk whose notes are there is whole: that is
all the journal that a preparation needs to go on after it was killed.
"""

import functools
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError, OrchestrateError
from trainables.common.files import write_atomically
from trainables.data.collections.collection import Box, Example
from trainables.data.image_files import decode_image
from trainables.data.pixel_range import bit_range
from trainables.data.prepared.reading import Read, read_example_pixels
from trainables.data.prepared.regions import Piece, box_of_mask, cut_pieces
from trainables.data.prepared.settings import Settings

_SAME_ASPECT: Final = 1e-3  # a mask of another size is used if its sides are in this proportion


@dataclass(frozen=True, slots=True)
class Chunk:
    """Examples that one process prepares in one go.

    Attributes:
        number: Place among the chunks of the set.
        first: Place of the first example in the listing.
        examples: The examples.
        folder: Folder of the unfinished set, which takes the two files.
        settings: What is done to each image.
        is_traced: Note which example is at work, so that it is known if the process crashes.
        crashing: Places of examples that crashed a process; they are left out.
    """

    number: int
    first: int
    examples: tuple[Example, ...]
    folder: Path
    settings: Settings
    is_traced: bool = False
    crashing: frozenset[int] = frozenset()

    @property
    def pixels_file(self) -> Path:
        """File of the pixels, one image after the other."""
        return self.folder / f"{self.number:06d}.pixels"

    @property
    def notes_file(self) -> Path:
        """File of what is known about each image; it is there if the chunk is whole."""
        return self.folder / f"{self.number:06d}.json"

    @property
    def trace_file(self) -> Path:
        """File that names the example at work, where the chunk is traced."""
        return self.folder / f"{self.number:06d}.trace"

    def traced(self) -> int | None:
        """Place of the example that was at work when the process ended, if it is known."""
        return int(self.trace_file.read_text()) if self.trace_file.is_file() else None


@dataclass(frozen=True, slots=True)
class Stored:
    """One prepared image in the file of a chunk.

    Attributes:
        example: Place of its example in the listing.
        piece: Name of the piece among those of the example; empty for the only one.
        shape: Shape of the pixels.
        bits: 8 or 16.
        offset: Place in the file of the pixels, in bytes; the mask follows the pixels.
        has_mask: True where a mask follows, uint8, of the same height and width.
        largest: Largest value.
        stated_max: Brightest value by the file, or None.
        box: Left, top, width and height of what was cut, in pixels of the file.
        source_px: Height and width of the image in the file.
        mm_per_px: Height and width of a prepared pixel in millimetres, or None.
        facts: What the file says for the table.
        identifying: Names of identifying tags that are filled in the file.
    """

    example: int
    piece: str
    shape: tuple[int, ...]
    bits: int
    offset: int
    has_mask: bool
    largest: int
    stated_max: float | None
    box: tuple[int, int, int, int]
    source_px: tuple[int, int]
    mm_per_px: tuple[float, float] | None
    facts: dict[str, Any]
    identifying: tuple[str, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type of the pixels."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)


def prepare_chunk(chunk: Chunk) -> None:
    """Prepare the examples of a chunk; what cannot be used is noted with its reason.

    Raises:
        OSError: If the files cannot be written.
    """
    draft = chunk.folder / f"{chunk.pixels_file.name}.{uuid.uuid4().hex}"
    stored: list[Stored] = []
    problems: list[tuple[int, str]] = []
    with draft.open("wb") as out:
        for place, example in enumerate(chunk.examples, start=chunk.first):
            own, problem = _tried(chunk, place, example, out)
            stored += own
            if problem:
                problems.append((place, problem))
                if chunk.settings.is_strict:
                    break
        out.flush()
        os.fsync(out.fileno())
    draft.replace(chunk.pixels_file)
    notes = {"stored": [asdict(one) for one in stored], "problems": problems}
    write_atomically(chunk.notes_file, json.dumps(notes))
    chunk.trace_file.unlink(missing_ok=True)


def _tried(chunk: Chunk, place: int, example: Example, out: IO[bytes]) -> tuple[list[Stored], str]:
    """Prepare one example; returns its pieces, or why there are none, as the rest of a sentence."""
    if place in chunk.crashing:
        return [], "crashes the program that reads it, so it must be damaged"
    if chunk.is_traced:
        write_atomically(chunk.trace_file, str(place))
    start = out.tell()
    try:
        own = list(_prepared(example, place, out, chunk.settings))
    except (OrchestrateError, MemoryError) as error:
        out.seek(start)
        out.truncate()
        return [], _reason(error, example)
    return own, "" if own else "has no tile that shows tissue"


def read_notes(file: Path) -> tuple[list[Stored], list[tuple[int, str]]]:
    """Read what a chunk holds, and its problems: place of the example and reason."""
    notes = json.loads(file.read_text())
    stored = [Stored(**{name: _frozen(value) for name, value in one.items()}) for one in notes["stored"]]
    return stored, [(place, reason) for place, reason in notes["problems"]]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _reason(error: BaseException, example: Example) -> str:
    """The message as the rest of a sentence that begins with the file."""
    text = "needs more memory than there is" if isinstance(error, MemoryError) else str(error)
    return text.removeprefix(str(example.file)).strip()


_read = functools.lru_cache(maxsize=1)(read_example_pixels)  # regions of one film follow each other


def _prepared(example: Example, place: int, out: IO[bytes], settings: Settings) -> Iterator[Stored]:
    read = _read(example.file, example.frame)
    mask = None if example.mask is None else _mask(example.mask, read.pixels.shape[:2])
    box = example.box
    if box is None and mask is not None and example.cut != "whole":
        box = box_of_mask(mask)
    white = read.stated_max or bit_range(int(read.pixels.max()))
    machine = str(example.columns.get("machine", ""))
    pieces = cut_pieces(read.pixels, example.cut, box, name=example.name, max_value=white, machine=machine)
    if example.cut not in (None, "whole", "box"):
        mask = None  # these pieces are turned at random
    for piece in pieces:
        yield _stored(piece, mask, read, place, out, settings)


def _stored(
    piece: Piece,
    mask: NDArray[np.uint8] | None,
    read: Read,
    place: int,
    out: IO[bytes],
    settings: Settings,
) -> Stored:
    """Write one piece, with its mask behind it."""
    box, offset = piece.box, out.tell()
    turned = Box(box.left, box.top, piece.pixels.shape[1], piece.pixels.shape[0])
    geometry = _geometry(turned, read.spacing_mm, settings)
    pixels = np.ascontiguousarray(geometry.apply(piece.pixels))
    out.write(pixels.data)
    if mask is not None:
        own = mask[box.top : box.top + box.height, box.left : box.left + box.width]
        out.write(np.ascontiguousarray(geometry.apply(own, is_mask=True)).data)
    spacing = read.spacing_mm
    height, width = read.pixels.shape[:2]
    return Stored(
        example=place,
        piece=piece.name,
        shape=pixels.shape,
        bits=pixels.dtype.itemsize * 8,
        offset=offset,
        has_mask=mask is not None,
        largest=int(pixels.max()),
        stated_max=read.stated_max,
        box=(box.left, box.top, box.width, box.height),
        source_px=(height, width),
        mm_per_px=spacing
        and (
            spacing[0] * turned.height / geometry.scaled[0],
            spacing[1] * turned.width / geometry.scaled[1],
        ),
        facts=dict(read.facts),
        identifying=read.identifying,
    )


def _mask(file: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask as 0 and 255, brought to the size of its image."""
    import cv2

    found = decode_image(file).pixels
    flat = found.max(axis=2) if found.ndim == 3 else found
    mask = np.where(flat > flat.max() / 2, np.uint8(255), np.uint8(0))
    if mask.shape == shape:
        return mask
    if abs(mask.shape[0] / mask.shape[1] - shape[0] / shape[1]) > _SAME_ASPECT:
        raise DataError(
            f"has {shape[0]}x{shape[1]} pixels, and its mask {file.name} has {mask.shape[0]}x{mask.shape[1]}"
        )
    resized = cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class _Geometry:
    """Sizes of one piece: after resampling, and of the canvas that it is laid on."""

    scaled: tuple[int, int]
    canvas: tuple[int, int]

    def apply(self, pixels: NDArray[Any], *, is_mask: bool = False) -> NDArray[Any]:
        """Resample, cut off what lies beyond the canvas, and fill up with black."""
        resampled = resize(pixels, self.scaled, is_mask=is_mask)
        return fill_up(resampled[: self.canvas[0], : self.canvas[1]], self.canvas)


def _geometry(box: Box, spacing: tuple[float, float] | None, settings: Settings) -> _Geometry:
    own = (box.height, box.width)
    if settings.mm_per_px is not None:
        if spacing is None:
            raise DataError("does not state the spacing of its pixels, which --mm-per-px needs")
        high, wide = (
            max(1, round(side * mm / settings.mm_per_px)) for side, mm in zip(own, spacing, strict=True)
        )
        return _Geometry((high, wide), settings.size or (high, wide))
    if settings.size is None:
        return _Geometry(own, own)
    return _Geometry(_within(own, settings.size) if settings.keeps_aspect else settings.size, settings.size)


def _within(own: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same proportion that fits into another."""
    scale = min(size[0] / own[0], size[1] / own[1])
    return max(1, round(own[0] * scale)), max(1, round(own[1] * scale))


def resize(pixels: NDArray[Any], size: tuple[int, int], *, is_mask: bool = False) -> NDArray[Any]:
    """Resize by area averaging, bilinearly where an image grows, and masks by the nearest pixel."""
    import cv2

    if pixels.shape[:2] == size:
        return pixels
    grows = size[0] > pixels.shape[0] or size[1] > pixels.shape[1]
    how = cv2.INTER_NEAREST if is_mask else cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), size[::-1], interpolation=how))


def fill_up(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Fill an image up with black, to the right and below."""
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    filled = np.zeros((*size, *pixels.shape[2:]), pixels.dtype)
    filled[:height, :width] = pixels
    return filled
