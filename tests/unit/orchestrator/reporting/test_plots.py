"""Pictures hold what they claim: curves are compared with sklearn, the rest with the drawn texts."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from orchestrator.reporting import plots
from orchestrator.reporting.plots import (
    class_curves_picture,
    confusion_picture,
    mistakes_sheet,
    pr_curve_picture,
    roc_curve_picture,
)
from results.scores.metrics import metric_named
from trainables.common.errors import DataError, OneClassError

CLASSES = ("benign", "malignant")


@pytest.fixture
def drawn(monkeypatch):
    """The figure that a picture was made of."""
    figures = []
    print_png = plots._png
    monkeypatch.setattr(plots, "_png", lambda figure: figures.append(figure) or print_png(figure))
    return figures


def predictions(images=120, folds=4):
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, images)
    positive = 1 / (1 + np.exp(-(2 * labels - 1 + random.normal(0, 1.5, images))))
    return labels, np.stack([1 - positive, positive], axis=1), np.arange(images) % folds


def opened(content):
    return Image.open(io.BytesIO(content))


def texts(figure):
    found = [text.get_text() for axes in figure.axes for text in (axes.title, *axes.texts)]
    return [*found, figure.get_suptitle()]


@pytest.mark.parametrize(
    ("draw", "score"), [(roc_curve_picture, roc_auc_score), (pr_curve_picture, average_precision_score)]
)
def test_the_title_holds_mean_and_spread_over_folds_as_sklearn_has_them(drawn, draw, score):
    labels, probabilities, folds = predictions()
    content = draw(labels, probabilities, folds)
    values = [score(labels[folds == fold], probabilities[folds == fold, 1]) for fold in range(4)]

    assert f"{np.mean(values):.3f} (sd {np.std(values, ddof=1):.3f})" in texts(drawn[0])[0]
    assert opened(content).size == (600, 560)


def test_each_fold_and_the_mean_have_a_curve(drawn):
    roc_curve_picture(*predictions(folds=5))
    labels = [line.get_label() for line in drawn[0].axes[0].lines]
    assert len(labels) == 1 + 5 + 1
    assert {"chance", "5 folds", "mean"} <= set(labels)


def test_the_area_under_the_mean_roc_curve_is_the_mean_area(drawn):
    labels, probabilities, folds = predictions(images=2000)
    roc_curve_picture(labels, probabilities, folds)
    mean = drawn[0].axes[0].lines[-1].get_xydata()
    areas = [roc_auc_score(labels[folds == fold], probabilities[folds == fold, 1]) for fold in range(4)]
    assert np.trapezoid(mean[:, 1], mean[:, 0]) == pytest.approx(np.mean(areas), abs=0.005)


def test_the_precision_curve_of_one_fold_is_the_step_that_average_precision_counts(drawn):
    labels, probabilities, folds = predictions(images=2000, folds=1)
    pr_curve_picture(labels, probabilities, folds)
    mean = drawn[0].axes[0].lines[-1].get_xydata()
    expected = average_precision_score(labels, probabilities[:, 1])
    assert np.mean(mean[1:, 1]) == pytest.approx(expected, abs=0.01)
    assert mean[-1, 1] == pytest.approx(labels.mean(), abs=0.05)


def test_a_curve_does_not_begin_at_precision_one_when_the_first_positive_is_wrong(drawn):
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])
    pr_curve_picture(np.array([0, 1, 1, 0]), probabilities, np.zeros(4, dtype=int))
    first, *_ = drawn[0].axes[0].lines[-1].get_ydata()
    assert first < 1


def test_a_fold_of_one_class_is_left_out_and_one_fold_has_no_spread(drawn):
    labels, probabilities, folds = predictions(folds=2)
    labels = np.where(folds == 1, 0, labels)
    roc_curve_picture(labels, probabilities, folds)
    assert "(one fold)" in texts(drawn[0])[0]


def test_curves_without_a_fold_of_both_classes_are_refused():
    labels, probabilities, _ = predictions()
    with pytest.raises(OneClassError, match="none of the 2 folds has"):
        roc_curve_picture(labels, probabilities, labels)


@pytest.mark.parametrize("draw", [roc_curve_picture, pr_curve_picture])
def test_curves_need_two_columns_of_probabilities(draw):
    labels, probabilities, folds = predictions()
    with pytest.raises(DataError, match=r"needs probabilities of shape \(120, 2\).* found \(120,\)"):
        draw(labels, probabilities[:, 1], folds)


def test_the_confusion_holds_counts_and_percent_of_the_true_class(drawn):
    content = confusion_picture(np.array([[30, 10], [5, 15]]), CLASSES)
    assert texts(drawn[0])[:5] == ["Confusion, 60 images", "30\n75%", "10\n25%", "5\n25%", "15\n75%"]
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(CLASSES)
    assert axes.get_ylabel().startswith("true")
    assert axes.get_xlabel() == "decided"
    assert opened(content).size == (600, 520)


def test_a_class_without_a_case_has_no_percent(drawn):
    confusion_picture(np.array([[3, 1], [0, 0]]), CLASSES)
    assert texts(drawn[0])[3:5] == ["0\nno case", "0\nno case"]


def test_a_matrix_that_does_not_fit_its_classes_is_refused():
    with pytest.raises(DataError, match=r"benign, malignant needs shape \(2, 2\), found \(3, 3\)"):
        confusion_picture(np.eye(3), CLASSES)


@pytest.mark.parametrize("shape", [(12, 20), (12, 20, 1), (12, 20, 3), (600, 500)])
def test_mistakes_are_drawn_worst_first_with_row_class_and_probability(drawn, shape):
    labels = np.array([1, 0, 1, 0, 1])
    positive = np.array([0.30, 0.95, 0.02, 0.10, 0.90])
    images = np.random.default_rng(0).integers(0, 4096, (5, *shape)).astype(np.uint16)
    content = mistakes_sheet(
        images, labels, np.stack([1 - positive, positive], axis=1), np.arange(5) + 70, CLASSES, limit=2
    )
    first, second, title = texts(drawn[0])
    assert first == "row 72\nmalignant 0.02"
    assert second == "row 71\nbenign 0.05"
    assert title.startswith("Mistakes, out of fold: the worst 2 of 3 among 5\n")
    assert opened(content).size[0] == 600
    assert max(axes.images[0].get_array().shape[0] for axes in drawn[0].axes) <= 256


def test_dark_and_constant_images_are_shown_without_a_warning(drawn):
    images = np.stack([np.linspace(100, 110, 64).reshape(8, 8), np.full((8, 8), 7.0)])
    mistakes_sheet(images, np.array([1, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]), np.arange(2), CLASSES)
    stretched = drawn[0].axes[0].images[0].get_array()
    assert (stretched.min(), stretched.max()) == (0, 1)
    assert "2 among 2" in drawn[0].get_suptitle()


def test_no_mistake_is_one_sentence():
    content = mistakes_sheet(np.zeros((2, 4, 4)), np.array([0, 1]), np.eye(2), np.arange(2), CLASSES)
    assert opened(content).size == (600, 120)


def test_a_sheet_of_unequal_arrays_is_refused():
    with pytest.raises(DataError, match="found 3 images, 2 labels, 2 rows and probabilities"):
        mistakes_sheet(np.zeros((3, 4, 4)), np.array([0, 1]), np.eye(2), np.arange(2), CLASSES)


def test_every_picture_carries_what_its_scores_are_worth(drawn):
    labels, probabilities, folds = predictions()
    images, rows = np.zeros((120, 8, 8)), np.arange(120)
    for mark in ("SYNTHETIC NAIVE SPLIT ", ""):
        roc_curve_picture(labels, probabilities, folds, mark=mark)
        pr_curve_picture(labels, probabilities, folds, mark=mark)
        confusion_picture(np.eye(2), CLASSES, mark=mark)
        mistakes_sheet(images, labels, probabilities, rows, CLASSES, mark=mark)
    said = [any("SYNTHETIC NAIVE SPLIT" in text for text in texts(figure)) for figure in drawn]
    assert said == [True] * 4 + [False] * 4


def test_the_front_is_filled_and_numbered_and_says_which_way_is_better(drawn):
    points = np.array([[5.0, 0.7], [9.0, 0.8], [9.5, 0.6], [np.nan, 0.9]])
    on_front = np.array([True, True, False, False])
    metrics = (metric_named("ms_per_image"), metric_named("auc"))
    content = plots.front_picture(points, on_front, [3, 11, 12, 20], metrics, mark="SYNTHETIC")
    assert opened(content).size == (600, 560)
    (figure,) = drawn
    (axes,) = figure.axes
    beaten, front = axes.collections
    assert np.asarray(front.get_offsets()).tolist() == [[5.0, 0.7], [9.0, 0.8]]
    assert np.ma.getmaskarray(beaten.get_offsets()).any(axis=1).tolist() == [False, True]
    assert [text.get_text() for text in axes.texts] == ["3", "11"]
    assert axes.get_xlabel() == "ms_per_image (smaller is better)"
    assert axes.get_ylabel() == "auc (larger is better)"
    assert "2 trials" in " ".join(texts(figure))
    assert "SYNTHETIC" in " ".join(texts(figure))


def test_importing_it_does_not_import_matplotlib():
    code = (
        "import orchestrator.reporting.plots, sys; print('matplotlib' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_curves_of_classes_name_the_auc_of_each_against_the_rest(drawn):
    random = np.random.default_rng(5)
    labels, folds = np.arange(120) % 3, np.arange(120) // 3 % 4
    logits = random.normal(0, 1, (120, 3)) + 1.5 * np.eye(3)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    content = class_curves_picture(labels, probabilities, folds, ("A", "B", "C"))
    areas = [
        np.mean(
            [
                roc_auc_score(labels[part] == one, probabilities[part, one])
                for part in folds == np.arange(4)[:, None]
            ]
        )
        for one in range(3)
    ]
    legend = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert legend == [f"{name} {area:.3f}" for name, area in zip("ABC", areas, strict=True)]
    assert f"mean AUC {np.mean(areas):.3f}" in texts(drawn[0])[0]
    assert opened(content).size == (600, 560)


def test_a_class_that_stands_alone_in_every_fold_has_no_curve():
    labels = np.arange(6) % 3
    with pytest.raises(OneClassError, match="a curve needs a fold with two classes; none has"):
        class_curves_picture(labels, np.full((6, 3), 1 / 3), labels, ("A", "B", "C"))


def test_long_names_of_many_classes_are_turned(drawn):
    names = [f"type_number_{place}" for place in range(8)]
    confusion_picture(np.eye(8, dtype=int), names)
    assert {label.get_rotation() for label in drawn[0].axes[0].get_xticklabels()} == {35.0}
