"""Metrics agree with sklearn, thresholds with brute force, and nothing is ever NaN."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from results.run.records import OutOfFold
from results.scores.calibration import sigmoid
from results.scores.decision_rule import best_threshold
from results.scores.decisions import confusion, decisions, ranking_scores
from results.scores.fold_scores import collapsed_folds
from results.scores.metrics import (
    STANDARD,
    auc,
    decision_scores,
    f2,
    majority_baseline,
    mean_fold_auc,
    metric_named,
    scores,
)
from trainables.common.errors import DataError, OneClassError, UnknownNameError

pytestmark = pytest.mark.slow

DECISION_METRICS = [name for name, metric in STANDARD.items() if metric.judges_decisions]


def two_columns(positive):
    positive = np.asarray(positive, dtype=np.float64)
    return np.stack([1 - positive, positive], axis=1)


def out_of_fold(labels, positive, folds):
    rows = np.arange(len(labels))
    return OutOfFold(rows, np.asarray(labels), np.asarray(folds), rows.astype(str), two_columns(positive))


@st.composite
def predictions(draw, classes=2):
    """Labels with every class, and probabilities on a coarse grid, so that ties are common."""
    images = draw(st.integers(classes, 40))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images))
    labels[:classes] = range(classes)
    raw = draw(
        st.lists(
            st.lists(st.integers(1, 8), min_size=classes, max_size=classes), min_size=images, max_size=images
        )
    )
    probabilities = np.array(raw, dtype=np.float64)
    return np.array(labels), probabilities / probabilities.sum(axis=1, keepdims=True)


def sklearn_scores(labels, probabilities, decided):
    classes = probabilities.shape[1]
    binary = classes == 2
    given_scores = probabilities[:, 1] if binary else probabilities
    wanted = {"average": "binary" if binary else "macro", "zero_division": 0}
    if not binary:
        wanted["labels"] = range(classes)
    truth = labels if binary else np.eye(classes)[labels]
    return {
        "auc": reference.roc_auc_score(labels, given_scores, multi_class="ovr"),
        "average_precision": reference.average_precision_score(truth, given_scores),
        "f2": reference.fbeta_score(labels, decided, beta=2, **wanted),
        "f1": reference.f1_score(labels, decided, **wanted),
        "accuracy": reference.accuracy_score(labels, decided),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, decided),
        "recall": reference.recall_score(labels, decided, **wanted),
        "precision": reference.precision_score(labels, decided, **wanted),
        "mcc": reference.matthews_corrcoef(labels, decided),
        "log_loss": reference.log_loss(labels, probabilities, labels=range(classes)),
        "brier": float(((probabilities - np.eye(classes)[labels]) ** 2).sum(axis=1).mean())
        / (2 if binary else 1),
    }


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_every_metric_equals_sklearn(classes):
    @settings(max_examples=60, deadline=None)
    @given(predictions(classes))
    def compare(case):
        labels, probabilities = case
        found = scores(labels, probabilities, threshold=0.4)
        wanted = sklearn_scores(labels, probabilities, decisions(probabilities, 0.4))
        assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-12)
        assert set(found) == set(STANDARD)

    compare()


def test_specificity_is_the_recall_of_the_negatives():
    labels, decided = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    wanted = reference.recall_score(labels, decided, pos_label=0)
    assert decision_scores(labels, decided, 2)["specificity"] == pytest.approx(wanted)


def test_binary_brier_equals_sklearn():
    labels, positive = np.array([0, 1, 1, 0]), np.array([0.1, 0.7, 0.4, 0.6])
    wanted = reference.brier_score_loss(labels, positive)
    assert scores(labels, two_columns(positive))["brier"] == pytest.approx(wanted)


def test_confusion_equals_sklearn_with_true_classes_in_rows():
    labels, decided = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 2])
    assert (confusion(labels, decided, 3) == reference.confusion_matrix(labels, decided)).all()


def test_f2_of_the_published_precision_and_recall_is_the_published_one():
    # Seed 003: precision 0.567 and recall 0.726 give F2 0.688.
    matrix = np.array([[1000, 554], [274, 726]])
    assert float(f2(matrix)) == pytest.approx(0.688, abs=5e-4)


@settings(max_examples=60, deadline=None)
@given(predictions())
def test_no_score_is_nan_even_when_nothing_is_called_positive(case):
    labels, probabilities = case
    assert all(math.isfinite(value) for value in scores(labels, probabilities, threshold=2.0).values())
    assert scores(labels, probabilities, threshold=2.0)["precision"] == 0.0


def test_classes_without_a_case_have_no_part_in_macro_means():
    labels, probabilities = np.array([0, 0, 1, 1]), np.full((4, 3), 0.2)
    probabilities[range(4), [0, 1, 1, 1]] = 0.6
    found = scores(labels, probabilities)
    assert found["balanced_accuracy"] == 0.75
    assert found["auc"] == pytest.approx(0.75)


def test_macro_means_over_classes_with_cases_are_those_of_scikit_learn():
    random, present = np.random.default_rng(0), [0, 1, 2, 3]
    labels = random.integers(0, 4, size=200)
    weights = random.random((200, 5)) + 0.5 * np.eye(5)[labels]
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    decided = decisions(probabilities)
    found = scores(labels, probabilities)
    assert found["average_precision"] == pytest.approx(
        np.mean([reference.average_precision_score(labels == one, probabilities[:, one]) for one in present])
    )
    assert found["recall"] == pytest.approx(found["balanced_accuracy"])
    for name in ("recall", "precision", "f1"):
        score = getattr(reference, f"{name}_score")
        assert found[name] == pytest.approx(score(labels, decided, labels=present, average="macro"))


RANKING = ("auc", "average_precision", "partial_auc@0.8", "recall_at_specificity@0.9")


@pytest.mark.parametrize("metric", RANKING)
@pytest.mark.parametrize("spread", [10.0, 20.0])
def test_sure_positives_keep_their_order_in_single_precision(metric, spread):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, size=2000)
    logits = spread * (random.normal(size=2000) + 0.8 * labels) + 6
    rounded = np.stack([sigmoid(-logits), sigmoid(logits)], axis=1).astype(np.float32)
    small = np.stack([sigmoid(-logits / spread), sigmoid(logits / spread)], axis=1)
    assert (rounded[:, 1] == 1.0).mean() > 0.1
    found = metric_named(metric)
    assert float(found(labels, rounded)) == pytest.approx(float(found(labels, small)), abs=1e-6)
    turned = float(auc(1 - labels, rounded[:, ::-1]))
    assert turned == pytest.approx(reference.roc_auc_score(labels, logits), abs=1e-6)


@pytest.mark.parametrize("decimals", [1, 2, 16])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_ranking_of_plain_probabilities_is_that_of_the_positive_class(decimals, kind):
    random = np.random.default_rng(decimals)
    labels = random.integers(0, 2, size=500)
    positive = random.random(500).round(decimals).astype(kind)
    both = np.stack([1 - positive, positive], axis=1)
    _, expected = np.unique(positive, return_inverse=True)
    _, found = np.unique(ranking_scores(both, 1), return_inverse=True)
    np.testing.assert_array_equal(found, expected)
    assert float(auc(labels, both)) == pytest.approx(reference.roc_auc_score(labels, positive), abs=1e-12)


def test_auc_scores_leading_axes_one_by_one():
    random = np.random.default_rng(0)
    labels, positive = random.integers(2, size=50), random.integers(5, size=(3, 50)) / 5
    stacked = np.stack([1 - positive, positive], axis=-1)
    assert auc(labels, stacked) == pytest.approx([reference.roc_auc_score(labels, one) for one in positive])


def test_mean_fold_auc_ignores_that_folds_are_calibrated_differently():
    labels, folds = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    shifted = two_columns([0.1, 0.2, 0.8, 0.9])
    assert mean_fold_auc(labels, shifted, folds) == 1.0
    assert auc(labels, shifted) == 0.75


def test_mean_fold_auc_leaves_out_folds_of_one_class():
    labels, folds = np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1])
    assert mean_fold_auc(labels, two_columns([0.1, 0.2, 0.3, 0.4]), folds) == 1.0


def test_mean_fold_auc_needs_one_fold_with_two_classes():
    with pytest.raises(OneClassError, match="none of the 2 folds"):
        mean_fold_auc(np.array([0, 1]), two_columns([0.1, 0.9]), np.array([0, 1]))


@pytest.mark.parametrize("metric", DECISION_METRICS)
def test_best_threshold_is_as_good_as_any(metric):
    @settings(max_examples=30, deadline=None)
    @given(predictions())
    def compare(case):
        labels, probabilities = case
        positive = probabilities[:, 1]
        found = best_threshold(labels, probabilities, metric=metric)
        tried = [0.0, 1.1, *positive, *(positive + 1e-9)]
        values = [decision_scores(labels, decisions(probabilities, one), 2)[metric] for one in tried]
        reached = decision_scores(labels, decisions(probabilities, found), 2)[metric]
        assert reached == pytest.approx(max(values), abs=1e-12)

    compare()


def test_best_threshold_is_the_one_nearest_a_half_among_equals():
    # Calling all but the lowest positive, or the highest alone, is equally good: 0.15 and 0.65.
    labels, probabilities = np.array([0, 1, 0, 1]), two_columns([0.1, 0.2, 0.6, 0.7])
    assert best_threshold(labels, probabilities) == pytest.approx(0.65)


def test_best_threshold_can_call_nothing_positive_although_a_score_is_one():
    labels, probabilities = np.array([1, 0, 0, 0]), two_columns([0.0, 1.0, 1.0, 1.0])
    found = best_threshold(labels, probabilities, metric="accuracy")
    assert not decisions(probabilities, found).any()


@pytest.mark.parametrize("low", [0.3, np.nextafter(0.3, 1)])
def test_best_threshold_separates_neighbouring_floating_point_numbers(low):
    labels, probabilities = np.array([0, 1]), two_columns([low, np.nextafter(low, 1)])
    found = best_threshold(labels, probabilities)
    assert (decisions(probabilities, found) == labels).all()


def test_best_threshold_refuses_a_metric_without_decisions():
    with pytest.raises(UnknownNameError, match="unknown threshold metric 'auc'"):
        best_threshold(np.array([0, 1]), two_columns([0.1, 0.9]), metric="auc")


def test_more_than_two_classes_need_no_threshold():
    assert best_threshold(np.array([0, 1, 2]), np.eye(3)) == 0.5


def test_folds_with_one_score_for_all_images_are_named_on_whichever_side_of_a_half_it_lies():
    found = collapsed_folds(out_of_fold([0, 1, 0, 1], [0.1, 0.2, 0.9, 0.9], [0, 0, 3, 3]))
    assert found == (3,)


def test_the_majority_baseline_calls_the_most_common_class_of_the_training_part():
    labels = np.array([0, 1, 1, 1])
    found = majority_baseline(labels, 2, shares=np.array([0.8, 0.2]))
    assert (found["recall"], found["accuracy"]) == (0.0, 0.25)
    assert found["log_loss"] == pytest.approx(-(np.log(0.8) + 3 * np.log(0.2)) / 4)


def test_the_majority_baseline_knows_only_the_shares():
    found = majority_baseline(np.array([0, 0, 0, 1]), 2)
    assert (found["auc"], found["accuracy"], found["balanced_accuracy"], found["recall"]) == (
        0.5,
        0.75,
        0.5,
        0,
    )


def test_one_class_has_no_auc():
    with pytest.raises(OneClassError, match="needs two classes, found only class 1 in 3 labels"):
        scores(np.ones(3, dtype=np.int64), two_columns([0.1, 0.2, 0.3]))


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [[0.5, 0.5]], r"found \(2,\) and \(1, 2\)"),
        ([0, 1], [[0.5, 0.5], [np.nan, 0.5]], "1 of 2 rows hold others or NaN"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "labels are 0 to 1; found 0 to 2"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(labels, probabilities, message):
    with pytest.raises(DataError, match=message):
        scores(np.array(labels), np.array(probabilities))


def test_an_unknown_metric_answers_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'accuracy'"):
        metric_named("acuracy")


def test_only_losses_are_better_when_lower():
    assert {name for name, metric in STANDARD.items() if not metric.higher_is_better} == {"log_loss", "brier"}
