"""How far an image is from those that a model was trained on, by its size and its shape alone."""

import math
from collections.abc import Sequence
from typing import Final

from trainables.data.from_files import FromFiles

# Beyond the first, an image is named as unlike; beyond the second, refused: an answer would mean nothing.
_OTHER_SIZE: Final = (4.0, 32.0)  # sides, as the geometric mean of both
_OTHER_SHAPE: Final = (1.5, 4.0)  # height by width
_SMALLEST_PX: Final = 4
_MOST_PIXELS: Final = 1 << 26  # or four times those of a training image: a larger one takes gigabytes

# Sentences for the user without the file's name, as those of `results.export.image_reading.NOTES`.
UNLIKE_NOTES: Final = {
    "size": "are far larger or smaller than the model's training images; a probability may mean little",
    "shape": "have another shape than the model's training images; a probability may mean little",
}


def unlike(size: Sequence[int], trained: Sequence[int], files: FromFiles | None = None) -> tuple[str, ...]:
    """Return keys of `UNLIKE_NOTES` for what makes an image unlike the training images.

    Args:
        size: Height and width of the image in pixels, at least 1.
        trained: Height and width of the training images in pixels, at least 1.
        files: Sizes of the training files, where these are known: they are compared in place of `trained`.

    >>> unlike((227, 227), (227, 227)), unlike((4000, 3000), (227, 227))
    ((), ('size',))
    >>> unlike((4000, 3000), (227, 227), FromFiles.of([(3000, 3000), (4000, 3000)], resized="as read"))
    ()
    """
    scale, stretch = _distances(size, files or _only(trained))
    kinds = {"size": scale > _OTHER_SIZE[0], "shape": stretch > _OTHER_SHAPE[0]}
    return tuple(name for name, is_unlike in kinds.items() if is_unlike)


def too_unlike(size: Sequence[int], trained: Sequence[int], files: FromFiles | None = None) -> str:
    """Return why an image cannot be taken for one like the training images; an empty text if it can.

    It is also refused if its pixels alone would fill the memory. Arguments are those of `unlike`.

    >>> too_unlike((1, 60000), (64, 64))
    'it is 60000x1 pixels, the training images were 64x64: far outside of what the model knows'
    >>> too_unlike((4000, 3000), (227, 227)), too_unlike((13000, 13000), (1024, 1024))[:26]
    ('', 'it is 13000x13000 pixels, ')
    """
    known = files or _only(trained)
    scale, stretch = _distances(size, known)
    is_small = size[0] * size[1] <= max(_MOST_PIXELS, 4 * known.side_px[1] ** 2)
    is_near = min(size[:2]) >= _SMALLEST_PX and scale <= _OTHER_SIZE[1] and stretch <= _OTHER_SHAPE[1]
    if is_small and (is_near or scale == stretch == 1):
        return ""
    return (
        f"it is {size[1]}x{size[0]} pixels, the training images were {_said_of(trained, files)}: far outside "
        "of what the model knows"
    )


def _only(size: Sequence[int]) -> FromFiles:
    """Sizes of files that all have this height and width."""
    return FromFiles.of([(size[0], size[1])], resized=None)


def _said_of(trained: Sequence[int], files: FromFiles | None) -> str:
    if files is None:
        return f"{trained[1]}x{trained[0]}"
    sides = [round(side) for side in files.side_px]
    shapes = dict.fromkeys(f"{shape:.2g}" for shape in files.height_by_width)
    return (
        f"of {' to '.join(map(str, dict.fromkeys(sides)))} pixels a side and {' to '.join(shapes)} times as "
        "high as wide in their files"
    )


def _distances(size: Sequence[int], files: FromFiles) -> tuple[float, float]:
    """Factor to the nearest of the sizes and factor to the nearest of the shapes, each at least 1."""
    return (
        _factor(math.sqrt(size[0] * size[1]), files.side_px),
        _factor(size[0] / size[1], files.height_by_width),
    )


def _factor(value: float, between: tuple[float, float]) -> float:
    low, high = between
    return max(low / value, value / high, 1.0)
