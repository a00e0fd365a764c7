"""One look at every image of a set: the range of its values, and pictures that are there more than once."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.text import count_text
from trainables.common.types import IntArray
from trainables.data.columns import take_rows
from trainables.data.patches import NO_PARTNER, BoolArray, PixelArray, RawPatches
from trainables.data.pixel_range import FULL_RANGES, bit_range

NameOf = Callable[[int], str]

_USUAL_SHARE: Final = 0.95  # share of the images whose range an odd one is compared with
_ODD_FACTOR: Final = 4  # an odd image's values are above this many times that range, two bits
_TWO_KINDS_FACTOR: Final = 16  # four bits, between images of 12 and of 16 bits


@dataclass(frozen=True, slots=True)
class ImageSurvey:
    """Facts about each image of a set.

    Attributes:
        largest: Largest value, shape (N,).
        first_copy: Row of the first image with the same pixels, as they are, turned or mirrored; the own row
            where there is none before, and for images of one value everywhere, which say nothing about who
            they are of. Shape (N,).
        is_turned: True for copies that are turned or mirrored, shape (N,).
    """

    largest: NDArray[Any]
    first_copy: IntArray
    is_turned: BoolArray

    @property
    def duplicate_of(self) -> IntArray | None:
        """Row of the first image with the same pixels, else `NO_PARTNER`; None where all images differ."""
        rows = np.arange(len(self.first_copy))
        copies = np.where(self.first_copy == rows, NO_PARTNER, self.first_copy)
        return copies if (copies != NO_PARTNER).any() else None


def survey_images(images: PixelArray) -> ImageSurvey:
    """Look at every image once; a memory-mapped array is never held in memory as a whole."""
    largest = np.zeros(len(images), dtype=images.dtype)
    first_copy = np.arange(len(images), dtype=np.int64)
    is_turned = np.zeros(len(images), dtype=bool)
    seen = _Seen()
    for row, image in enumerate(images):
        largest[row] = image.max()
        if image.min() < largest[row]:
            first_copy[row], is_turned[row] = seen.first_copy(image, row)
    return ImageSurvey(largest, first_copy, is_turned)


class _Seen:
    """Pictures seen so far, by their pixels, and by how often each value occurs, which no turn changes."""

    def __init__(self) -> None:
        # First row of a picture, and whether the pixels are turned against it: copies of a copy are its too.
        self._first_of_pixels: dict[bytes, tuple[int, bool]] = {}
        self._counts: set[bytes] = set()

    def first_copy(self, image: NDArray[Any], row: int) -> tuple[int, bool]:
        """Row of the first image with these pixels, or the given row; True if it is turned or mirrored."""
        pixels = _digest(image)
        if pixels not in self._first_of_pixels:
            self._first_of_pixels[pixels] = self._first_turned(image, row)
        return self._first_of_pixels[pixels]

    def _first_turned(self, image: NDArray[Any], row: int) -> tuple[int, bool]:
        counts = counts_digest(image)
        if counts not in self._counts:
            self._counts.add(counts)
            return row, False
        found = (self._first_of_pixels.get(_digest(turned)) for turned in turns(image))
        return next(((first[0], True) for first in found if first is not None), (row, False))


def _digest(array: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).digest()


def counts_digest(image: NDArray[Any]) -> bytes:
    """Return a digest of how often each value occurs in an image, which no turn changes."""
    flat = image.ravel()
    return _digest(np.sort(flat) if image.dtype.kind == "f" else np.bincount(flat))


def turns(image: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the seven other symmetries of an image, shape (H, W) or (H, W, 3).

    >>> len({turned.tobytes() for turned in turns(np.array([[1, 2], [3, 4]]))})
    7
    """
    for quarter in range(4):
        turned = np.rot90(image, quarter)
        if quarter:
            yield turned
        yield turned[:, ::-1]


def surveyed(
    raw: RawPatches,
    name_of: NameOf,
    notes: list[str],
    *,
    given: float | None = None,
    stated: float | None = None,
) -> RawPatches:
    """Return a set with the range of its pixels and the copies of its pictures.

    Training images whose picture is in the data's own test part too are left out.

    Args:
        raw: Checked images.
        name_of: Maps a row to a name for messages.
        notes: Sentences on what was found are added here.
        given: Largest value of a pixel by the user, or None.
        stated: Largest value by the headers of the files, or None.

    Raises:
        DataError: If an image holds more than what is stated, or a pair with a baseline is in both the
            training part and the data's own test part.
    """
    survey = survey_images(raw.images)
    if (leaked := _leaked(survey, raw.is_test)).size:
        raw, name_of = _without(raw, leaked, name_of, notes)
        survey = survey_images(raw.images)
    dtype = raw.images.dtype
    max_value = range_in_use(survey, dtype, given=given, stated=stated, name_of=name_of, notes=notes)
    notes += duplicate_notes(survey, raw.labels, name_of)
    return replace(raw, max_value=max_value, duplicate_of=survey.duplicate_of)


def range_in_use(
    survey: ImageSurvey,
    dtype: np.dtype[Any],
    *,
    given: float | None,
    stated: float | None,
    name_of: NameOf,
    notes: list[str],
) -> float:
    """Decide which value is the brightest that an image of the set can hold.

    What the user gives wins, then what the files state. Else 8 bit images and floats use the whole range of
    their type, and 16 bit images that of the fewest bits, at least 8, that hold every value.

    Args:
        survey: Largest value of every image.
        dtype: Number type of the images.
        given: Largest value by the user, or None.
        stated: Largest value by the files' headers, or None.
        name_of: Maps a row to a name for messages.
        notes: Sentences on a range that is not the type's, and on odd images, are added here.

    Raises:
        DataError: If an image holds more than what is given, or floats are not to be scaled by 1.
    """
    full = FULL_RANGES[dtype.name]
    if given is not None:
        _check_range(survey, given, full, name_of)
        notes.append(f"pixel values: {given:g} is taken as the brightest (as given)")
        return given
    if stated is not None:
        found, why = stated, "as the files state it"
    else:
        found = float(bit_range(int(survey.largest.max()))) if dtype == np.uint16 else full
        why = f"since the largest is {survey.largest.max()}"
    if found != full:
        notes.append(
            f"pixel values: {found:g} of {full:g} is taken as the brightest, {why}; --max-value overrides"
        )
    if found == 255.0 and 0 < survey.largest.max() < 128:
        notes.append(
            f"pixel values: the largest of all images is {survey.largest.max()}, so they are dark; say "
            f"--max-value {bit_range(int(survey.largest.max()), least=1)} if that is white"
        )
    if dtype == np.uint16 and stated is None:
        notes += notes_on_ranges(survey.largest, found, name_of)
    return found


def notes_on_ranges(largest: NDArray[Any], found: float, name_of: NameOf) -> list[str]:
    """Return sentences on images of 16 bits that do not fill the range by which all are scaled.

    Args:
        largest: Largest value of each image whose file does not state its white, shape (N,).
        found: Value that counts as the white of all of them.
        name_of: Maps a row to a name for messages.
    """
    return _odd_images(largest, found, name_of) or _two_kinds(largest, found, name_of)


def _check_range(survey: ImageSurvey, stated: float, full: float, name_of: NameOf) -> None:
    if stated > full or (full == 1.0 and stated != 1.0):
        raise DataError(
            f"the images hold values from 0 to {full:g} by their number type, against --max-value "
            f"{stated:g}; give at most {full:g}, or leave that option out"
        )
    above = np.flatnonzero(survey.largest > stated)
    if len(above):
        raise DataError(
            f"{count_text(len(above), 'image')} of {len(survey.largest)} hold values above --max-value "
            f"{stated:g}, such as {name_of(int(above[0]))} with {survey.largest[above[0]]}; give the largest "
            "value that the images can hold, or leave those out"
        )


def _odd_images(largest: NDArray[Any], found: float, name_of: NameOf) -> list[str]:
    """Name the few images that alone make the range of the set as large as it is."""
    ranges = np.sort([bit_range(int(value)) for value in largest])
    usual = int(ranges[int(_USUAL_SHARE * (len(ranges) - 1))])
    odd = np.flatnonzero(largest > usual)
    if len(ranges) < 8 or not len(odd) or found < _ODD_FACTOR * usual:
        return []
    return [
        f"{count_text(len(odd), 'image')} of {len(ranges)} {'does' if len(odd) == 1 else 'do'} not fit "
        f"the range of the others, 0 to {usual}: {name_of(int(odd[0]))} holds {largest[odd[0]]}; "
        f"all are scaled by {found:g}, so the others are dark: leave {'it' if len(odd) == 1 else 'them'} "
        f"out, or save {'it' if len(odd) == 1 else 'them'} in their range"
    ]


def _two_kinds(largest: NDArray[Any], found: float, name_of: NameOf) -> list[str]:
    """Name the images of a far smaller range than the set's, where they are too many to be dark by chance."""
    ranges = np.array([bit_range(int(value)) for value in largest])
    few = np.flatnonzero(ranges <= found / _TWO_KINDS_FACTOR)
    if len(few) <= (1 - _USUAL_SHARE) * len(ranges):
        return []
    return [
        f"WARNING: {len(few)} of {len(ranges)} images hold at most {ranges[few].max()}, such as "
        f"{name_of(int(few[0]))}, and others up to {largest.max()}, as of two kinds of files; all are "
        f"scaled by {found:g}, so the former are dark, which may give classes away: save all in one range"
    ]


def duplicate_notes(survey: ImageSurvey, labels: IntArray, name_of: NameOf) -> list[str]:
    """Say which pictures are there more than once, and which of them carry two labels."""
    copies = np.flatnonzero(survey.first_copy != np.arange(len(labels)))
    if not len(copies):
        return []
    firsts = survey.first_copy[copies]
    pictures, turned = len(np.unique(firsts)), int(survey.is_turned.sum())
    how = f" ({count_text(turned, 'copy')} turned or mirrored)".replace("copys", "copies") if turned else ""
    notes = [
        f"{count_text(pictures, 'picture')} {'is' if pictures == 1 else 'are'} there more than once, in "
        f"{pictures + len(copies)} of {len(labels)} images{how}, such as {name_of(int(firsts[0]))} and "
        f"{name_of(int(copies[0]))}; they are kept in one part, with all images of their patients"
    ]
    torn = copies[labels[copies] != labels[survey.first_copy[copies]]]
    if len(torn):
        both = len(np.unique(survey.first_copy[torn]))
        notes.append(
            f"WARNING: {count_text(both, 'picture')} {'has' if both == 1 else 'have'} two labels, such as "
            f"{name_of(int(survey.first_copy[torn[0]]))} and {name_of(int(torn[0]))}; one of each must be "
            "wrong"
        )
    return notes


def _leaked(survey: ImageSurvey, is_test: BoolArray | None) -> IntArray:
    """Rows of the training part whose picture is in the data's own test part too."""
    if is_test is None:
        return np.array([], dtype=np.int64)
    in_both = np.isin(survey.first_copy, survey.first_copy[is_test]) & ~is_test
    return np.flatnonzero(in_both).astype(np.int64)


def _without(
    raw: RawPatches, leaked: IntArray, name_of: NameOf, notes: list[str]
) -> tuple[RawPatches, NameOf]:
    """Leave rows out of a set, and name its rows anew."""
    said = (
        f"{count_text(len(leaked), 'image')} of the training part {'is' if len(leaked) == 1 else 'are'} "
        f"in the test part too, such as {name_of(int(leaked[0]))}"
    )
    if raw.partners is not None:
        raise DataError(
            f"{said}; leave out one of each with its baseline, so that nothing is tested on what it saw"
        )
    notes.append(f"WARNING: {said}; left out of training, since a model would be tested on what it saw")
    kept = np.setdiff1d(np.arange(len(raw.labels)), leaked)
    file = None if raw.file is None else raw.file.with_name("kept.npy")
    changed = replace(
        raw,
        images=raw.images[kept] if file is None else _copied(raw.images, kept, file),
        labels=raw.labels[kept],
        patients=None if raw.patients is None else raw.patients[kept],
        is_test=None if raw.is_test is None else raw.is_test[kept],
        is_extra=None if raw.is_extra is None else raw.is_extra[kept],
        file=file,
        columns=take_rows(raw.columns, kept),
    )
    return changed, lambda row: name_of(int(kept[row]))


def _copied(images: PixelArray, rows: IntArray, file: Path) -> PixelArray:
    """Copy rows one by one to a file, and map it."""
    shape = (len(rows), *images.shape[1:])
    copy = np.lib.format.open_memmap(file, mode="w+", dtype=images.dtype, shape=shape)
    for place, row in enumerate(rows):
        copy[place] = images[row]
    copy.flush()
    return np.load(file, mmap_mode="r")
