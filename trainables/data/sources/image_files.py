"""Reading of image files into one array: PNG, JPEG, TIFF, PGM and BMP, 8 or 16 bit, grey or RGB."""

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainables.common.errors import DataError
from trainables.data.patches import PixelArray
from trainables.data.sources.checks import is_grey

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".pgm", ".bmp"})
# Before version 5 OpenCV silently fills the missing part of a truncated PNG or JPEG with grey; for others it
# prints its own lines. Pillow raises. TIFF is left to OpenCV, since Pillow cannot read 16-bit RGB TIFF.
_CHECKED_BY_PILLOW: Final = SUFFIXES - {".tif", ".tiff"}


def read_images(files: Sequence[Path], notes: list[str]) -> PixelArray:
    """Read image files into one array.

    All images get the most frequent shape; the others are resized by area averaging. If every image is grey
    the array is grey, even where files are stored as RGB with equal channels; otherwise it is RGB.

    Args:
        files: Paths, at least one.
        notes: Sentences on every conversion are added here.

    Returns:
        Images, uint8 or uint16, shape (N, H, W) or (N, H, W, 3), in the order of `files`.

    Raises:
        DataError: If a file cannot be read whole, or if 8- and 16-bit images are mixed.
    """
    images = [read_image(file) for file in files]
    _check_depth(images, files)
    _settle_channels(images, notes)
    height, width = _common_shape(images)
    stacked = np.empty((len(images), height, width, *images[0].shape[2:]), images[0].dtype)
    resized = 0
    for row, image in enumerate(images):
        is_odd = image.shape[:2] != (height, width)
        resized += is_odd
        stacked[row] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) if is_odd else image
    if resized:
        be = "is not {0}x{1} and was resized" if resized == 1 else "are not {0}x{1} and were resized"
        notes.append(f"{resized} of {len(images)} images {be.format(height, width)}")
    return stacked


def read_image(path: Path) -> NDArray[Any]:
    """Read one image; shape (H, W), or (H, W, 3) in RGB order; alpha is dropped.

    Raises:
        DataError: If the file is missing, truncated, not an image, or neither 8 nor 16 bit.
    """
    try:
        content = path.read_bytes()
        if path.suffix.lower() in _CHECKED_BY_PILLOW:
            _check_whole(content)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise DataError(f"{path} cannot be read as an image ({error}); replace it or remove it") from error
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if image is None:
        raise DataError(f"{path} cannot be read as an image; it is damaged or empty: replace it or remove it")
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path} holds {image.dtype} pixels; save it with 8 or 16 bits")
    return np.ascontiguousarray(image[..., 2::-1]) if image.ndim == 3 else image


def _check_whole(content: bytes) -> None:
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    with Image.open(io.BytesIO(content)) as image:  # verify leaves an image that cannot be loaded
        image.load()


def _check_depth(images: Sequence[NDArray[Any]], files: Sequence[Path]) -> None:
    first = {
        image.dtype.itemsize * 8: file for image, file in zip(reversed(images), reversed(files), strict=True)
    }
    if len(first) > 1:
        raise DataError(
            f"8- and 16-bit images are mixed: {first[8]} has 8 bits, {first[16]} has 16; "
            "save all images with the same depth"
        )


def _settle_channels(images: list[NDArray[Any]], notes: list[str]) -> None:
    """Make all images grey or all RGB, in place."""
    colour = [image.ndim == 3 for image in images]
    if any(image.ndim == 3 and not is_grey(image) for image in images):
        images[:] = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
        if not all(colour):
            notes.append(
                f"{colour.count(False)} of {len(images)} images are grey and were copied to three channels"
            )
    elif any(colour):
        images[:] = [np.ascontiguousarray(image[..., 0]) if image.ndim == 3 else image for image in images]
        notes.append(
            f"{colour.count(True)} of {len(images)} images are stored as RGB with equal channels "
            "and are read as grey"
        )


def _common_shape(images: Sequence[NDArray[Any]]) -> tuple[int, int]:
    """The most frequent height and width; the largest of equally frequent ones."""
    counts = Counter(image.shape[:2] for image in images)
    height, width = max(counts, key=lambda shape: (counts[shape], shape))
    return height, width
