"""Where the pixels of a prepared mammogram lie in its file."""

import math
from dataclasses import dataclass
from typing import Final

from results.relevance.frame import Frame

_DIGITS: Final = 6  # to which an edge is taken for a whole number before it is rounded outwards


@dataclass(frozen=True, slots=True)
class PlaceInFile:
    """How a prepared image maps back into the film that it was made of.

    Attributes:
        kept: Rectangle of the film that was kept, in pixels of the film.
        flipped: The mirror image was taken.
        scale: Pixels of the prepared image for one of the film, (along rows, along columns).
        offset: Place of the kept rectangle's corner in the prepared image, (top, left).
    """

    kept: Frame
    flipped: bool
    scale: tuple[float, float]
    offset: tuple[int, int]

    def frame(self, box: Frame) -> Frame | None:
        """Map a box of the prepared image to the pixels of the film that it touches.

        Returns:
            The box in the film, cut to the kept rectangle; None for one that lies wholly outside of it.

        >>> PlaceInFile(Frame(100, 50, 40, 60), True, (0.5, 0.5), (0, 0)).frame(Frame(0, 10, 5, 5))
        Frame(left=130, top=70, width=10, height=10)
        """
        top, bottom = (self._row(edge) for edge in (box.top, box.top + box.height))
        left, right = sorted(self._column(edge) for edge in (box.left, box.left + box.width))
        kept = self.kept
        first = (
            max(kept.left, math.floor(round(left, _DIGITS))),
            max(kept.top, math.floor(round(top, _DIGITS))),
        )
        last = (
            min(kept.left + kept.width, math.ceil(round(right, _DIGITS))),
            min(kept.top + kept.height, math.ceil(round(bottom, _DIGITS))),
        )
        width, height = last[0] - first[0], last[1] - first[1]
        return Frame(*first, width, height) if min(width, height) > 0 else None

    def point(self, row: int, column: int) -> tuple[int, int] | None:
        """Map a pixel of the prepared image to the row and column of the film that its centre lies in.

        Returns:
            Row and column; None outside of the kept rectangle.

        >>> PlaceInFile(Frame(100, 50, 40, 60), True, (0.5, 0.5), (0, 0)).point(10, 0)
        (71, 139)
        """
        place = math.floor(self._row(row + 0.5)), math.floor(self._column(column + 0.5))
        return place if self.kept.holds(*place) else None

    def _row(self, row: float) -> float:
        return self.kept.top + (row - self.offset[0]) / self.scale[0]

    def _column(self, column: float) -> float:
        along = (column - self.offset[1]) / self.scale[1]
        return self.kept.left + (self.kept.width - along if self.flipped else along)
