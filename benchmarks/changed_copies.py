"""Copies of images as people leave them in sets: saved again, brightened, mirrored, cut."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def saved_again(image: Image) -> Image:
    """Return a copy after JPEG at quality 50."""
    code = cv2.imencode(
        ".jpg", image[..., ::-1] if image.ndim == 3 else image, [cv2.IMWRITE_JPEG_QUALITY, 50]
    )[1]
    read = np.asarray(cv2.imdecode(code, cv2.IMREAD_UNCHANGED), dtype=np.uint8)
    return np.ascontiguousarray(read[..., ::-1]) if image.ndim == 3 else read


def brightened(image: Image) -> Image:
    """Return a copy of other brightness and contrast."""
    return np.clip(image.astype(np.float32) * 0.85 + 20, 0, 255).astype(np.uint8)


def mirrored(image: Image) -> Image:
    """Return a mirrored copy."""
    return np.ascontiguousarray(image[:, ::-1])


def cut(image: Image) -> Image:
    """Return a copy that lacks 3 % of its rows and columns, in its old size."""
    height, width = image.shape[:2]
    top, left = max(1, round(0.03 * height)), max(1, round(0.03 * width)) // 2
    kept = image[top:, left : width - max(1, round(0.03 * width)) + left]
    return np.asarray(cv2.resize(kept, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def all_of_it(image: Image) -> Image:
    """Return a copy after everything above."""
    return cut(mirrored(brightened(saved_again(image))))


CHANGES: Final[Mapping[str, Callable[[Image], Image]]] = MappingProxyType(
    {
        "JPEG 50": saved_again,
        "brightness x 0.85 + 20": brightened,
        "mirrored": mirrored,
        "3 % cut": cut,
        "all four": all_of_it,
    }
)
