"""How far an image is from those that a model was trained on, by its size and its shape alone."""

import math
from collections.abc import Sequence
from typing import Final

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


def unlike(size: Sequence[int], trained: Sequence[int]) -> tuple[str, ...]:
    """Return keys of `UNLIKE_NOTES` for what makes an image unlike the training images.

    Args:
        size: Height and width of the image in pixels, at least 1.
        trained: Height and width of the training images in pixels, at least 1.

    >>> unlike((227, 227), (227, 227)), unlike((4000, 3000), (227, 227))
    ((), ('size',))
    """
    scale, stretch = _distances(size, trained)
    kinds = {"size": scale > _OTHER_SIZE[0], "shape": stretch > _OTHER_SHAPE[0]}
    return tuple(name for name, is_unlike in kinds.items() if is_unlike)


def too_unlike(size: Sequence[int], trained: Sequence[int]) -> str:
    """Return why an image cannot be taken for one like the training images; an empty text if it can.

    It is also refused if its pixels alone would fill the memory.

    >>> too_unlike((1, 60000), (64, 64))
    'it is 60000x1 pixels, the training images were 64x64: far outside of what the model knows'
    >>> too_unlike((4000, 3000), (227, 227)), too_unlike((13000, 13000), (1024, 1024))[:26]
    ('', 'it is 13000x13000 pixels, ')
    """
    scale, stretch = _distances(size, trained)
    is_small = size[0] * size[1] <= max(_MOST_PIXELS, 4 * trained[0] * trained[1])
    is_near = min(size[:2]) >= _SMALLEST_PX and scale <= _OTHER_SIZE[1] and stretch <= _OTHER_SHAPE[1]
    if is_small and is_near:
        return ""
    return (
        f"it is {size[1]}x{size[0]} pixels, the training images were {trained[1]}x{trained[0]}: far outside "
        "of what the model knows"
    )


def _distances(size: Sequence[int], trained: Sequence[int]) -> tuple[float, float]:
    """Factor between both sizes and factor between both shapes, each at least 1."""
    scale = math.sqrt(size[0] * size[1] / (trained[0] * trained[1]))
    stretch = (size[0] / size[1]) / (trained[0] / trained[1])
    return max(scale, 1 / scale), max(stretch, 1 / stretch)
