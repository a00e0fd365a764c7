"""Boxes of lesions that a set knows, in pixels of its stored images."""

import math
from typing import Final

from results.relevance.frame import Frame
from trainables.data.patches import PatchSet

_SIDES: Final = ("left", "top", "width", "height")
_OF_PREPARED: Final = (
    "height_px"  # their box_ columns say where a piece lies in its film, not the lesion in it
)


def known_boxes(patch_set: PatchSet, row: int) -> tuple[Frame, ...]:
    """Return the box of the lesion of an image, if the set's columns name one.

    These are `finding_left`, `finding_top`, `finding_width` and `finding_height`, as preparation writes them;
    of a set that was not prepared, `box_left` to `box_height` will do.

    Args:
        patch_set: The set.
        row: Row of the image.

    Returns:
        The box, cut to the image; none where it is not known, empty, or the whole image.
    """
    columns = patch_set.columns or {}
    kind = "finding" if "finding_left" in columns or _OF_PREPARED in columns else "box"
    names = [f"{kind}_{side}" for side in _SIDES]
    values = [float(columns[name][row]) if name in columns else math.nan for name in names]
    if not all(map(math.isfinite, values)):
        return ()
    left, top, width, height = values
    rows, width_px = patch_set.images.shape[1:3]
    box = Frame(max(0, round(left)), max(0, round(top)), 0, 0)
    right, bottom = min(width_px, round(left + width)), min(rows, round(top + height))
    box = Frame(box.left, box.top, right - box.left, bottom - box.top)
    is_part = 0 < box.area < rows * width_px and box.width > 0 and box.height > 0
    return (box,) if is_part else ()
