"""A window that slides over a whole film or slide: where a model of patches finds what it was trained on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.errors import ScoreError
from results.relevance.frame import Frame
from results.relevance.method import FoundBox
from trainables.common.types import Float64Array, FloatArray

_STEP: Final = 0.5  # of the window's side
_BATCH: Final = 16
_EMPTY: Final = 0.02  # share of the film's range within which a window is background
_MOST_BOXES: Final = 20


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Probabilities of windows over an image.

    Attributes:
        values: Probability of the class, the mean over the windows that cover a cell, shape (rows, columns);
            NaN where every window is background.
        cell_px: Side of a cell, in pixels of the image.
        window_px: Side of a window, in pixels of the image.
        windows: Number of windows that were predicted.
    """

    values: Float64Array
    cell_px: int
    window_px: int
    windows: int


def slide(
    predict: Callable[[NDArray[Any]], FloatArray],
    image: NDArray[Any],
    label: int,
    *,
    window_px: int,
    step: float = _STEP,
) -> HeatMap:
    """Predict every window of an image, and put the probabilities together.

    Windows of even grey, such as the background of a film, are left out.

    Args:
        predict: Windows, (n, side, side) or (n, side, side, 3) -> probabilities (n, classes).
        image: Film or slide, shape (H, W) or (H, W, 3), each side at least `window_px`.
        label: Class whose probability is shown.
        window_px: Side of a window, in pixels: that of the training images, at their scale.
        step: Distance of two windows, as a share of their side, in (0, 1].

    Raises:
        ScoreError: If the image is smaller than a window.
    """
    if min(image.shape[:2]) < window_px:
        raise ScoreError(
            f"a window of {window_px} pixels does not fit into {image.shape[1]}x{image.shape[0]} pixels; "
            "predict it as a whole"
        )
    stride = max(1, round(step * window_px))
    corners = [_starts(length, window_px, stride) for length in image.shape[:2]]
    places = [(top, left) for top in corners[0] for left in corners[1]]
    span = float(image.max()) - float(image.min())
    shown = [place for place in places if _range(_window(image, place, window_px)) > _EMPTY * span]
    total, count = (np.zeros([-(-length // stride) for length in image.shape[:2]]) for _ in range(2))
    for batch in _batches(shown):
        windows = np.stack([_window(image, place, window_px) for place in batch])
        for (top, left), found in zip(batch, np.asarray(predict(windows))[:, label], strict=True):
            down, right = (slice(one // stride, -(-(one + window_px) // stride)) for one in (top, left))
            cells = (down, right)
            total[cells] += found
            count[cells] += 1
    values = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return HeatMap(values, stride, window_px, len(shown))


def _starts(length: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along an axis; the last window ends at the edge."""
    starts = list(range(0, length - window + 1, stride))
    return starts if starts[-1] == length - window else [*starts, length - window]


def _window(image: NDArray[Any], place: tuple[int, int], side: int) -> NDArray[Any]:
    return image[place[0] : place[0] + side, place[1] : place[1] + side]


def _range(window: NDArray[Any]) -> float:
    return float(window.max()) - float(window.min())


def _batches(places: Sequence[tuple[int, int]]) -> Iterator[Sequence[tuple[int, int]]]:
    for start in range(0, len(places), _BATCH):
        yield places[start : start + _BATCH]


def boxes_of(heat: HeatMap, shape: tuple[int, ...]) -> list[FoundBox]:
    """Return the places where a heat map has its peaks, the highest first.

    A peak is a cell as high as all within half a window of it; its box is a window around it. Boxes that
    overlap a higher one by more than a fifth are left out.

    Args:
        heat: Heat map.
        shape: Height and width of the image, in pixels.
    """
    from scipy import ndimage

    values = np.nan_to_num(heat.values, nan=-1.0)
    reach = 2 * max(1, heat.window_px // heat.cell_px // 2) + 1
    is_peak = (values == ndimage.maximum_filter(values, size=reach)) & (values >= 0)
    parts, number = ndimage.label(is_peak)
    found = []
    for row, column in ndimage.center_of_mass(is_peak, parts, range(1, number + 1)):
        centre = (int((row + 0.5) * heat.cell_px), int((column + 0.5) * heat.cell_px))
        box = _around(centre, heat.window_px, shape)
        found.append(FoundBox(box, float(values[int(row), int(column)])))
    kept: list[FoundBox] = []
    for one in sorted(found, key=lambda one: -one.score):
        if all(one.box.overlap(other.box) <= 0.2 for other in kept):
            kept.append(one)
    return kept[:_MOST_BOXES]


def _around(centre: tuple[int, int], side: int, shape: tuple[int, ...]) -> Frame:
    top = min(max(0, centre[0] - side // 2), max(0, shape[0] - side))
    left = min(max(0, centre[1] - side // 2), max(0, shape[1] - side))
    return Frame(left, top, min(side, shape[1]), min(side, shape[0]))
