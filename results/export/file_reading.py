"""Reading of files in the form that the model of a bundle takes, and what was done to them for it."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray
from PIL import ExifTags, Image

from results.errors import ExportError
from results.export.exported_model import Bundle
from results.export.image_reading import NOTES, ReadImage, read_image
from results.export.likeness import UNLIKE_NOTES, too_unlike, unlike
from results.export.model_input import ModelInput
from results.export.view_and_side import NOT_STATED, Stated

_LYING: Final = (5, 6, 7, 8)  # orientations of EXIF whose rows are columns


def read_for(bundle: Bundle, path: Path, stated: Stated = NOT_STATED) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read an image file in the form that a model takes.

    Args:
        bundle: The opened model.
        path: The file.
        stated: View and side of a mammogram; what it leaves open is read from the file.

    Returns:
        Its pixels, shape (H, W) or (H, W, 3), and a key for each change that made it fit; `sentence_of` says
        it in words.

    Raises:
        ExportError: If the file cannot be read, or is too unlike the training images in size.
    """
    read = read_with_place(bundle, path, stated)
    return read.pixels, read.changes


def read_with_place(bundle: Bundle, path: Path, stated: Stated = NOT_STATED) -> ReadImage:
    """Read an image file as `read_for` does, with the place of a prepared mammogram in its file.

    Args:
        bundle: The opened model.
        path: The file.
        stated: View and side of a mammogram; what it leaves open is read from the file.

    Raises:
        ExportError: If the file cannot be read, or is too unlike the training images in size.
    """
    wanted, steps = bundle.manifest.input, bundle.preparation
    _check_file(path)
    with warnings.catch_warnings():  # what Pillow takes for an attack is refused by its size below
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        # A whole film is far larger than what it is made into, and older bundles know no more than that.
        if steps is None or wanted.from_files is not None:
            _check_size(path, _size_in_header(path), wanted)
        read = read_image(path, wanted, steps, stated)
    compared = read.pixels.shape[:2] if wanted.from_files is None else read.file_px
    _check_size(path, compared, wanted)
    bundle.check(read.pixels, str(path))
    changes = (*read.changes, *unlike(compared, wanted.trained_shape, wanted.from_files))
    if wanted.resized is None and read.pixels.shape[:2] != tuple(wanted.trained_shape[:2]):
        changes = (*changes, "resized")
    return replace(read, changes=changes)


def sentence_of(change: str) -> str:
    """Return in words what was done to files, or is unusual about them, without their names."""
    return (NOTES | UNLIKE_NOTES)[change]


def _check_file(path: Path) -> None:
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ExportError(f"{path} is a pipe or a device; save the image as a file first")


def _size_in_header(path: Path) -> tuple[int, ...]:
    """Height and width as the file states them, before its pixels are read; nothing if it states none."""
    try:
        with Image.open(path) as image:
            lies = image.getexif().get(ExifTags.Base.Orientation, 1) in _LYING
            return (image.width, image.height) if lies else (image.height, image.width)
    except Exception:  # of any reader; the one that reads the pixels says what is wrong
        return ()


def _check_size(path: Path, size: Sequence[int], wanted: ModelInput) -> None:
    is_known = bool(size) and min(size) > 0
    if is_known and (reason := too_unlike(size, wanted.trained_shape, wanted.from_files)):
        raise ExportError(f"{path} is unlike the training images: {reason}")
