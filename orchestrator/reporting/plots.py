"""Plots of out-of-fold predictions for TensorBoard: arrays in, PNG bytes out.

Figures are drawn without pyplot, so there is no display, no global state and nothing to close. Colours are
from the set of Okabe and Ito, which stays distinct for colour-blind readers.
"""

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError, OneClassError
from trainables.common.types import FloatArray, IntArray

if TYPE_CHECKING:  # matplotlib takes half a second, which only those who draw should pay
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE: Final = "#0072B2"
GREY: Final = "#6B6B6B"
INK: Final = "#222222"
# One for each class of more than two; beyond eight they begin anew, dashed.
_COLOURS: Final = (*("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A7C00"),)
_DOTS_PER_INCH: Final = 100
_GRID: Final = np.linspace(0.0, 1.0, 201)
_COLUMNS: Final = 4
_LONGEST_TICKS: Final = 48  # letters of class names below a picture; more are turned
_LARGEST_CELL: Final = 256  # pixels; a larger image is thinned out before it is drawn


def roc_curve_picture(
    labels: IntArray, probabilities: FloatArray, folds: IntArray, *, mark: str = ""
) -> bytes:
    """Draw the ROC curve of each fold and their mean.

    The mean curve averages sensitivity at equal false-positive rate; the title holds the mean AUC over folds
    with its standard deviation.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Out-of-fold class probabilities in [0, 1], shape (images, 2).
        folds: Fold that held the image out, shape (images,).
        mark: Text before the title, as `results.run.split_labels.marks` gives it.

    Returns:
        A PNG file, 600 x 560 pixels.

    Raises:
        DataError: If the shapes do not fit or there are more than two classes.
        OneClassError: If no fold holds both classes.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    curves, areas = [], []
    parts = _folds_with_both_classes(labels, probabilities, folds)
    for truth, positive in parts:
        false_positive, sensitivity, _ = roc_curve(truth, positive, drop_intermediate=False)
        curves.append((false_positive, sensitivity))
        areas.append(float(roc_auc_score(truth, positive)))
    figure, axes = _square(f"ROC, out of fold: AUC {_mean_and_spread(areas)}", mark)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 4)), label="chance")
    for index, (across, up) in enumerate(curves):
        _thin(axes, across, up, is_first=index == 0, folds=len(curves))
    mean = np.mean([np.interp(_GRID, across, up) for across, up in curves], axis=0)
    axes.plot(np.r_[0.0, _GRID], np.r_[0.0, mean], color=BLUE, linewidth=2.4, label="mean")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity")
    axes.legend(loc="lower right", frameon=False)
    return _png(figure)


def pr_curve_picture(
    labels: IntArray, probabilities: FloatArray, folds: IntArray, *, mark: str = ""
) -> bytes:
    """Draw the precision-recall curve of each fold, their mean, and the share of positives as a line.

    Curves are steps, as average precision counts them: a straight line between two points would promise a
    precision that no threshold reaches. The mean averages precision at equal recall.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        probabilities: Out-of-fold class probabilities in [0, 1], shape (images, 2).
        folds: Fold that held the image out, shape (images,).
        mark: Text before the title, as `results.run.split_labels.marks` gives it.

    Returns:
        A PNG file, 600 x 560 pixels.

    Raises:
        DataError: If the shapes do not fit or there are more than two classes.
        OneClassError: If no fold holds both classes.

    Source:
        Davis and Goadrich (2006), "The relationship between precision-recall and ROC curves".
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    curves, areas = [], []
    parts = _folds_with_both_classes(labels, probabilities, folds)
    for truth, positive in parts:
        precision, recall, _ = precision_recall_curve(truth, positive)
        curves.append(_precision_at(_GRID, precision, recall))
        areas.append(float(average_precision_score(truth, positive)))
    title = f"Precision and recall, out of fold: AP {_mean_and_spread(areas)}"
    figure, axes = _square(title, mark)
    share = float(np.mean(np.concatenate([truth for truth, _ in parts])))
    axes.axhline(
        share, color=GREY, linewidth=1, linestyle=(0, (4, 4)), label=f"share of positives {share:.2f}"
    )
    for index, precision in enumerate(curves):
        _thin(axes, _GRID, precision, is_first=index == 0, folds=len(curves))
    axes.plot(_GRID, np.mean(curves, axis=0), color=BLUE, linewidth=2.4, label="mean")
    axes.set(xlabel="recall (sensitivity)", ylabel="precision")
    axes.legend(loc="lower left", frameon=False)
    return _png(figure)


def class_curves_picture(
    labels: IntArray, probabilities: FloatArray, folds: IntArray, classes: Sequence[str], *, mark: str = ""
) -> bytes:
    """Draw the mean ROC curve of each of more than two classes against the rest.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Out-of-fold class probabilities in [0, 1], shape (images, classes).
        folds: Fold that held the image out, shape (images,).
        classes: Names, in the order of the labels.
        mark: Text before the title, as `results.run.split_labels.marks` gives it.

    Returns:
        A PNG file, 600 x 560 pixels. A class that no fold holds beside others has no curve.

    Raises:
        DataError: If the shapes do not fit.
        OneClassError: If no class can be told from the rest in any fold.

    Source:
        Fawcett (2006), "An introduction to ROC analysis", section 9.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    curves: dict[str, tuple[float, FloatArray]] = {}
    for index, name in enumerate(classes):
        against_rest = np.stack([1 - probabilities[:, index], probabilities[:, index]], axis=1)
        with contextlib.suppress(OneClassError):
            parts = _folds_with_both_classes((labels == index).astype(np.int64), against_rest, folds)
            rises = [roc_curve(truth, score, drop_intermediate=False)[:2] for truth, score in parts]
            mean = np.mean([np.interp(_GRID, across, up) for across, up in rises], axis=0)
            curves[name] = float(np.mean([roc_auc_score(*part) for part in parts])), mean
    if not curves:
        raise OneClassError("a curve needs a fold with two classes; none has. Use fewer folds or more cases")
    macro = np.mean([area for area, _ in curves.values()])
    figure, axes = _square(f"ROC of each class against the rest, out of fold: mean AUC {macro:.3f}", mark)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 4)))
    for place, (name, (area, mean)) in enumerate(curves.items()):
        turn, colour = divmod(place, len(_COLOURS))
        line = "-" if turn == 0 else (0, (4, 1 + turn))
        axes.plot(
            np.r_[0.0, _GRID],
            np.r_[0.0, mean],
            color=_COLOURS[colour],
            linewidth=1.8,
            linestyle=line,
            label=f"{name} {area:.3f}",
        )
    axes.set(xlabel="1 - specificity", ylabel="sensitivity")
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    return _png(figure)


def confusion_picture(
    matrix: NDArray[Any], classes: Sequence[str], *, title: str = "Confusion", mark: str = ""
) -> bytes:
    """Draw a confusion matrix with counts and the share of each row.

    Args:
        matrix: Counts, shape (classes, classes); rows are the true class, columns the decided one.
        classes: Names, in the order of the matrix.
        title: Title that names the decisions and their threshold; the number of images is appended.
        mark: Text before the title, as `results.run.split_labels.marks` gives it.

    Returns:
        A PNG file, 600 x 520 pixels.

    Raises:
        DataError: If the matrix does not fit the classes.
    """
    counts = np.asarray(matrix)
    if counts.shape != (len(classes), len(classes)):
        raise DataError(
            f"a confusion matrix of {', '.join(classes)} needs shape ({len(classes)}, {len(classes)}), "
            f"found {counts.shape}"
        )
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    figure, axes = _axes(6.0, 5.2, f"{title}, {int(counts.sum())} images", mark)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column,
            row,
            f"{int(counts[row, column])}\n{share:.0%}" if rows[row, 0] else "0\nno case",
            ha="center",
            va="center",
            fontsize=_size_in_cells(len(classes)),
            color="white" if share > 0.55 else INK,
        )
    is_long = sum(map(len, classes)) > _LONGEST_TICKS
    turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if is_long else {}
    axes.set_xticks(range(len(classes)), classes, **turned)
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(length=0)
    axes.set(xlabel="decided", ylabel="true (percent of the row)")
    return _png(figure)


def _size_in_cells(classes: int) -> int:
    if classes <= 3:
        return 15
    return 10 if classes <= 5 else 7


@dataclass(frozen=True, slots=True)
class RowsOf:
    """Some images of a memory-mapped array; only those that are drawn are read.

    Attributes:
        images: All images, shape (rows, height, width[, channels]).
        rows: Row of each image, shape (images,).
    """

    images: NDArray[Any]
    rows: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> NDArray[Any]:
        image: NDArray[Any] = self.images[self.rows[index]]
        return image


def mistakes_sheet(
    images: NDArray[Any] | RowsOf,
    labels: IntArray,
    probabilities: FloatArray,
    rows: IntArray,
    classes: Sequence[str],
    *,
    limit: int = 16,
    mark: str = "",
) -> bytes:
    """Draw the images whose most probable class is wrong, worst first.

    Worst is the smallest probability of the true class. Contrast is stretched from the 1st to the 99th
    percentile of each image, for display only.

    Args:
        images: Images of any number type, shape (images, height, width) or (images, height, width, 1 or 3).
        labels: Class indices, shape (images,).
        probabilities: Class probabilities in [0, 1], shape (images, classes).
        rows: Row of each image in the patch set, for captions, shape (images,).
        classes: Names, in the order of the labels.
        limit: Largest number of images to draw.
        mark: Text before the title, as `results.run.split_labels.marks` gives it.

    Returns:
        A PNG file, 600 pixels wide; one sentence when there is no mistake.

    Raises:
        DataError: If the arrays do not have the same number of images.
    """
    lengths = {len(images), len(labels), len(probabilities), len(rows)}
    if len(lengths) != 1 or probabilities.shape[1:] != (len(classes),):
        raise DataError(
            "a sheet of mistakes needs as many images as labels, rows and probabilities of "
            f"{len(classes)} classes; found {len(images)} images, {len(labels)} labels, {len(rows)} rows and "
            f"probabilities {probabilities.shape}"
        )
    of_truth = probabilities[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    worst = wrong[np.argsort(of_truth[wrong], kind="stable")][:limit]
    if not len(worst):
        return _sentence(f"No mistake among {len(labels)} images", mark)
    figure = _figure(6.0, 0.75 + 1.82 * math.ceil(len(worst) / _COLUMNS))
    shown = "" if len(worst) == len(wrong) else f"the worst {len(worst)} of "
    figure.suptitle(
        _titled(f"Mistakes, out of fold: {shown}{len(wrong)} among {len(labels)}", mark)
        + "\nmost probable class is wrong; captions give the true class and its probability",
        fontsize=11,
        color=INK,
    )
    for place, index in enumerate(worst):
        axes = figure.add_subplot(math.ceil(len(worst) / _COLUMNS), _COLUMNS, place + 1)
        axes.imshow(_stretched(images[index]), cmap="gray", vmin=0.0, vmax=1.0)
        axes.set_axis_off()
        axes.set_title(
            f"row {int(rows[index])}\n{classes[labels[index]]} {of_truth[index]:.2f}", fontsize=9, color=INK
        )
    return _png(figure)


def _folds_with_both_classes(
    labels: IntArray, probabilities: FloatArray, folds: IntArray
) -> list[tuple[IntArray, FloatArray]]:
    """Labels and positive probabilities of each fold that holds both classes."""
    if probabilities.shape != (len(labels), 2) or len(folds) != len(labels):
        raise DataError(
            f"a curve needs probabilities of shape ({len(labels)}, 2) and as many folds as the {len(labels)} "
            f"labels, found {probabilities.shape} and {len(folds)} folds"
        )
    parts = [(labels[folds == fold], probabilities[folds == fold, 1]) for fold in np.unique(folds)]
    whole = [(truth, positive) for truth, positive in parts if len(np.unique(truth)) == 2]
    if not whole:
        raise OneClassError(
            f"a curve needs a fold with both classes; none of the {len(parts)} folds has. "
            "Use fewer folds or more cases"
        )
    return whole


def _precision_at(recalls: FloatArray, precision: FloatArray, recall: FloatArray) -> FloatArray:
    """Precision at the highest threshold that reaches each of `recalls`.

    `recall` and `precision` are the curve as sklearn returns it, with falling recall.
    """
    ascending, matching = recall[::-1], precision[::-1]
    places = np.searchsorted(ascending, recalls, side="left")
    # Recall 0 belongs to no threshold; sklearn's precision of 1 there would begin every curve with a spike.
    return np.asarray(matching[np.maximum(places, 1)])


def _mean_and_spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.3f}"
    return f"{mean} (sd {np.std(values, ddof=1):.3f})" if len(values) > 1 else f"{mean} (one fold)"


def _stretched(image: NDArray[Any]) -> FloatArray:
    """Scale to [0, 1] between the 1st and 99th percentile; shape (height, width[, 1 or 3])."""
    step = max(1, math.ceil(max(image.shape[:2]) / _LARGEST_CELL))
    pixels = np.asarray(image[::step, ::step], dtype=np.float64)
    low, high = np.percentile(pixels, (1, 99))
    return np.clip((pixels - low) / max(high - low, 1e-12), 0.0, 1.0)


def _thin(axes: "Axes", across: FloatArray, up: FloatArray, *, is_first: bool, folds: int) -> None:
    label = f"{folds} folds" if is_first and folds > 1 else None
    axes.plot(across, up, color=BLUE, alpha=0.35, linewidth=1, label=label)


def _square(title: str, mark: str) -> "tuple[Figure, Axes]":
    figure, axes = _axes(6.0, 5.6, title, mark)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.grid(color="#E3E3E3", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _axes(width: float, height: float, title: str, mark: str) -> "tuple[Figure, Axes]":
    figure = _figure(width, height)
    axes = figure.add_subplot()
    axes.set_title(_titled(title, mark), fontsize=12, color=INK, pad=12)
    return figure, axes


def _titled(title: str, mark: str) -> str:
    return f"{mark.rstrip()}\n{title}" if mark else title


def _sentence(text: str, mark: str) -> bytes:
    figure = _figure(6.0, 1.2)
    figure.text(0.5, 0.5, _titled(text, mark), ha="center", va="center", fontsize=12, color=INK)
    return _png(figure)


def _figure(width: float, height: float) -> "Figure":
    """An empty figure, size in inches of 100 pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained", facecolor="white")


def _png(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
