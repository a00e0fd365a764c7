"""Stored values of a DICOM image as the grey values that a person is shown, by one table of all values.

Modality table or rescaling, then the first VOI table or window, then MONOCHROME1 turned over (DICOM PS3.3
C.11.1, C.11.2). A table over at most 65,536 stored values costs the same for any image, and no pixel
becomes a floating-point number on the way.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainables.common.types import FloatArray
from trainables.data.dicom.decoding import DecodingError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

GreyFrom: TypeAlias = Literal["lut", "window", "stored"]
_OVERLAY_BIT: Final = 0x60000102  # retired: an overlay in bits above the stored ones


@dataclass(frozen=True, slots=True)
class Shown:
    """Pixels as shown: black is 0 and white is `max_value`; and where their greys come from."""

    pixels: NDArray[Any]
    max_value: int
    grey_from: GreyFrom


def shown(values: NDArray[Any], dataset: "Dataset") -> Shown:
    """Turn stored values into what a person is shown.

    Args:
        values: Stored values, uint8, uint16 or int16; shape (H, W) or (H, W, 3).
        dataset: Header of the image.

    Raises:
        DecodingError: If values lie outside the stated bits, or tables are malformed.
    """
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if photometric == "PALETTE COLOR":
        return _palette(values, dataset)
    if values.ndim == 3:
        return Shown(_red_green_blue(values, photometric, dataset), 255, "stored")
    if not photometric.startswith("MONOCHROME"):
        raise DecodingError(f"has one value a pixel and the colour space {photometric}; leave it out")
    bits = int(dataset.get("BitsStored", 0) or values.dtype.itemsize * 8)
    is_signed = bool(int(dataset.get("PixelRepresentation", 0) or 0))
    values, low = _in_bits(values, dataset, bits, is_signed=is_signed)
    stored = np.arange(low, low + (1 << bits))
    table, max_value, grey_from = _table(stored, dataset, bits, is_signed=is_signed)
    if photometric == "MONOCHROME1":
        table = max_value - table
    kind = np.dtype(np.uint8 if max_value <= 255 else np.uint16)
    table = table.astype(kind)
    if low == 0 and values.dtype == kind and np.array_equal(table, stored):
        return Shown(values, max_value, grey_from)
    return Shown(np.take(table, values.astype(np.int32) - low if low else values), max_value, grey_from)


def _in_bits(
    values: NDArray[Any], dataset: "Dataset", bits: int, *, is_signed: bool
) -> tuple[NDArray[Any], int]:
    """Values within the stated bits, and the lowest that they may have; others are refused."""
    allocated = values.dtype.itemsize * 8
    if not 1 <= bits <= allocated:
        raise DecodingError(f"states {bits} of {allocated} bits a value; leave it out")
    shift = int(dataset.get("HighBit", bits - 1)) - (bits - 1)
    if 0 < shift <= allocated - bits:
        values = values >> shift
    if _OVERLAY_BIT in dataset and not is_signed:
        values = values & ((1 << bits) - 1)
    if is_signed and values.dtype.kind == "u":
        unused = allocated - bits
        signed = np.dtype(f"i{values.dtype.itemsize}")
        values = np.right_shift(np.left_shift(values, unused).view(signed), unused)
    low = -(1 << (bits - 1)) if is_signed else 0
    if bits == allocated:
        return values, low
    least, largest = (int(values.min()) if is_signed else 0), int(values.max())
    if least < low or largest >= low + (1 << bits):
        raise DecodingError(
            f"holds values from {least} to {largest}, which {bits} stored bits cannot hold; leave it out"
        )
    return values, low


def _table(
    stored: NDArray[np.int64], dataset: "Dataset", bits: int, *, is_signed: bool
) -> tuple[NDArray[np.int64], int, GreyFrom]:
    """Grey of every stored value, the largest grey, and where the greys come from."""
    real, real_bits = _modality(stored, dataset, bits)
    sequence = dataset.get("VOILUTSequence")
    if sequence:
        found, found_bits = _looked_up(real, sequence[0], is_signed=is_signed)
        return found, (1 << found_bits) - 1, "lut"
    white = (1 << real_bits) - 1
    window = _window(dataset)
    if window is not None:
        return np.rint(_windowed(real, *window, _function(dataset)) * white).astype(np.int64), white, "window"
    if "ModalityLUTSequence" in dataset:
        return np.rint(real).astype(np.int64), white, "lut"
    # Rescaling alone changes no order but by its sign, and the stored bits are kept.
    is_falling = real[0] > real[-1]
    return (stored[-1] - stored) if is_falling else (stored - stored[0]), white, "stored"


def _modality(stored: NDArray[np.int64], dataset: "Dataset", bits: int) -> tuple[FloatArray, int]:
    sequence = dataset.get("ModalityLUTSequence")
    if sequence:
        found, found_bits = _looked_up(stored.astype(np.float64), sequence[0], is_signed=bool(stored[0] < 0))
        return found.astype(np.float64), found_bits
    slope = _real(dataset.get("RescaleSlope"), 1.0) or 1.0
    return stored * slope + _real(dataset.get("RescaleIntercept"), 0.0), bits


def _looked_up(values: FloatArray, item: "Dataset", *, is_signed: bool) -> tuple[NDArray[np.int64], int]:
    """Values through one table of a sequence, and the bits of what it holds."""
    try:
        count, first, bits = (int(number) for number in item.LUTDescriptor)
        content = item.LUTData
        entries = (
            np.frombuffer(content, "<u2") if isinstance(content, bytes) else np.atleast_1d(content)
        ).astype(np.int64)
    except (AttributeError, TypeError, ValueError) as error:
        raise DecodingError(f"has a grey table that cannot be read ({error}); leave it out") from error
    count = count or 1 << 16
    if is_signed and first >= 1 << 15:
        first -= 1 << 16
    if len(entries) == (count + 1) // 2 and bits <= 8:  # two entries in each word
        entries = np.frombuffer(entries.astype("<u2").tobytes(), np.uint8).astype(np.int64)
    if not 1 <= bits <= 16 or len(entries) < count or entries[:count].max(initial=0) >= 1 << bits:
        raise DecodingError(f"has a grey table of {len(entries)} entries, {count} stated; leave it out")
    places = np.clip(np.rint(values) - first, 0, count - 1).astype(np.int64)
    return entries[places], bits


def _window(dataset: "Dataset") -> tuple[float, float] | None:
    """Centre and width of the first window; None without one that can be used."""
    centre, width = _real(dataset.get("WindowCenter"), None), _real(dataset.get("WindowWidth"), None)
    if centre is None or width is None or width <= 0:
        return None
    return centre, width


def _function(dataset: "Dataset") -> str:
    return str(dataset.get("VOILUTFunction") or "LINEAR").upper()


def _windowed(values: FloatArray, centre: float, width: float, function: str) -> FloatArray:
    """Greys in [0, 1] of values in a window (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width <= 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _real(value: Any, default: Any) -> Any:
    """The first number of a value; `default` without one that is finite."""
    if value is not None and not isinstance(value, (str, bytes)) and hasattr(value, "__len__"):
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return number if np.isfinite(number) else default


def _red_green_blue(values: NDArray[Any], photometric: str, dataset: "Dataset") -> NDArray[np.uint8]:
    """Colour as red, green and blue of 8 bits; decoders of JPEG have turned theirs already."""
    if values.dtype != np.uint8:
        raise DecodingError("has colour of more than 8 bits, as no breast image has; save it with 8 bits")
    is_jpeg = str(dataset.file_meta.TransferSyntaxUID).startswith("1.2.840.10008.1.2.4.5")
    if photometric not in ("YBR_FULL", "YBR_FULL_422") or is_jpeg:
        return values
    from pydicom.pixels import convert_color_space

    return np.asarray(convert_color_space(values, "YBR_FULL", "RGB"), dtype=np.uint8)


def _palette(values: NDArray[Any], dataset: "Dataset") -> Shown:
    from pydicom.pixels import apply_color_lut

    try:
        coloured = np.asarray(apply_color_lut(values, dataset))
        bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
    except Exception as error:  # pydicom has many error types for malformed tables and no common one
        raise DecodingError(f"has colour tables that cannot be read ({error}); leave it out") from error
    if bits > 8:
        coloured = coloured >> (bits - 8)
    return Shown(coloured[..., :3].astype(np.uint8), 255, "lut")
