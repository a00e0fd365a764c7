"""The one reader of image files: searches and predictions see the same pixels, or the same refusal.

DICOM, known by its content whatever its name, is read by `trainables/data/dicom/`; PNG, JPEG, TIFF, PGM, PPM
and BMP are read with Pillow. OpenCV is imported only for colour of 16 bits a channel, which Pillow cuts to 8,
so that prediction on grey images needs no OpenCV.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from trainables.common.errors import DataError
from trainables.data.dicom.reading import is_dicom_content, read_dicom
from trainables.data.image_errors import ImageFileError, UnreadableImageError
from trainables.data.image_header import check_header, tiff_bits

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".pgm", ".bmp", ".dcm", ".dicom"})
FORMATS: Final = ("PNG", "JPEG", "TIFF", "PPM", "BMP")
LARGEST_PIXELS: Final = Image.MAX_IMAGE_PIXELS or 0  # doubled, the limit above which Pillow refuses
_AS_THEY_ARE: Final = ("L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L", "F")
_WITH_ALPHA: Final = ("LA", "RGBA")
_PHOTOMETRIC: Final = 262  # tag of a TIFF file; 0 is "white is zero"
_ORIENTATION: Final = ExifTags.Base.Orientation
_TYPE_RANGES: Final = (255, 65535)  # largest values of 8 and 16 bits, which a header need not state


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Pixels of a file as they are stored, upright.

    Attributes:
        pixels: uint8, uint16, or float32 in [0, 1]; shape (H, W), or (H, W, 3) in RGB order.
        stated_max: Largest value that the file itself states, where it is not that of its number type, such
            as 4095 in the header of a PGM; None without one.
        is_inverted: True where 0 is white and the pixels are not turned over yet, since that needs the range
            in use; 8 bit images are turned over already.
        is_transparent: True if a transparency was dropped that was not full everywhere.
    """

    pixels: NDArray[Any]
    stated_max: int | None = None
    is_inverted: bool = False
    is_transparent: bool = False

    @property
    def bits(self) -> int:
        """Bits a channel of the number type: 8, 16, or 32 for floats."""
        return self.pixels.dtype.itemsize * 8


def decode_image(path: Path) -> DecodedImage:
    """Read one file: its size, number type and values stay; alpha is dropped, EXIF orientation is applied.

    Args:
        path: PNG, JPEG, TIFF, PGM, PPM or BMP file, of 1 to 16 bits, grey or colour; also TIFF of floats; or
            a DICOM file of one frame, for presentation.

    Raises:
        UnreadableImageError: If the file is damaged or not an image.
        ImageFileError: If it is missing, a folder, holds several pages, or values that are no pixels.
    """
    _check_is_file(path)
    content = b""
    try:
        content = path.read_bytes()
        if is_dicom_content(content):
            return _from_dicom(path)
        with warnings.catch_warnings():
            # Large images are allowed; only those that Pillow takes for an attack are refused below.
            warnings.simplefilter("ignore")
            _verify(content)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                check_header(image, content, path)
                decoded = _decoded(image, content, path)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(path, _not_an_image(content)) from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(
            f"{path} has more than {2 * LARGEST_PIXELS / 1e6:.0f} million pixels; cut it into patches, or "
            "save it smaller"
        ) from error
    except MemoryError as error:
        raise ImageFileError(f"{path} needs more memory than there is; save it smaller") from error
    except Exception as error:  # Pillow's readers have many error types and no common one
        raise UnreadableImageError(path, f"cannot be read whole ({error}); is it truncated?") from error
    _check_values(decoded, path)
    return decoded


def _from_dicom(path: Path) -> DecodedImage:
    """The frame of a DICOM file; one of several frames is not chosen here."""
    image = read_dicom(path)
    check_one_frame(path, image.frames)
    return DecodedImage(image.pixels, image.stated_max)


def check_one_frame(path: Path, frames: int, advice: str = "save the frame that is meant") -> None:
    """Refuse a file of several frames where nothing says which of them is meant.

    Args:
        path: The file.
        frames: Number of its frames.
        advice: What to do where there are several.

    Raises:
        ImageFileError: If there is more than one.
    """
    if frames > 1:
        raise ImageFileError(f"{path} holds {frames} frames; one image a file is needed: {advice}")


def is_grey(image: NDArray[Any]) -> bool:
    """True if the three channels are equal everywhere; shape (..., 3)."""
    return bool((image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all())


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise ImageFileError(f"{path} is a folder; name the image files in it, such as {path}/*.png")
    if not path.exists():
        if path.is_symlink():
            raise ImageFileError(
                f"{path} is a link to {path.readlink()}, which is not there; fetch or mount it"
            )
        raise ImageFileError(f"there is no file {path}")
    if not path.is_file():
        raise ImageFileError(f"{path} is not a regular file; save the image to a file")


def _not_an_image(content: bytes) -> str:
    if content.startswith(b"PK\x03\x04"):
        is_encrypted = bool(content[6:7] and content[6] & 1)
        return f"is {'an encrypted' if is_encrypted else 'a'} zip archive; unpack it first"
    if content.startswith((b"II*\0", b"MM\0*")):
        return (
            "is not an image that can be read: it begins as a TIFF, but is cut off or of a kind that is not "
            "known, such as 16 bits in big-endian with 0 as white; save it as PNG"
        )
    if content.startswith((b"version https://git-lfs", b"/annex/objects")):
        return "is a pointer of Git LFS or git-annex, not the image itself; fetch its content first"
    return "is not an image that can be read; DICOM, PNG, JPEG, TIFF, PGM and BMP can"


def _verify(content: bytes) -> None:
    """Check what loading does not, such as checksums."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.format != "TIFF":
            image.verify()


def _decoded(image: ImageFile.ImageFile, content: bytes, path: Path) -> DecodedImage:
    layouts = [tile[3] for tile in image.tile]  # known only before the pixels are loaded
    if image.mode in ("RGB", "RGBA", "RGBX", "LA") and any(_is_deep(layout) for layout in layouts):
        return _deep_colour(image, content, path)
    stated = _stated_max(image, layouts)
    is_plain = image.format == "PPM" and stated is not None and image.tile[0][0] == "ppm_plain"
    if image.format == "PPM" and stated is not None and not is_plain:
        # Pillow would scale the values to the number type, one pixel at a time; they are taken as they are.
        (tile,) = image.tile
        image.tile = [tile._replace(codec_name="raw", args="I;16B" if image.mode == "I" else image.mode)]
    tags = getattr(image, "tag_v2", {})
    is_inverted = tags.get(_PHOTOMETRIC) == 0 and image.mode.startswith(("I", "F"))
    image.load()
    upright = ImageOps.exif_transpose(image)
    pixels, is_transparent = _pixels(upright, path)
    if is_plain and stated is not None:
        scale = stated / (65535 if pixels.dtype == np.uint16 else 255)
        pixels = np.rint(pixels * scale).astype(pixels.dtype)
    if pixels.dtype == np.uint8 and tiff_bits(image) > 8:
        raise ImageFileError(
            f"{path} is a TIFF of {tiff_bits(image)} bits a channel in a layout that cannot be read; save it "
            "as PNG"
        )
    if is_inverted and pixels.dtype != np.uint16:
        raise ImageFileError(f"{path} is a TIFF in which 0 is white; save it so that 0 is black")
    return DecodedImage(np.ascontiguousarray(pixels), stated, is_inverted, is_transparent)


def _is_deep(layout: Any) -> bool:
    """True for the layout of a tile with 16 bits a channel."""
    if isinstance(layout, tuple) and isinstance(layout[-1], int) and layout[0] == "RGB":
        return layout[-1] > 255  # a PPM file: mode and largest value
    return ";16" in str(layout)


def _stated_max(image: ImageFile.ImageFile, layouts: Sequence[Any]) -> int | None:
    """Largest value by the header of a PGM or the bits of a TIFF, unless it is that of 8 or 16 bits."""
    stated = None
    is_netpbm = image.format == "PPM" and image.mode != "F"  # floats have a scale, which is no largest value
    if is_netpbm and layouts and isinstance(layouts[0], tuple) and isinstance(layouts[0][-1], int):
        stated = layouts[0][-1]
    elif image.format == "TIFF" and image.mode.startswith("I;16"):
        stated = 2 ** tiff_bits(image) - 1
    return None if stated in (1, *_TYPE_RANGES) else stated


def _pixels(image: Image.Image, path: Path) -> tuple[NDArray[Any], bool]:
    plain = image if image.mode in _AS_THEY_ARE else image.convert(_plain_mode(image))
    array = np.asarray(plain)
    is_transparent = False
    if plain.mode in _WITH_ALPHA:
        is_transparent = bool((array[..., -1] != 255).any())
        array = array[..., 0] if plain.mode == "LA" else array[..., :3]
    if plain.mode == "F":
        return array.astype(np.float32), is_transparent
    if plain.mode.startswith("I"):
        return _sixteen_bits(array, path), is_transparent
    return array, is_transparent


def _plain_mode(image: Image.Image) -> str:
    if image.mode == "1":
        return "L"
    return "RGBA" if image.mode == "RGBa" or "transparency" in image.info else "RGB"


def _sixteen_bits(array: NDArray[Any], path: Path) -> NDArray[np.uint16]:
    if array.size and (array.min() < 0 or array.max() > 65535):
        raise ImageFileError(
            f"{path} holds values from {array.min()} to {array.max()}; 16 bit images hold 0 to 65535"
        )
    return array.astype(np.uint16)


def _deep_colour(image: ImageFile.ImageFile, content: bytes, path: Path) -> DecodedImage:
    """Colour of 16 bits a channel, by OpenCV; Pillow loads the file too, to see whether it is whole."""
    try:
        import cv2
    except ImportError as error:
        raise ImageFileError(
            f"{path} has colour with 16 bits a channel, for which OpenCV is needed: install "
            "opencv-python-headless, or save it with 8 bits"
        ) from error
    stated = _stated_max(image, [tile[3] for tile in image.tile])
    height, width = image.size[1], image.size[0]
    orientation = image.getexif().get(_ORIENTATION, 1)
    image.load()
    orientation = image.getexif().get(_ORIENTATION, orientation)
    array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16 or array.shape[:2] != (height, width) or array.ndim != 3:
        raise ImageFileError(
            f"{path} has colour with 16 bits in a layout that cannot be read; save it as PNG"
        )
    is_transparent = array.shape[2] == 4 and bool((array[..., 3] != 65535).any())
    # OpenCV turns TIFFs upright itself, and no flag of it forbids that.
    upright = _upright(array[..., 2::-1], 1 if image.format == "TIFF" else orientation)
    return DecodedImage(np.ascontiguousarray(upright), stated, is_transparent=is_transparent)


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn an image upright by its EXIF orientation, 1 to 8; others leave it as it is."""
    turned = array.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else array
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return turned[::-1] if orientation in (3, 4, 7, 8) else turned


def _check_values(decoded: DecodedImage, path: Path) -> None:
    pixels = decoded.pixels
    if 0 in pixels.shape:
        raise UnreadableImageError(path, "is not an image that can be read; it has no pixels")
    if pixels.dtype == np.float32:
        if not ((pixels >= 0) & (pixels <= 1)).all():
            raise ImageFileError(f"{path} holds floating-point values outside [0, 1]; scale them first")
    elif decoded.stated_max is not None and pixels.max() > decoded.stated_max:
        raise ImageFileError(
            f"{path} holds values up to {pixels.max()}, above the {decoded.stated_max} that it states as its "
            "largest; save it again"
        )
