"""The frame around the part that a prediction rests on most."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trainables.common.types import Float64Array

_TOP: Final = 0.5  # share of the highest relevance from which on a pixel belongs to the part


@dataclass(frozen=True, slots=True)
class Frame:
    """A box in the image.

    Attributes:
        left: First column, in pixels.
        top: First row, in pixels.
        width: Number of columns.
        height: Number of rows.
    """

    left: int
    top: int
    width: int
    height: int

    def holds(self, row: float, column: float) -> bool:
        """Tell whether a pixel lies inside.

        >>> Frame(2, 1, 3, 2).holds(1, 4), Frame(2, 1, 3, 2).holds(3, 2)
        (True, False)
        """
        return self.top <= row < self.top + self.height and self.left <= column < self.left + self.width

    @property
    def area(self) -> int:
        """Number of pixels inside."""
        return self.width * self.height

    def overlap(self, other: "Frame") -> float:
        """Return the intersection over the union with another box, in [0, 1].

        >>> Frame(0, 0, 2, 2).overlap(Frame(1, 0, 2, 2))
        0.3333333333333333
        """
        width = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        height = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        shared = max(0, width) * max(0, height)
        return shared / (self.area + other.area - shared)


def frame_of(values: Float64Array) -> Frame | None:
    """Return the box around the connected part with the highest relevance.

    The part holds the pixels around the highest one that have at least half of its relevance.

    Args:
        values: Relevance, shape (H, W).

    Returns:
        The box; None where no pixel speaks for the class.

    >>> frame_of(np.array([[0.0, 0.1, 0.0], [0.0, 1.0, 0.6], [0.0, 0.0, 0.1]]))
    Frame(left=1, top=1, width=2, height=1)
    """
    from scipy import ndimage

    row, column = peak_of(values)
    highest = values[row, column]
    if not highest > 0:
        return None
    parts, _ = ndimage.label(values >= _TOP * highest)
    rows, columns = np.nonzero(parts == parts[row, column])
    return Frame(int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)


def peak_of(values: Float64Array) -> tuple[int, int]:
    """Return row and column of the highest relevance; of equal ones, the pixel nearest to their mean.

    A map of windows has plateaus, and the first pixel of one would always be its upper left corner.

    >>> peak_of(np.array([[0.0, 1.0, 1.0, 1.0]]))
    (0, 2)
    """
    rows, columns = np.nonzero(values == values.max())
    distance = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    nearest = int(np.argmin(distance))
    return int(rows[nearest]), int(columns[nearest])
