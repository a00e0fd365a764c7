"""Patches put together to the slide or film that they were cut from, by the coordinates in their names."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.types import Float64Array

_NAME: Final = re.compile(r"(?:^|_)x(\d+)_y(\d+)(?:_|\.|$)", re.IGNORECASE)


def coordinates_of(files: Sequence[Path]) -> NDArray[np.int64]:
    """Return the column and row, in pixels, of the upper left corner of each patch, shape (n, 2).

    Raises:
        DataError: If a name has no coordinates, or two patches lie at one place.

    >>> coordinates_of([Path("9037_idx5_x1001_y551_class1.png")]).tolist()
    [[1001, 551]]
    """
    found = []
    for path in files:
        match = _NAME.search(path.name)
        if match is None:
            raise DataError(
                f"the name of {path} does not say where the patch lies; it must hold _x1001_y551, as in the "
                "IDC set"
            )
        found.append((int(match[1]), int(match[2])))
    if len(set(found)) < len(found):
        twice = next(place for place in found if found.count(place) > 1)
        raise DataError(
            f"two patches lie at x {twice[0]}, y {twice[1]}; give the patches of one slide, not of several"
        )
    return np.array(found, dtype=np.int64)


def put_together(
    patches: Sequence[NDArray[Any]], corners: NDArray[np.int64], values: Float64Array
) -> tuple[NDArray[Any], Float64Array]:
    """Put patches, and a value of each, to their places.

    Args:
        patches: Patches of one number type, shape (h, w) or (h, w, 3) each, of any size.
        corners: Column and row of the upper left corner of each, shape (n, 2).
        values: A value of each patch, shape (n,).

    Returns:
        The slide, shape (H, W) or (H, W, 3), its brightest value where there is no patch; and the values,
        shape (H, W), NaN where there is none.
    """
    origin = corners.min(axis=0)
    ends = [
        (x + patch.shape[1], y + patch.shape[0])
        for (x, y), patch in zip(corners - origin, patches, strict=True)
    ]
    width, height = np.array(ends).max(axis=0)
    brightest = max(patch.max() for patch in patches)
    slide = np.full((height, width, *patches[0].shape[2:]), brightest, dtype=patches[0].dtype)
    map_of = np.full((height, width), np.nan)
    for (x, y), patch, value in zip(corners - origin, patches, values, strict=True):
        slide[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
        map_of[y : y + patch.shape[0], x : x + patch.shape[1]] = value
    return slide, map_of
