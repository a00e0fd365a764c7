"""Reading image files for prediction: the pixels that a search would see, in the form that a model takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.errors import ExportError
from results.export.model_input import ModelInput
from results.export.view_and_side import NOT_STATED, Stated, lacking
from results.relevance.frame import Frame
from results.relevance.place_in_file import PlaceInFile
from trainables.common.errors import DataError
from trainables.data.declared_whites import in_words
from trainables.data.dicom.reading import ForProcessingError, read_dicom
from trainables.data.image_files import DecodedImage, check_one_frame, decode_image, is_grey
from trainables.data.mammogram.preparation import Preparation, PreparationError, Prepared, prepare
from trainables.data.pixel_range import FULL_RANGES, bit_range, to_range
from trainables.data.prepared.reading import read_example_pixels
from trainables.data.resizing import resize

_LUMA: Final = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_EIGHT_BITS: Final = FULL_RANGES["uint8"]
_SIXTEEN_BITS: Final = FULL_RANGES["uint16"]
_FAR_DARKER: Final = 4  # two bits, by which detectors differ; less is a dark image

# Changes to the pixels of a file, for the user: kind of change -> sentence without the file's name.
NOTES: Final = {
    "depth": "have another depth than the model's images and were rescaled",
    "grey": "are coloured; the model takes grey: their luma (ITU-R BT.601) was used",
    "colour": "are grey; the model takes colour: grey was copied to red, green and blue",
    "maxval": "state a largest value other than the model's and were scaled from it",
    "white": "have 16 bits and do not state which value is white, and were scaled from that of such training "
    "images",
    "inverted": "are TIFFs in which 0 is white and were turned over",
    "cut": "are larger than the model's images at their scale; what goes beyond was cut",
    "view": "state no view, by which the pectoral muscle is removed, and were taken for oblique ones; say it "
    "with --view, or for predict in the table of units",
    "no_breast": "show no breast that could be found, and were kept whole",
    "spacing": "do not state the spacing of their pixels, and were taken to have the one that the steps "
    "declare",
    "dark": "have 16 bits, do not state which value is white, and reach a quarter of the one that was taken "
    "or less; save those of a smaller range in a format that states it, such as PGM",
    "side": "show no chest wall and state no side of the breast, and were turned by their brighter half; say "
    "it with --laterality, or for predict in the table of units",
    "resized": "have another size than the model's training images, and are resized within the model, since "
    "it is not known how those came to theirs",
    "alpha": "are partly transparent; their transparency was dropped",
}


@dataclass(frozen=True, slots=True)
class ReadImage:
    """An image in the form that the model takes.

    Attributes:
        pixels: Pixels in the model's own type and range, shape (H, W) or (H, W, 3).
        changes: Keys of `NOTES` for the changes that made the image fit.
        place: Where the pixels of an image that was made ready or resized lie in its file; None where they
            are the file's own.
        file_px: Height and width of the image in its file.
    """

    pixels: NDArray[Any]
    changes: tuple[str, ...]
    place: PlaceInFile | None
    file_px: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _MadeReady(DecodedImage):
    """A whole mammogram made ready, its place in the film, and the film's height and width."""

    place: PlaceInFile
    file_px: tuple[int, int]


def read_image(
    path: Path, wanted: ModelInput, preparation: Preparation | None = None, stated: Stated = NOT_STATED
) -> ReadImage:
    """Read one file and convert it to the channels, type, range and size that the training images have.

    Its size stays where it is not known how training images came to theirs.
    Files of the kind that the model was searched on get the pixels that the search saw, since one reader
    serves both. OpenCV is needed for colour of 16 bits a channel only.

    Args:
        path: DICOM, PNG, JPEG, TIFF, PGM, PPM or BMP file, 8 or 16 bit; for a model of floats also TIFF
            of floats.
        wanted: Channels, type and range of the model's input.
        preparation: Steps by which images are made ready for the model; None for none.
        stated: View and side of a mammogram; what it leaves open is read from the file.

    Raises:
        ExportError: If the file is missing, a folder, not an image, truncated, or holds several pages or
            frames; if it is a raw image (FOR PROCESSING) and the model is not of such; or if its values do
            not fit the model's range, so that what is white in it cannot be known.
    """
    changes = list[str]()
    try:
        decoded = (
            _as_it_is(path, preparation)
            if preparation is None or _leaves_pixels(preparation)
            else _made_ready(path, preparation, changes, stated)
        )
    except DataError as error:
        raise ExportError(str(error)) from error
    except PreparationError as error:
        raise ExportError(f"{path} {error}") from error
    if decoded.is_transparent:
        changes.append("alpha")
    size, file_px = (wanted.trained_shape[0], wanted.trained_shape[1]), _size_in_file(decoded)
    resized = None if isinstance(decoded, _MadeReady) else wanted.resized
    pixels = resize(decoded.pixels, size) if resized == "as read" else decoded.pixels
    pixels = in_channels(pixels, wanted, changes)
    white = _white(decoded, wanted, path, changes)
    if decoded.is_inverted:
        changes.append("inverted")
    pixels = to_range(pixels, white=white, max_value=wanted.max_value, is_inverted=decoded.is_inverted)
    if wanted.dtype == "int32" and pixels.dtype.kind == "f":
        pixels = np.rint(pixels)
    pixels = pixels.astype(wanted.dtype)
    if resized == "in range":
        pixels = resize(pixels, size)
    return ReadImage(pixels, tuple(changes), _place(decoded, pixels), file_px)


def _size_in_file(decoded: DecodedImage) -> tuple[int, int]:
    if isinstance(decoded, _MadeReady):
        return decoded.file_px
    return decoded.pixels.shape[0], decoded.pixels.shape[1]


def _place(decoded: DecodedImage, pixels: NDArray[Any]) -> PlaceInFile | None:
    """Where pixels lie in the file that was decoded; None where they are the file's own."""
    if isinstance(decoded, _MadeReady):
        return decoded.place
    height, width = decoded.pixels.shape[:2]
    if pixels.shape[:2] == (height, width):
        return None
    scale = (pixels.shape[0] / height, pixels.shape[1] / width)
    return PlaceInFile(Frame(0, 0, width, height), False, scale, (0, 0))


def _leaves_pixels(preparation: Preparation) -> bool:
    """True for steps that say no more than that the films may be raw ones."""
    scales = preparation.mm_per_px is not None or preparation.size is not None
    return not (preparation.needs_breast or scales)


def _as_it_is(path: Path, preparation: Preparation | None) -> DecodedImage:
    """The pixels of a file; those of a raw film (FOR PROCESSING) for a model of such."""
    try:
        return decode_image(path)
    except ForProcessingError:
        if preparation is None or not preparation.allows_for_processing:
            raise
    image = read_dicom(path, allow_for_processing=True)
    check_one_frame(path, image.frames)
    return DecodedImage(image.pixels, image.stated_max)


def _made_ready(path: Path, preparation: Preparation, changes: list[str], stated: Stated) -> DecodedImage:
    """A whole mammogram made ready, by the reader and the steps that the prepared set came from."""
    read = read_example_pixels(path, 0, allows_for_processing=preparation.allows_for_processing)
    check_one_frame(path, read.frames)
    read.check_black(path)
    side, view = read.facts.get("laterality"), read.facts.get("view")
    known = Stated(
        stated.view or (None if view is None else str(view)),
        stated.side or ("L" if side == "L" else "R" if side == "R" else None),
    )
    white = read.stated_max or bit_range(int(read.pixels.max()))
    if preparation.needs_breast and read.pixels.min() == read.pixels.max():
        raise ExportError(f"{path} has one value in all of its pixels, so that it shows no breast")
    done = prepare(
        read.pixels,
        white,
        preparation=preparation,
        spacing_mm=read.spacing_mm,
        laterality=known.side,
        view=known.view,
    )
    if _is_cut(done):
        changes.append("cut")
    if preparation.needs_breast and not done.has_breast:
        changes.append("no_breast")
    if read.spacing_mm is None and _goes_by_spacing(preparation):
        changes.append("spacing")
    changes += lacking(preparation, read.pixels, white, known)
    place = PlaceInFile(Frame(*done.box), done.flipped, done.scale, done.offset)
    stated_max = None if read.stated_max is None else int(read.stated_max)
    file_px = (read.pixels.shape[0], read.pixels.shape[1])
    return _MadeReady(pixels=done.pixels, stated_max=stated_max, place=place, file_px=file_px)


def _goes_by_spacing(preparation: Preparation) -> bool:
    """True where the spacing that the steps declare changes pixels: at a scale, or where it is not square."""
    declared = preparation.spacing_mm
    return declared is not None and (preparation.mm_per_px is not None or declared[0] != declared[1])


def _is_cut(done: Prepared) -> bool:
    """True where the kept rectangle goes beyond the size of the result."""
    _, _, width, height = done.box
    kept = (round(height * done.scale[0]), round(width * done.scale[1]))
    return kept[0] > done.pixels.shape[0] or kept[1] > done.pixels.shape[1]


def in_channels(pixels: NDArray[Any], wanted: ModelInput, changes: list[str]) -> NDArray[Any]:
    """Return grey or coloured pixels with the channels of a model's input.

    Args:
        pixels: Pixels, shape (H, W) or (H, W, 3).
        wanted: The image input of the model.
        changes: Keys of `NOTES`, to which a change is added.
    """
    if pixels.ndim == 3 and wanted.channels == 1:
        if is_grey(pixels):
            return pixels[:, :, 0]
        changes.append("grey")
        return np.asarray(pixels @ _LUMA)
    if pixels.ndim == 2 and wanted.channels == 3:
        changes.append("colour")
        return np.repeat(pixels[:, :, None], 3, axis=2)
    return pixels


def _white(decoded: DecodedImage, wanted: ModelInput, path: Path, changes: list[str]) -> float:
    """The value in the file that is as bright as the model's largest, as a search decides it."""
    if decoded.stated_max is not None:
        if decoded.stated_max != wanted.max_value:
            changes.append("maxval")
        return decoded.stated_max
    white = _unstated_white(decoded, wanted, path)
    if white != wanted.max_value:
        is_known = decoded.pixels.dtype == np.uint16 and white in wanted.whites_of_16
        changes.append("white" if is_known else "depth")
    if decoded.pixels.dtype == np.uint16 and white >= _FAR_DARKER * bit_range(int(decoded.pixels.max())):
        changes.append("dark")
    return white


def _unstated_white(decoded: DecodedImage, wanted: ModelInput, path: Path) -> float:
    largest = float(decoded.pixels.max())
    if decoded.pixels.dtype == np.float32:
        if wanted.dtype != "float32":
            raise ExportError(
                f"{path} holds floating-point values; this model takes whole numbers from 0 to "
                f"{wanted.max_value:g}: save it with 8 or 16 bits"
            )
        return 1.0
    is_deep = decoded.pixels.dtype == np.uint16
    if is_deep and wanted.whites_of_16 and largest <= wanted.max_value:
        return _known_white(largest, wanted, path)
    is_in_models_units = wanted.dtype != "float32" and is_deep == (wanted.max_value > _EIGHT_BITS)
    if is_in_models_units or (is_deep and largest <= wanted.max_value):
        _check_fits(largest, wanted, path)
        return wanted.max_value
    if not is_deep:
        return _EIGHT_BITS
    if largest <= _SIXTEEN_BITS / 2:
        raise ExportError(
            f"{path} has 16 bits and values up to {largest:g}, and this model's images range from 0 to "
            f"{wanted.max_value:g}: which value is white cannot be known; save it in that range"
        )
    return _SIXTEEN_BITS


def _known_white(largest: float, wanted: ModelInput, path: Path) -> float:
    """White of such training images as the file may be one of."""
    possible = [white for white in wanted.whites_of_16 if largest <= white]
    if len(possible) == 1:
        return possible[0]
    ask = (
        "save it with 8 bits, or in a format that states it, such as PGM with a largest value below 65535, "
        "which programs write whatever the range"
    )
    if possible:
        raise ExportError(
            f"{path} has 16 bits, values up to {largest:g}, and does not state which value is white; in such "
            f"training images of this model it is {in_words(possible)}, so that it cannot be known: {ask}"
        )
    raise ExportError(
        f"{path} has 16 bits, values up to {largest:g}, and does not state which value is white; such "
        f"training images of this model range from 0 to {wanted.whites_of_16[-1]:g}: {ask}"
    )


def _check_fits(largest: float, wanted: ModelInput, path: Path) -> None:
    if largest > wanted.max_value:
        raise ExportError(
            f"{path} holds values up to {largest:g}, but the images that this model was trained on range "
            f"from 0 to {wanted.max_value:g}; save it in that range"
        )
