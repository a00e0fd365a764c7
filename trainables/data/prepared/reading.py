"""Pixels of one example, from an image file, a DICOM file, or one row of a file of arrays."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.data.collections.ddsm_film import SUFFIX as LJPEG
from trainables.data.collections.ddsm_film import read_film
from trainables.data.dicom.reading import DicomImage, is_dicom, read_dicom
from trainables.data.image_files import SUFFIXES, DecodedImage, ImageFileError, decode_image, is_grey
from trainables.data.pixel_range import FULL_RANGES
from trainables.data.prepared.plain_png import decode_plain_png

# Of what is read from files: whatever changes pixels, or facts by more than a rounded pixel, changes it.
READERS: Final = 2
_PLAIN: Final = SUFFIXES - {".dcm", ".dicom"}  # not asked whether they are DICOM, which takes a second look
_TYPES: Final = frozenset(np.dtype(name) for name in FULL_RANGES)
_ARRAYS: Final = frozenset({".npy", ".npz"})


@dataclass(frozen=True, slots=True)
class Read:
    """Pixels with what their file says about them.

    Attributes:
        pixels: uint8 or uint16, black is 0 unless `is_inverted`; shape (H, W) or (H, W, 3).
        stated_max: Brightest value by the file, where it is not that of the number type; else None.
        spacing_mm: Height and width of a pixel in millimetres, or None.
        facts: What the file says for the table, such as `vendor`; column -> text or number.
        identifying: Names of the tags of the file that identify a person and are filled.
        is_inverted: True where 0 is white and the pixels are not turned over, since that needs the range of
            the whole set; True for TIFF files of 16 bits alone.
        frames: Number of frames or rows that the file holds.
    """

    pixels: NDArray[Any]
    stated_max: float | None = None
    spacing_mm: tuple[float, float] | None = None
    facts: Mapping[str, str | float] = field(default_factory=dict)
    identifying: tuple[str, ...] = ()
    is_inverted: bool = False
    frames: int = 1

    def check_black(self, file: Path) -> None:
        """Refuse an image in which 0 is white, where what is done to it tells tissue from background.

        Raises:
            ImageFileError: If it is such an image.
        """
        if self.is_inverted:
            raise ImageFileError(
                f"{file} is a TIFF of 16 bits in which 0 is white, and does not state which value is black; "
                "save it so that 0 is black"
            )


def read_example_pixels(file: Path, frame: int, *, allows_for_processing: bool = False) -> Read:
    """Read the pixels of one example.

    Args:
        file: DICOM or other image file, a film of DDSM (`.LJPEG`), or `.npy` and `.npz` with one image a row.
        frame: Frame or row, 0-based.
        allows_for_processing: Read DICOM images whose pixels are meant for further processing, too.

    Raises:
        DataError: If it cannot be read; the message names the file and says why.
    """
    suffix = file.suffix.lower()
    if suffix in _ARRAYS:
        return Read(_plain_depth(_row_of(file, frame), file), frames=len(_images_of(file)))
    if suffix == LJPEG and not frame:
        return Read(*read_film(file))
    if suffix not in _PLAIN and is_dicom(file):
        return _of_dicom(read_dicom(file, frame=frame, allow_for_processing=allows_for_processing))
    if frame:
        raise ImageFileError(f"{file} has no frame {frame}; it holds one image")
    plain = decode_plain_png(file) if suffix == ".png" else None
    image = decode_image(file) if plain is None else DecodedImage(plain)
    pixels = image.pixels
    if pixels.ndim == 3 and is_grey(pixels):
        pixels = np.ascontiguousarray(pixels[..., 0])
    return Read(_plain_depth(pixels, file), image.stated_max, is_inverted=image.is_inverted)


def may_name_patient(file: Path) -> bool:
    """True for a file that may say itself whose image it is, which DICOM files alone do."""
    return file.suffix.lower() not in _PLAIN | _ARRAYS | {LJPEG} and is_dicom(file)


def files_beside(file: Path) -> tuple[Path, ...]:
    """Files that the pixels of an example follow from besides its own: the headers beside a film of DDSM."""
    if file.suffix.lower() != LJPEG:
        return ()
    return tuple(sorted(one for one in file.parent.glob("*.*") if one.suffix.lower() == ".ics"))


def _of_dicom(image: DicomImage) -> Read:
    """Pixels and facts; of the header nothing else is taken along."""
    white = None if image.stated_max is None else float(image.stated_max)
    known = {
        "patient": image.patient,
        "exam": image.study_uid,
        "laterality": image.laterality,
        "view": image.view,
        "vendor": image.vendor,
        "machine": image.model,
        "age_years": image.age_years,
        "kind": image.kind,
        "presentation": image.presentation,
    }
    facts = {name: value for name, value in known.items() if value is not None}
    return Read(image.pixels, white, image.spacing_mm, facts, image.identifying, frames=image.frames)


def _row_of(file: Path, row: int) -> NDArray[Any]:
    images = _images_of(file)
    if row >= len(images):
        raise DataError(f"{file} has no row {row}; it holds {len(images)}")
    return np.asarray(images[row])


@functools.lru_cache(maxsize=2)
def _images_of(file: Path) -> NDArray[Any]:
    if file.suffix.lower() == ".npz":
        from trainables.data.sources.npz_arrays import (
            read_arrays,
        )  # brings OpenCV, which predictions do without

        return _small_integers(read_arrays(file, []).images)
    return _small_integers(np.load(file, mmap_mode="r", allow_pickle=False))


def _small_integers(images: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers of another type or byte order in 8 or 16 bits, as a search reads them; all else stays.

    The range of all rows says in which.
    """
    if images.dtype in _TYPES or images.dtype.kind not in "iu":
        return images
    if images.dtype.kind == "u" and images.dtype.itemsize <= 2:
        return images.astype(images.dtype.newbyteorder("="))
    low, high = images.min(initial=0), images.max(initial=0)
    if low < 0 or high > 65535:
        return images
    return images.astype(np.uint8 if high <= 255 else np.uint16)


def _plain_depth(pixels: NDArray[Any], file: Path) -> NDArray[Any]:
    """Bring floats in [0, 1] to 16 bits; the other types stay."""
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype.kind == "f":
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise DataError(f"{file} holds floating-point values outside [0, 1]; scale them first")
        return np.rint(pixels * 65535.0).astype(np.uint16)
    if pixels.dtype not in _TYPES:
        raise DataError(f"{file} holds {pixels.dtype} values; 8 and 16 bits without a sign can be used")
    return pixels
