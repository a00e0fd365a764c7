"""Extraction of features: one forward pass over all images of a view fills the file of every tap.

Where the disk budget does not suffice, the features that a trial waits for are kept in memory, so that a
trial never fails for lack of a cache; other taps are then left out.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trainables.common.errors import PrefixError
from trainables.common.progress import worked
from trainables.common.types import FloatArray
from trainables.config.feature_storage import Kind
from trainables.features.budget import GB, STALE_SECONDS, DiskBudget, DiskReservation
from trainables.features.stored_files import Stored
from trainables.features.writer import Writer, is_out_of_room, stored_bytes
from trainables.models.taps import Tap
from trainables.preprocessing.views import View

_LARGEST_HALF: Final = 65504.0

# Yields (position of the first image, {tap: features (B, ...) as float32}) over all images of one view.
Compute = Callable[[View, Sequence[Tap]], Iterator[tuple[int, dict[Tap, Tensor]]]]


@dataclass(frozen=True, slots=True)
class FillTarget:
    """Destination of files: the folder of a view, whose lock is held, and the disk budget of its store."""

    folder: Path
    room: DiskBudget


@dataclass(frozen=True, slots=True)
class FillResult:
    """Result of one extraction pass.

    Attributes:
        array: Features of the requested tap, shape (images, ...), float16 or float32; a locked memory-mapped
            file, or memory.
        seconds: Time of the pass in seconds, writing included.
        written: Paths of the written files.
        note: Reason why the features are in memory only; empty where they are stored.
    """

    array: FloatArray
    seconds: float
    written: tuple[Path, ...]
    note: str


class _Memory:
    """Sink with the interface of `Writer` that keeps features in memory."""

    def __init__(self, shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
        self.array: FloatArray = np.zeros(shape, kind)

    def put(self, start: int, values: FloatArray) -> None:
        self.array[start : start + len(values)] = values


class _TapSink:
    """Destination of one tap's features during a pass: a file, memory, or nothing.

    A wanted tap must survive a full disk, so it moves from file to memory (`_rescue`) at whatever batch the
    disk fails, with the batches that are written already. Without that, a failure in the last batch would
    cost the whole pass and the trial. A tap that is written ahead is given up instead: it may neither fail
    the trial nor take memory.

    Args:
        tap: Tap whose features come in.
        kind: Number type.
        path: File to write; None for memory.
        is_wanted: True if a trial waits for the features; others are written ahead of need.
    """

    def __init__(self, tap: Tap, kind: np.dtype[Any], path: Path | None, *, is_wanted: bool) -> None:
        self.tap, self.kind, self.path, self.is_wanted = tap, kind, path, is_wanted
        self.sink: Writer | _Memory | None = None
        self.shape: tuple[int, ...] = ()
        self.largest = 0.0
        self.note = ""

    def open(self, shape: tuple[int, ...], reservation: DiskReservation | None) -> None:
        """Reserve the disk space of all images, shape (images, ...), or choose memory."""
        self.shape = shape
        if self.path is None or reservation is None:
            self.sink = _Memory(shape, self.kind) if self.is_wanted else None
            return
        size = stored_bytes(shape, self.kind)
        # Without the age limit, features written ahead of need could evict what the next trial will read.
        if not reservation.make_room(
            size, unused_since=None if self.is_wanted else time.time() - STALE_SECONDS
        ):
            self.sink = self._without_disk(_no_budget(reservation))
            return
        try:
            self.sink = self._writer(self.path, size, reservation)
        except OSError as error:
            self.sink = self._without_disk(_no_disk(error, self.path))

    def put(self, start: int, values: NDArray[np.float32]) -> None:
        """Store one batch; `start` is the position of its first image."""
        self.largest = float(np.maximum(self.largest, np.abs(values).max()))  # keeps NaN, max() would not
        # Too large values become infinite in float16. `is_out_of_range` finds them by `largest`, measured
        # before the cast, and the tap is computed again; without that, infinite features would be stored.
        with np.errstate(over="ignore"):
            cast = values.astype(self.kind)
        if self.sink is None:
            return
        try:
            self.sink.put(start, cast)
        except OSError as error:
            self._rescue(error)
            if self.sink is not None:
                self.sink.put(start, cast)

    @property
    def is_out_of_range(self) -> bool:
        """True if half precision cannot hold the features, so that they must be computed in float32.

        Raises:
            PrefixError: If no number type can hold them.
        """
        if not np.isfinite(self.largest):
            raise PrefixError(f"features at {self.tap} are not finite; are the weights or pixels broken?")
        return self.kind == np.float16 and self.largest > _LARGEST_HALF

    def keep(self, seconds: float) -> FloatArray | None:
        """Move the file into place; returns the features, or None if they were not kept."""
        try:
            if isinstance(self.sink, Writer):
                stored: Stored = self.sink.keep(seconds)
                return stored.array
        except OSError as error:
            self._rescue(error)
        return self.sink.array if isinstance(self.sink, _Memory) else None

    def drop(self) -> None:
        """Remove the unfinished file."""
        if isinstance(self.sink, Writer):
            self.sink.drop()
            self.sink = None

    def _writer(self, path: Path, size: int, reservation: DiskReservation) -> Writer:
        try:
            return Writer(path, self.shape, self.kind)
        except OSError as error:
            # The disk may be fuller than the budget assumes, as others write to it too: evict, and try again.
            if not (is_out_of_room(error) and self.is_wanted and reservation.free(size)):
                raise
            return Writer(path, self.shape, self.kind)

    def _rescue(self, error: OSError) -> None:
        """Move what is written so far from a file that cannot be finished into memory."""
        writer = self.sink
        if not isinstance(writer, Writer) or self.path is None:
            raise error
        self.sink = self._without_disk(_no_disk(error, self.path))
        if self.sink is not None:
            self.sink.array = writer.written()  # before `drop`, which closes the file and removes it
        writer.drop()

    def _without_disk(self, reason: str) -> _Memory | None:
        if not self.is_wanted:
            return None
        self.note = reason
        return _Memory(self.shape, self.kind)


def fill(
    compute: Compute,
    view: View,
    taps: Sequence[Tap],
    *,
    images: int,
    kind: Kind,
    target: FillTarget | None = None,
) -> FillResult:
    """Run the frozen stages over all images of a view, and store the features of the taps.

    Args:
        compute: Forward pass through the stages.
        view: View of the images.
        taps: The first one is requested, and is kept in any case; the others as disk space allows.
        images: Number of images.
        kind: Number type; taps that float16 cannot hold are computed once more, in float32.
        target: Destination of the files; None keeps the requested tap in memory.

    Raises:
        PrefixError: If features are not finite, or there is no image.
    """
    started = time.perf_counter()
    streams: list[_TapSink] = []
    try:
        streams += _run(compute, view, taps, images=images, kind=kind, target=target, wanted=taps[0])
        too_large = [stream for stream in streams if stream.is_out_of_range]
        for stream in too_large:
            stream.drop()
            streams.remove(stream)
        again = [stream.tap for stream in too_large]
        if again:
            streams += _run(
                compute, view, again, images=images, kind="float32", target=target, wanted=taps[0]
            )
        seconds = time.perf_counter() - started
        kept = {stream: stream.keep(seconds) for stream in streams}
    except BaseException:
        for stream in streams:
            stream.drop()
        raise
    wanted = next(stream for stream in streams if stream.is_wanted)
    array = kept[wanted]
    if array is None:
        raise PrefixError(f"features at {wanted.tap} were computed and not kept")
    written = tuple(stream.path for stream in streams if stream.path and isinstance(stream.sink, Writer))
    return FillResult(array, seconds, written, wanted.note)


def _run(
    compute: Compute,
    view: View,
    taps: Sequence[Tap],
    *,
    images: int,
    kind: Kind,
    target: FillTarget | None,
    wanted: Tap,
) -> list[_TapSink]:
    streams = {
        tap: _TapSink(
            tap,
            np.dtype(kind),
            target.folder / f"{tap}.npy" if target else None,
            is_wanted=tap == wanted,
        )
        for tap in taps
    }
    try:
        _feed(streams, compute(view, taps), images, target)
    except BaseException:
        for stream in streams.values():
            stream.drop()
        raise
    return list(streams.values())


def _feed(
    streams: dict[Tap, _TapSink],
    batches: Iterator[tuple[int, dict[Tap, Tensor]]],
    images: int,
    target: FillTarget | None,
) -> None:
    is_open = False
    for start, features in batches:
        worked()
        batch = {tap: values.numpy() for tap, values in features.items()}
        if not is_open:
            _open_all(streams, {tap: (images, *values.shape[1:]) for tap, values in batch.items()}, target)
            is_open = True
        for tap, values in batch.items():
            streams[tap].put(start, values)
    if not is_open:
        raise PrefixError("no image to compute features of; does the task leave out every row?")


def _open_all(
    streams: dict[Tap, _TapSink], shapes: dict[Tap, tuple[int, ...]], target: FillTarget | None
) -> None:
    if target is None:
        for tap, stream in streams.items():
            stream.open(shapes[tap], None)
        return
    with target.room.reservation() as reservation:
        for tap, stream in streams.items():
            stream.open(shapes[tap], reservation)


def _no_budget(reservation: DiskReservation) -> str:
    return (
        f"the store's budget of {reservation.budget / GB:.3g} GB is too small, or taken by what running "
        "trials read: features were computed for this trial alone and not kept; give a larger --store-gb"
    )


def _no_disk(error: OSError, path: Path) -> str:
    return (
        f"features cannot be written below {path.parent} ({error.strerror or error}): they were computed for "
        "this trial alone and not kept; make room on the disk, or choose another folder with --store"
    )
