"""Plots of what lies inside a model, for TensorBoard: first kernels, calls by contrast and threshold."""

import io
import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from trainables.common.types import FloatArray

_GAP: Final = 1  # pixels between kernels, before they are enlarged
_SIDE: Final = 480  # pixels of the sheet of kernels, about


def kernels_picture(kernels: FloatArray) -> bytes:
    """Draw the kernels of the first layer, each stretched from its least to its largest weight.

    Args:
        kernels: Weights, shape (kernels, height, width, 1 or 3).

    Returns:
        A PNG file, about 480 x 480 pixels.
    """
    import cv2

    number, height, width, channels = kernels.shape
    across = math.ceil(math.sqrt(number))
    low = kernels.min(axis=(1, 2, 3), keepdims=True)
    spread = np.maximum(kernels.max(axis=(1, 2, 3), keepdims=True) - low, 1e-12)
    grey = np.clip((kernels - low) / spread * 255.0, 0, 255).astype(np.uint8)
    shape = (across * (height + _GAP) + _GAP, across * (width + _GAP) + _GAP, channels)
    sheet = np.full(shape, 255, dtype=np.uint8)
    for place, kernel in enumerate(grey):
        top = (place // across) * (height + _GAP) + _GAP
        left = (place % across) * (width + _GAP) + _GAP
        sheet[top : top + height, left : left + width] = kernel
    factor = max(1, _SIDE // max(sheet.shape[:2]))
    large = sheet.repeat(factor, axis=0).repeat(factor, axis=1)
    shown = large[..., ::-1] if channels == 3 else large[..., 0]
    return bytes(cv2.imencode(".png", np.ascontiguousarray(shown))[1].tobytes())


def contrast_picture(
    recall: FloatArray,
    precision: FloatArray,
    contrasts: Sequence[float],
    thresholds: Sequence[float],
    images: int,
) -> bytes:
    """Draw recall and precision by contrast at prediction and by threshold.

    Args:
        recall: Shares in [0, 1], shape (contrasts, thresholds).
        precision: Shares in [0, 1], NaN where nothing is called, shape (contrasts, thresholds).
        contrasts: Contrast factors, relative to that of the trial.
        thresholds: Thresholds of the positive probability, not calibrated.
        images: Number of images.

    Returns:
        A PNG file, 1000 x 360 pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 3.6), dpi=100, layout="constrained", facecolor="white")
    for place, (name, values) in enumerate((("recall", recall), ("precision", precision))):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.imshow(values, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            shown = "-" if np.isnan(value) else f"{value:.2f}"
            axes.text(
                column, row, shown, ha="center", va="center", color="white" if value > 0.55 else "#222222"
            )
        axes.set_title(f"{name}, {images} held-out images", fontsize=11)
        axes.set_xticks(range(len(thresholds)), [f"{one:g}" for one in thresholds])
        axes.set_yticks(range(len(contrasts)), [f"{one:g}" for one in contrasts])
        axes.set(xlabel="threshold", ylabel="contrast factor")
        axes.tick_params(length=0)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
