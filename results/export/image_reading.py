"""Reading image files for prediction, in full depth, without OpenCV."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from results.errors import ExportError
from results.export.manifest import ModelInput

FORMATS: Final = ("PNG", "JPEG", "TIFF", "PPM", "BMP")
_AS_THEY_ARE: Final = ("L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L", "F")
_LUMA: Final = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_DEPTHS: Final = {255.0: "8 bits", 65535.0: "16 bits", 1.0: "floating-point values"}

# Changes to the pixels of a file, for the user: kind of change -> sentence without the file's name.
NOTES: Final = {
    "depth": "have another depth than the model's images and were rescaled",
    "grey": "are coloured; the model takes grey: their luma (ITU-R BT.601) was used",
    "colour": "are grey; the model takes colour: grey was copied to red, green and blue",
    "shallow": "have colour with 16 bits a channel, of which the upper 8 were read",
    "maxval": "state a largest value other than 255 or 65535 and were scaled from it",
    "alpha": "are partly transparent; their transparency was dropped",
}


@dataclass(frozen=True, slots=True)
class ReadImage:
    """An image in the form that the model takes.

    Attributes:
        pixels: Pixels in the model's own type and range, shape (H, W) or (H, W, 3).
        changes: Keys of `NOTES` for the changes that made the image fit.
    """

    pixels: NDArray[Any]
    changes: tuple[str, ...]


def read_image(path: Path, wanted: ModelInput) -> ReadImage:
    """Read one file and convert it to the channels, type and range of a model; its size stays.

    Args:
        path: PNG, JPEG, TIFF, PGM, PPM or BMP file, 8 or 16 bit; TIFF also with floats in [0, 1].
        wanted: Channels, type and range of the model's input.

    Raises:
        ExportError: If the file is missing, a folder, not an image, truncated, or holds several pages.
    """
    pixels, max_value, changes = _decode(path)
    if pixels.ndim == 3 and wanted.channels == 1:
        if not (pixels == pixels[:, :, :1]).all():
            changes.append("grey")
            pixels = pixels @ _LUMA
        else:
            pixels = pixels[:, :, 0]
    elif pixels.ndim == 2 and wanted.channels == 3:
        changes.append("colour")
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if max_value != wanted.max_value:
        changes.append("depth")
        pixels = pixels.astype(np.float64) * (wanted.max_value / max_value)
    if wanted.dtype == "int32" and pixels.dtype.kind == "f":
        pixels = np.rint(pixels)
    return ReadImage(pixels.astype(wanted.dtype), tuple(changes))


def _decode(path: Path) -> tuple[NDArray[Any], float, list[str]]:
    """Pixels as in the file, the value of white, and keys of `NOTES` for losses in decoding."""
    if path.is_dir():
        raise ExportError(f"{path} is a folder; name the image files in it, such as {path}/*.png")
    try:
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as image:
            # Large images are allowed; only those that Pillow takes for an attack are refused below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            _check_one_page(image, path)
            return _pixels(image, path)
    except FileNotFoundError as error:
        raise ExportError(f"there is no file {path}") from error
    except UnidentifiedImageError as error:
        raise ExportError(
            f"{path} is not an image that can be read; PNG, JPEG, TIFF, PGM and BMP can"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ExportError(f"{path} cannot be read whole ({error}); is it truncated?") from error


def _check_one_page(image: ImageFile.ImageFile, path: Path) -> None:
    pages = getattr(image, "n_frames", 1)
    if image.format == "TIFF" and pages > 1:
        raise ExportError(f"{path} holds {pages} pages; one image a file is needed: save them one by one")


def _pixels(image: ImageFile.ImageFile, path: Path) -> tuple[NDArray[Any], float, list[str]]:
    changes = _losses(image)
    plain = image if image.mode in _AS_THEY_ARE else image.convert(_plain_mode(image))
    array = np.asarray(plain)
    if plain.mode in ("LA", "RGBA"):
        if (array[..., -1] != 255).any():
            changes.append("alpha")
        array = array[..., 0] if plain.mode == "LA" else array[..., :3]
    return _DECODERS.get(plain.mode, _eight_bits)(array, path), _white(plain.mode), changes


def _losses(image: ImageFile.ImageFile) -> list[str]:
    """Losses and changes by Pillow in decoding; they can be detected only before the pixels are loaded."""
    layouts = [tile[3] for tile in image.tile]
    changes = []
    if image.mode.startswith("RGB") and any(";16" in str(layout) for layout in layouts):
        changes.append("shallow")
    # Pillow decodes such a PGM pixel by pixel and scales it; for 255 and 65535 it copies bytes.
    if image.format == "PPM" and any(
        isinstance(one, tuple) and isinstance(one[-1], int) and one[-1] not in (0, 1, 255, 65535)
        for one in layouts
    ):
        changes.append("maxval")
    return changes


def _plain_mode(image: Image.Image) -> str:
    if image.mode == "1":
        return "L"
    return "RGBA" if "transparency" in image.info else "RGB"


def _white(mode: str) -> float:
    if mode == "F":
        return 1.0
    return 65535.0 if mode.startswith("I") else 255.0


def _eight_bits(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.dtype != np.uint8:
        raise ExportError(f"{path} has pixels of type {array.dtype}; 8 and 16 bit images can be read")
    return array


def _sixteen_bits(array: NDArray[Any], path: Path) -> NDArray[Any]:
    values = array.astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ExportError(
            f"{path} holds values from {values.min()} to {values.max()}; 16 bit images hold 0 to 65535"
        )
    return values


def _floats(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if not ((array >= 0) & (array <= 1)).all():
        raise ExportError(f"{path} holds floating-point values outside [0, 1]; scale them first")
    return array


_DECODERS: Final[dict[str, Callable[[NDArray[Any], Path], NDArray[Any]]]] = {
    "I": _sixteen_bits,
    "I;16": _sixteen_bits,
    "I;16B": _sixteen_bits,
    "I;16L": _sixteen_bits,
    "F": _floats,
}
