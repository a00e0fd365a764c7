"""Relevance maps as pictures: the image with the frame, and beside it the image under its map."""

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from results.relevance.frame import Frame
from trainables.common.types import Float64Array

MAKER: Final = "breast-image-orchestrator"  # stands in each PNG file under Software
_SIDE_PX: Final = 320  # of each panel, along its longer side
_GAP_PX: Final = 8
_LINE_PX: Final = 16
_FRAME: Final = (0, 200, 255)  # of the part that the map names: seen on grey, on histology and on the map
_KNOWN: Final = (255, 255, 255)  # of a lesion that the data name
_STRONGEST: Final = 0.75  # opacity of the highest relevance
# Colours from low to high relevance: dark red to yellow, as in "hot", so that they stay in order in grey.
_FOR: Final = np.array([(90, 0, 30), (190, 20, 20), (240, 120, 0), (255, 220, 60)], dtype=np.float64)
_AGAINST: Final = np.array([(0, 20, 80), (30, 70, 200), (80, 160, 255)], dtype=np.float64)


def picture(
    image: NDArray[Any],
    values: Float64Array,
    *,
    max_value: float,
    frame: Frame | None,
    caption: Sequence[str] = (),
    known: Sequence[Frame] = (),
    marks: Sequence[Frame] = (),
) -> bytes:
    """Draw the image with its frame, and beside it the image under its relevance map.

    Args:
        image: Raw image, shape (H, W) or (H, W, 3).
        values: Relevance, shape (H, W). What speaks for the class is red to yellow, what speaks against it
            blue, and the more of it, the less of the image is seen through it.
        max_value: Pixel value that is white.
        frame: Box around the most relevant part; None draws none.
        caption: Lines of text below.
        known: Boxes of lesions that the data name, drawn with a broken line.
        marks: Further places that the model finds suspicious.

    Returns:
        A PNG file.
    """
    left = _panel(grey_levels(image, max_value))
    right = _panel(_overlaid(grey_levels(image, max_value), values))
    scale = left.width / image.shape[1]
    for panel in (left, right):
        drawing = ImageDraw.Draw(panel)
        for box in known:
            _broken_box(drawing, _scaled(box, scale))
        for box in marks:
            drawing.rectangle(_scaled(box, scale), outline=_FRAME, width=1)
        if frame is not None:
            drawing.rectangle(_scaled(frame, scale), outline=_FRAME, width=2)
    below = len(caption) * _LINE_PX + (_GAP_PX if caption else 0)
    sheet = Image.new("RGB", (2 * left.width + _GAP_PX, left.height + below), (255, 255, 255))
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + _GAP_PX, 0))
    drawing = ImageDraw.Draw(sheet)
    for number, line in enumerate(caption):
        place = (4, left.height + _GAP_PX // 2 + number * _LINE_PX)
        drawing.text(place, line, fill=(20, 20, 20), font=ImageFont.load_default(13))
    return png_of(sheet)


def plain_picture(image: NDArray[Any], *, max_value: float) -> bytes:
    """Draw an image (H, W) or (H, W, 3) alone, as a PNG file."""
    return png_of(_panel(grey_levels(image, max_value)))


def png_of(sheet: Image.Image) -> bytes:
    """Return a picture as a PNG file that names its maker."""
    out, facts = io.BytesIO(), PngInfo()
    facts.add_text("Software", MAKER)
    sheet.save(out, "PNG", optimize=True, pnginfo=facts)
    return out.getvalue()


def grey_levels(image: NDArray[Any], max_value: float) -> NDArray[np.uint8]:
    """Return an image as it is seen, shape (H, W, 3), 8 bit.

    Images of more than 8 bits, and dark ones, are stretched from their smallest value to the 99.8 % quantile.
    """
    pixels = image.astype(np.float64) / max_value
    low, high = float(pixels.min()), float(np.quantile(pixels, 0.998))
    if pixels.ndim == 2 and high > low and high < 0.7:
        pixels = (pixels - low) / (high - low)
    levels = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    return np.repeat(levels[:, :, None], 3, axis=2) if levels.ndim == 2 else levels


def _overlaid(levels: NDArray[np.uint8], values: Float64Array) -> NDArray[np.uint8]:
    highest = float(np.abs(values).max())
    if highest == 0:
        return levels
    share = values / highest
    strength = np.abs(share)
    colour = np.where((share >= 0)[:, :, None], _ramp(strength, _FOR), _ramp(strength, _AGAINST))
    opacity = (_STRONGEST * np.clip(strength * 1.25 - 0.15, 0, 1))[:, :, None]
    grey = levels.astype(np.float64).mean(axis=2, keepdims=True)  # colours of the map, not of the stain
    return np.rint(opacity * colour + (1 - opacity) * (0.5 * grey + 0.5 * levels)).astype(np.uint8)


def _ramp(share: Float64Array, colours: Float64Array) -> Float64Array:
    places = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(share, places, colours[:, channel]) for channel in range(3)], axis=2)


def _panel(levels: NDArray[np.uint8]) -> Image.Image:
    height, width = levels.shape[:2]
    scale = _SIDE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    return Image.fromarray(levels).resize(size, how)


def _scaled(box: Frame, scale: float) -> tuple[int, int, int, int]:
    left, top = round(box.left * scale), round(box.top * scale)
    return left, top, left + max(2, round(box.width * scale)) - 1, top + max(2, round(box.height * scale)) - 1


def _broken_box(drawing: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    for start in range(left, right, 8):
        for row in (top, bottom):
            drawing.line((start, row, min(start + 4, right), row), fill=_KNOWN, width=2)
    for start in range(top, bottom, 8):
        for column in (left, right):
            drawing.line((column, start, column, min(start + 4, bottom)), fill=_KNOWN, width=2)
