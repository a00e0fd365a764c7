"""A chunk of examples, read, cut and resampled by one process, and written to two files.

The pixels come first and the notes about them last, so that a chunk whose notes are there is whole: that is
all the journal that a preparation needs to go on after it was killed.
"""

import functools
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError, OrchestrateError
from trainables.common.files import write_atomically
from trainables.data.collections.collection import Box, Example
from trainables.data.dicom.reading import ForProcessingError
from trainables.data.image_files import check_one_frame, decode_image, is_grey
from trainables.data.mammogram.preparation import Preparation, PreparationError, map_rectangle, prepare
from trainables.data.pixel_range import bit_range
from trainables.data.prepared.known_files import content_of
from trainables.data.prepared.reading import Read, files_beside, read_example_pixels
from trainables.data.prepared.regions import Piece, box_of_mask, cut_pieces
from trainables.data.prepared.settings import Settings
from trainables.data.resizing import resize

_PLAIN_CUTS: Final = (None, "whole", "box")  # others look for tissue, or turn pieces at random
_NAME_FRAME: Final = "name the frame in a column frame of the table, 0 for the first, or save it by itself"
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
        largest: Largest value of the whole image in the file, which averages and cuts do not reach.
        stated_max: Brightest value by the file, or None.
        box: Left, top, width and height of what was cut, in pixels of the file.
        source_px: Height and width of the image in the file.
        mm_per_px: Height and width of a prepared pixel in millimetres, or None.
        finding: Left, top, width and height of the region in the prepared image, where the whole one is kept.
        facts: What the file says for the table.
        identifying: Names of identifying tags that are filled in the file.
        is_inverted: True where 0 is white; it is turned over within the range of the set.
        lacks_breast: True where a step goes by the breast and none was found, so that all of it was kept.
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
    finding: tuple[int, int, int, int] | None
    facts: dict[str, Any]
    identifying: tuple[str, ...]
    is_inverted: bool = False
    lacks_breast: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type of the pixels."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as the notes of a chunk hold them."""
        return {name: getattr(self, name) for name in _STORED}


_STORED: Final = tuple(field.name for field in fields(Stored))


def prepare_chunk(chunk: Chunk) -> tuple[int, str] | None:
    """Prepare the examples of a chunk; what cannot be used is noted with its reason.

    Returns:
        None if the chunk is whole. Where the settings are strict, the place of the first example that cannot
        be used and the reason, if there is one: no file is left of the chunk then.

    Raises:
        OSError: If the files cannot be written.
    """
    draft = chunk.folder / f"{chunk.pixels_file.name}.{uuid.uuid4().hex}"
    stored: list[Stored] = []
    problems: list[tuple[int, str]] = []
    passing: list[int] = []
    with draft.open("wb") as out:
        for place, example in enumerate(chunk.examples, start=chunk.first):
            own, problem, may_pass = _tried(chunk, place, example, out)
            stored += own
            if problem:
                problems.append((place, problem))
                passing += [place] * may_pass
                if chunk.settings.is_strict:
                    break
        out.flush()
        os.fsync(out.fileno())
    chunk.trace_file.unlink(missing_ok=True)
    if problems and chunk.settings.is_strict:
        draft.unlink()
        return problems[0]
    draft.replace(chunk.pixels_file)
    notes = {
        "stored": [one.as_dict() for one in stored],
        "problems": problems,
        "passing": passing,
        "content": [content_of(example) for example in chunk.examples],
    }
    write_atomically(chunk.notes_file, json.dumps(notes))
    return None


def _tried(chunk: Chunk, place: int, example: Example, out: IO[bytes]) -> tuple[list[Stored], str, bool]:
    """Prepare one example: its pieces; or why there are none, and whether that may pass by itself."""
    if place in chunk.crashing:
        return [], "crashes the program that reads it, so it must be damaged", False
    if chunk.is_traced:
        write_atomically(chunk.trace_file, str(place))
    start = out.tell()
    try:
        own = list(_prepared(example, place, out, chunk.settings))
    except (OrchestrateError, MemoryError) as error:
        out.seek(start)
        out.truncate()
        return [], _reason(error, example), _may_pass(error)
    return own, "" if own else "has no tile that shows tissue", False


def _may_pass(error: BaseException) -> bool:
    """True for an error of the machine, such as of memory or of a disk that did not answer."""
    chain = (error, error.__cause__)
    return any(isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno) for one in chain)


@dataclass(frozen=True, slots=True)
class Notes:
    """What is known about a chunk that is whole.

    Attributes:
        stored: Its images.
        problems: Place of an example that is not used, and the reason.
        passing: Places of those whose reason may pass by itself, as that of a disk that did not answer.
        content: Digest of the content of each example's files.
    """

    stored: list[Stored]
    problems: list[tuple[int, str]]
    passing: list[int]
    content: list[str]


def read_notes(file: Path) -> Notes:
    """Read what a chunk holds, and its problems."""
    notes = json.loads(file.read_text())
    stored = [Stored(**{name: _frozen(value) for name, value in one.items()}) for one in notes["stored"]]
    problems = [(place, reason) for place, reason in notes["problems"]]
    return Notes(stored, problems, notes["passing"], notes["content"])


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _reason(error: BaseException, example: Example) -> str:
    """The message as the rest of a sentence that begins with the file."""
    if not example.file.exists():
        return "is not there"
    text = "needs more memory than there is" if isinstance(error, MemoryError) else str(error)
    text = text.removeprefix(str(example.file)).strip()
    for file in (example.file, *example.masks, *files_beside(example.file)):
        text = text.replace(str(file), file.name)
    return text


_read = functools.lru_cache(maxsize=1)(read_example_pixels)  # regions of one film follow each other


def _prepared(example: Example, place: int, out: IO[bytes], settings: Settings) -> Iterator[Stored]:
    try:
        read = _read(example.file, example.frame or 0, allows_for_processing=settings.allows_for_processing)
    except ForProcessingError as error:
        raise DataError(f"{error}, or allow it (--for-processing)") from error
    if example.frame is None:
        check_one_frame(example.file, read.frames, _NAME_FRAME)
    if not (settings.steps is None and settings.mm_per_px is None and example.cut in _PLAIN_CUTS):
        read.check_black(example.file)
    masks = [_mask(file, read.pixels.shape[:2]) for file in example.masks]
    mask: NDArray[np.uint8] | None = np.maximum.reduce(masks) if masks else None
    box = example.box or (None if mask is None else box_of_mask(mask))
    white = read.stated_max or bit_range(int(read.pixels.max()))
    machine = str(example.columns.get("machine", ""))
    pieces = cut_pieces(read.pixels, example.cut, box, name=example.name, max_value=white, machine=machine)
    if example.cut not in _PLAIN_CUTS:
        mask = None  # these pieces are turned at random
    is_whole = example.cut == "whole" or box is None
    for piece in pieces:
        ready = (
            _resampled(piece, read.spacing_mm, settings)
            if settings.steps is None
            else _made_ready(piece, example, read, settings.steps, white)
        )
        yield _written(ready, piece.name, place, read, box if is_whole else None, mask, out)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A piece in its final size, and how it came there: cut, mirrored, scaled and laid on a canvas."""

    pixels: NDArray[Any]
    box: tuple[int, int, int, int]
    is_flipped: bool
    scaled: tuple[int, int]
    offset: tuple[int, int]
    mm_per_px: tuple[float, float] | None
    lacks_breast: bool = False

    def follow(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bring a mask of the image to where the pixels are."""
        left, top, width, height = self.box
        own: NDArray[Any] = mask[top : top + height, left : left + width]
        own = resize_mask(own[:, ::-1] if self.is_flipped else own, self.scaled)
        canvas: NDArray[Any] = np.zeros(self.pixels.shape[:2], np.uint8)
        down, right = self.offset
        own = own[max(-down, 0) :, max(-right, 0) :]
        down, right = max(down, 0), max(right, 0)
        own = own[: canvas.shape[0] - down, : canvas.shape[1] - right]
        canvas[down : down + own.shape[0], right : right + own.shape[1]] = own
        return canvas

    def place_of(self, region: Box) -> tuple[int, int, int, int] | None:
        """Where a region of the image lies in the pixels; None if nothing of it is left."""
        return map_rectangle(
            (region.left, region.top, region.width, region.height),
            kept=self.box,
            is_flipped=self.is_flipped,
            scale=(self.scaled[0] / self.box[3], self.scaled[1] / self.box[2]),
            offset=self.offset,
            shape=self.pixels.shape[:2],
        )


def _made_ready(piece: Piece, example: Example, read: Read, steps: Preparation, white: float) -> _Ready:
    """A whole mammogram made ready by the declared steps; any other piece by those that scale it alone."""
    is_scaled_alone = not steps.needs_breast
    if is_scaled_alone:
        _check_scale(piece, read, steps)
    laterality: Any = example.laterality or read.facts.get("laterality")
    view: Any = example.view or read.facts.get("view")
    try:
        done = prepare(
            piece.pixels,
            white,
            preparation=steps,
            spacing_mm=read.spacing_mm,
            laterality=laterality,
            view=view,
        )
    except PreparationError as error:
        raise DataError(str(error)) from error
    _, _, width, height = done.box
    scaled = (max(1, round(height * done.scale[0])), max(1, round(width * done.scale[1])))
    box = _place_of(piece) if is_scaled_alone else done.box
    lacks_breast = steps.needs_breast and not done.has_breast
    return _Ready(done.pixels, box, done.flipped, scaled, done.offset, done.mm_per_px, lacks_breast)


def _check_scale(piece: Piece, read: Read, steps: Preparation) -> None:
    """Say in words of the options why a piece cannot be scaled to millimetres."""
    if steps.mm_per_px is None:
        return
    if read.spacing_mm is None and steps.spacing_mm is None:
        raise DataError("does not state the spacing of its pixels, which --mm-per-px needs")
    if piece.pixels.ndim == 3 and not is_grey(piece.pixels):
        raise DataError("is coloured, and --mm-per-px is for grey images alone; give --size in its place")


def _resampled(piece: Piece, spacing: tuple[float, float] | None, settings: Settings) -> _Ready:
    """A piece resampled to a size, without any step."""
    height, width = piece.pixels.shape[:2]
    scaled = settings.size or (height, width)
    mm = None if spacing is None else (spacing[0] * height / scaled[0], spacing[1] * width / scaled[1])
    return _Ready(resize(piece.pixels, scaled), _place_of(piece), False, scaled, (0, 0), mm)


def _place_of(piece: Piece) -> tuple[int, int, int, int]:
    return piece.box.left, piece.box.top, piece.box.width, piece.box.height


def _written(
    ready: _Ready,
    name: str,
    place: int,
    read: Read,
    region: Box | None,
    mask: NDArray[np.uint8] | None,
    out: IO[bytes],
) -> Stored:
    """Write one piece, with its mask behind it."""
    offset, pixels = out.tell(), np.ascontiguousarray(ready.pixels)
    out.write(pixels.data)
    if mask is not None:
        out.write(np.ascontiguousarray(ready.follow(mask)).data)
    return Stored(
        example=place,
        piece=name,
        shape=pixels.shape,
        bits=pixels.dtype.itemsize * 8,
        offset=offset,
        has_mask=mask is not None,
        largest=int(read.pixels.max()),
        stated_max=read.stated_max,
        box=ready.box,
        source_px=(read.pixels.shape[0], read.pixels.shape[1]),
        mm_per_px=ready.mm_per_px,
        finding=None if region is None else ready.place_of(region),
        facts=dict(read.facts),
        identifying=read.identifying,
        is_inverted=read.is_inverted,
        lacks_breast=ready.lacks_breast,
    )


def _mask(file: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask as 0 and 255, brought to the size of its image."""
    found = decode_image(file).pixels
    flat = found.max(axis=2) if found.ndim == 3 else found
    mask = np.where(flat > flat.max() / 2, np.uint8(255), np.uint8(0))
    if mask.shape == shape:
        return mask
    if abs(mask.shape[0] / mask.shape[1] - shape[0] / shape[1]) > _SAME_ASPECT:
        raise DataError(
            f"has {shape[0]}x{shape[1]} pixels, and its mask {file.name} has {mask.shape[0]}x{mask.shape[1]}"
        )
    return resize_mask(mask, shape)


def resize_mask(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a mask by the nearest pixel."""
    import cv2

    if mask.shape == size:
        return mask
    resized = cv2.resize(np.ascontiguousarray(mask), size[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized, dtype=np.uint8)


def fill_up(pixels: NDArray[Any], size: tuple[int, int], corner: tuple[int, int] = (0, 0)) -> NDArray[Any]:
    """Fill an image up with black; its upper left corner comes to lie at a row and a column."""
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    top, left = corner
    filled = np.zeros((*size, *pixels.shape[2:]), pixels.dtype)
    filled[top : top + height, left : left + width] = pixels
    return filled
