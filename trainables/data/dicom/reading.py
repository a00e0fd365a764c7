"""The one reader of DICOM files: the pixels that a person is shown, and what is known about them.

Black is 0 in all of them: tables, windows and MONOCHROME1 are applied. What is meant for processing only,
such as the raw image of a detector, is refused unless it is asked for, since nobody is shown it.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.data.dicom.decoding import (
    DEFLATED,
    IMPLICIT,
    LARGEST_PIXELS,
    DecodingError,
    DicomError,
    check_inflated,
    stored_values,
)
from trainables.data.dicom.headers import DicomHeader, header_of
from trainables.data.dicom.presentation import GreyFrom, shown

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = [
    "DicomError",
    "DicomHeader",
    "DicomImage",
    "ForProcessingError",
    "is_dicom",
    "read_dicom",
    "read_headers",
]

_PREAMBLE: Final = 132  # bytes up to the end of the letters DICM
_VALUE_TYPES: Final = frozenset({b"UI", b"CS", b"UL", b"SH", b"LO", b"DA", b"TM", b"IS", b"AE", b"OB"})
_LONGEST_FIRST: Final = 256  # bytes of the first value of a file without a preamble
_LONGEST_META: Final = 1024  # bytes of a file in which its transfer syntax stands


class ForProcessingError(DicomError):
    """An image whose pixels are meant for further processing, where these are not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomImage(DicomHeader):
    """One frame of a DICOM file as a person is shown it, with the facts of its header.

    Attributes:
        pixels: uint8 or uint16, contiguous, shape (H, W), or (H, W, 3) in RGB order; 0 is black.
        max_value: Value of white, such as 255, 4095 or 65535: that of the stored bits or of the grey table.
        frame: Number of the frame, 0-based.
        grey_from: `lut` where a grey table was applied, `window` for a window, `stored` for neither.
    """

    pixels: NDArray[Any]
    max_value: int
    frame: int
    grey_from: GreyFrom

    @property
    def stated_max(self) -> int | None:
        """Value of white where the file says it; None where it is the end of the number type alone.

        Many programs write 8 or 16 stored bits whatever the detector gives, so that greys which come as they
        are stored say nothing about white.
        """
        is_of_type = self.max_value == 255 or (self.max_value == 65535 and self.grey_from == "stored")
        return None if is_of_type else self.max_value


def is_dicom(path: Path) -> bool:
    """True for a file that is DICOM by its content; many have no suffix, and some no preamble.

    Args:
        path: Any path; False for what is missing or cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return is_dicom_content(file.read(_PREAMBLE))
    except OSError:
        return False


def is_dicom_content(content: bytes) -> bool:
    """True for content that begins as a DICOM file does, with a preamble or straight with group 2 or 8."""
    if content[128:132] == b"DICM":
        return True
    group, length = content[:2], int.from_bytes(content[4:8], "little")
    if group not in (b"\x08\x00", b"\x02\x00") or content[3:4] != b"\x00":
        return False
    return content[4:6] in _VALUE_TYPES or (group == b"\x08\x00" and 0 < length <= _LONGEST_FIRST)


def read_headers(path: Path) -> DicomHeader:
    """Read what the header of a file says; its pixels are not read.

    Raises:
        DicomError: If the file is missing, no DICOM file, or damaged.
    """
    with _quiet():
        return header_of(_opened(path, has_pixels=False))


def read_dicom(path: Path, *, frame: int = 0, allow_for_processing: bool = False) -> DicomImage:
    """Read one frame as a person is shown it.

    Args:
        path: DICOM file, uncompressed or as RLE, JPEG, lossless JPEG, JPEG-LS, JPEG 2000 or HTJ2K.
        frame: Number of the frame, 0-based.
        allow_for_processing: Read images whose pixels are meant for further processing, too.

    Raises:
        ForProcessingError: If it is meant for processing only, and that is not allowed.
        DicomError: If the file is missing, damaged or holds no such frame, or has more pixels than are read.
    """
    with _quiet():
        dataset = _opened(path, has_pixels=True)
        header = header_of(dataset)
        _check(path, header, frame, allow_for_processing=allow_for_processing)
        try:
            image = shown(stored_values(dataset, frame), dataset)
        except DecodingError as error:
            raise DicomError(f"{path} {error}") from error
        except MemoryError as error:
            raise DicomError(f"{path} needs more memory than there is; save it smaller") from error
    facts = {field.name: getattr(header, field.name) for field in fields(DicomHeader)}
    return DicomImage(
        pixels=np.ascontiguousarray(image.pixels),
        max_value=image.max_value,
        frame=frame,
        grey_from=image.grey_from,
        **facts,
    )


def _check(path: Path, header: DicomHeader, frame: int, *, allow_for_processing: bool) -> None:
    if 0 in (header.rows, header.columns):
        raise DicomError(f"{path} holds no image ({header.modality or 'no modality'}); leave it out")
    if header.rows * header.columns > LARGEST_PIXELS:
        raise DicomError(
            f"{path} states {header.columns}x{header.rows} pixels, more than {LARGEST_PIXELS / 1e6:.0f} "
            "million; cut it into patches, or save it smaller"
        )
    if header.presentation == "processing" and not allow_for_processing:
        raise ForProcessingError(
            f"{path} is FOR PROCESSING, the raw image of a detector that nobody is shown; take the FOR "
            "PRESENTATION image of the same view"
        )
    if not 0 <= frame < header.frames:
        raise DicomError(f"{path} has {header.frames} frame(s), numbered from 0; frame {frame} is not there")


def _opened(path: Path, *, has_pixels: bool) -> "FileDataset":
    from pydicom import dcmread
    from pydicom.uid import UID

    if not path.is_file():
        raise DicomError(f"there is no file {path}")
    if not is_dicom(path):
        raise DicomError(f"{path} is not a DICOM file")
    try:
        if has_pixels:
            with path.open("rb") as file:
                is_deflated = DEFLATED.encode() in file.read(_LONGEST_META)
            if is_deflated:
                check_inflated(path.read_bytes())
            dataset = dcmread(path, force=True)
        else:
            dataset = dcmread(path, force=True, stop_before_pixels=True)
        meta = dataset.file_meta
        if "TransferSyntaxUID" not in meta:
            meta.TransferSyntaxUID = UID(IMPLICIT)  # what a file without a preamble is written in
    except DecodingError as error:
        raise DicomError(f"{path} {error}") from error
    except Exception as error:  # pydicom has many error types for damaged files and no common one
        raise DicomError(f"{path} cannot be read whole ({error}); is it truncated?") from error
    if len(dataset) == 0:  # pydicom drops all that it has read when a file ends within its pixel data
        raise DicomError(f"{path} is truncated: it ends within its pixel data; fetch it again")
    return dataset


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence pydicom about values that are not used; what matters becomes an error here."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
