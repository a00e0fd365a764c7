"""Pixels of a film of DDSM as it was published: lossless JPEG whose header cannot be trusted.

Some films state height and width exchanged in their JPEG header, and values with their two bytes exchanged.
The `.ics` file beside them has the size; the order of bytes is the one in which neighbours are alike.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.data.collections.ddsm_case import Film, read_case
from trainables.data.dicom.decoding import DecodingError, lossless_jpeg

SUFFIX: Final = ".ljpeg"


def read_film(file: Path) -> tuple[NDArray[Any], float | None]:
    """Read one film.

    Args:
        file: Such as `B_3024_1.LEFT_CC.LJPEG`, with the `.ics` file of its case beside it.

    Returns:
        uint8 or uint16 of shape (H, W) with the size of the `.ics` file, black at 0, and the value of white
        by the bits that it states, or None where the values go beyond them.

    Raises:
        DataError: If it is damaged, is not as large as stated, or its `.ics` file is not there.
    """
    stated = _stated(file)
    try:
        values = lossless_jpeg(file.read_bytes())
    except DecodingError as error:
        raise DataError(f"{file} {error}") from error
    if values.size != stated.rows * stated.columns:
        raise DataError(
            f"{file} has {values.shape[1]}x{values.shape[0]} pixels, and its .ics file says "
            f"{stated.columns}x{stated.rows}; fetch both again"
        )
    values = values.reshape(stated.rows, stated.columns)
    if values.dtype.itemsize == 2:
        values = _in_order(values)
    white = (1 << stated.bits) - 1
    return values, float(white) if 0 < int(values.max()) <= white else None


def _stated(file: Path) -> Film:
    """What the header of the case says about a film."""
    for header in sorted(file.parent.glob("*.ics")):
        if not file.name.upper().startswith(header.stem.upper().replace("-", "_") + "."):
            continue
        for film in read_case(header).films:
            if f".{film.view}." in file.name.upper():
                return film
    raise DataError(f"{file} has no .ics file beside it that states its size; fetch that, too")


def _in_order(values: NDArray[Any]) -> NDArray[Any]:
    """Values with their bytes exchanged where neighbours along rows then differ by less than half as much."""
    swapped = values.byteswap()
    return swapped if 2 * _roughness(swapped) < _roughness(values) else values


def _roughness(values: NDArray[Any]) -> float:
    rows = values[:: max(1, len(values) // 256)].astype(np.int32)
    return float(np.abs(np.diff(rows, axis=1)).mean())
