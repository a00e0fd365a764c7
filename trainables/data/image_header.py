"""What the header of an image file says that rules out reading it as one picture of unsigned values."""

import math
import re
from pathlib import Path
from typing import Any, Final

from PIL import ImageFile

from trainables.data.image_errors import ImageFileError

# Tags of a TIFF file.
_BITS_PER_SAMPLE: Final = 258
_SAMPLES_PER_PIXEL: Final = 277
_PLANAR: Final = 284  # 2 where each channel is a plane of its own
_SAMPLE_FORMAT: Final = 339  # 2 where values are signed
_IMAGE_DEPTH: Final = 32997  # slices of a volume
_NETPBM_HEADER: Final = re.compile(rb"\s*P[1-7Ff]\s")


def check_header(image: ImageFile.ImageFile, content: bytes, path: Path) -> None:
    """Refuse an opened image, not loaded yet, of which other pixels would be read than are meant.

    Args:
        image: Image as Pillow opened it.
        content: The file.
        path: Its path, for messages.

    Raises:
        ImageFileError: If there are several pages, slices or images in the file, or if it is a TIFF of signed
            values of 8 bits, or of more than 8 bits a channel in planes.
    """
    _check_one_page(image, content, path)
    tags = getattr(image, "tag_v2", {})
    if max(tags.get(_SAMPLE_FORMAT, (1,))) == 2 and tiff_bits(image) <= 8:
        raise ImageFileError(
            f"{path} is a TIFF of signed values of 8 bits; save it with values from 0 to 255 as unsigned ones"
        )
    if tags.get(_PLANAR) == 2 and tags.get(_SAMPLES_PER_PIXEL, 1) > 1 and tiff_bits(image) > 8:
        raise ImageFileError(
            f"{path} is a TIFF of {tiff_bits(image)} bits a channel whose channels lie in planes; save it "
            "with the channels of a pixel side by side, or as PNG"
        )


def tiff_bits(image: ImageFile.ImageFile) -> int:
    """Bits a channel by the header of a TIFF; 0 for other formats."""
    return max(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (0,)))


def _check_one_page(image: ImageFile.ImageFile, content: bytes, path: Path) -> None:
    pages = getattr(image, "n_frames", 1)
    slices = getattr(image, "tag_v2", {}).get(_IMAGE_DEPTH, 1)
    if pages > 1 or slices > 1:
        held = f"{pages} pages" if pages > 1 else f"{slices} slices"
        raise ImageFileError(f"{path} holds {held}; one image a file is needed: save them one by one")
    if image.format == "PPM" and _NETPBM_HEADER.match(content, _end_of_netpbm(image, content)):
        raise ImageFileError(
            f"{path} holds several images, one after the other; one image a file is needed: save them one by "
            "one"
        )


def _end_of_netpbm(image: ImageFile.ImageFile, content: bytes) -> int:
    """Place of the first byte after the pixels of a PGM, PPM or PBM; where they are text, the end of it."""
    tile = image.tile[0]
    if tile.codec_name == "ppm_plain":
        return len(content)
    width, height = image.size
    row = math.ceil(width / 8) if image.mode == "1" else width * len(image.getbands()) * _bytes(image, tile)
    return int(tile.offset + row * height)


def _bytes(image: ImageFile.ImageFile, tile: Any) -> int:
    """Bytes a value of a PGM, PPM or PFM."""
    if image.mode == "F":
        return 4
    is_deep = isinstance(tile.args, tuple) and tile.args[-1] > 255
    return 2 if is_deep or image.mode == "I" else 1
