"""Metrics are found by name, in a module of the user and among those registered, and agree with sklearn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from results.scores.metric import Metric
from results.scores.metrics import (
    METRICS,
    STANDARD,
    metric_named,
    partial_auc,
    recall_at_specificity,
    register_metric,
    specificity_at_recall,
)
from trainables.common.errors import ConfigError, OneClassError, UnknownNameError
from trainables.common.registered import forget

OWN_MODULE = """
from results.scores.decisions import ratio
from results.scores.metric import Metric


def misses(matrices):
    return ratio(matrices[..., 1, 0], matrices[..., 1, :].sum(axis=-1))


MISSES = Metric(name="misses", kind="decisions", function=misses, header="Miss", higher_is_better=False)
NOT_A_METRIC = 3
"""


@st.composite
def two_class_predictions(draw):
    """Labels of both classes, and scores on a coarse grid, so that ties are common."""
    images = draw(st.integers(4, 60))
    labels = draw(st.lists(st.integers(0, 1), min_size=images, max_size=images))
    labels[:2] = 0, 1
    scores = np.array(draw(st.lists(st.integers(0, 10), min_size=images, max_size=images))) / 10
    return np.array(labels), np.stack([1 - scores, scores], axis=1)


@settings(max_examples=80, deadline=None)
@given(two_class_predictions(), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_a_partial_auc_is_that_of_sklearn(case, specificity):
    labels, probabilities = case
    wanted = reference.roc_auc_score(labels, probabilities[:, 1], max_fpr=1 - specificity)
    assert partial_auc(labels, probabilities, specificity) == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(two_class_predictions(), st.sampled_from([0.5, 0.8, 0.9]))
def test_single_points_of_the_curve_are_those_of_sklearn(case, wanted):
    labels, probabilities = case
    false_alarms, found, _ = reference.roc_curve(labels, probabilities[:, 1], drop_intermediate=False)
    at_specificity = found[1 - false_alarms >= wanted - 1e-12].max()
    at_recall = (1 - false_alarms[found >= wanted - 1e-12]).max()
    assert recall_at_specificity(labels, probabilities, wanted) == pytest.approx(at_specificity)
    assert specificity_at_recall(labels, probabilities, wanted) == pytest.approx(at_recall)


@pytest.mark.parametrize("function", [partial_auc, recall_at_specificity, specificity_at_recall])
def test_the_curve_needs_two_classes(function):
    with pytest.raises(OneClassError, match="needs two classes, found only class 1"):
        function(np.ones(3, dtype=int), np.full((3, 2), 0.5))


def test_the_standard_metrics_are_those_of_every_table_in_its_order():
    assert list(STANDARD) == [
        *("auc", "average_precision", "f2", "f1", "accuracy", "balanced_accuracy", "recall", "precision"),
        *("specificity", "mcc", "log_loss", "brier"),
    ]
    assert {name for name, metric in METRICS.items() if metric.is_cost} == {"ms_per_image", "megabytes"}
    assert len(METRICS) >= 17


def test_a_name_may_end_with_a_number():
    metric = metric_named("partial_auc@0.80")
    assert (metric.name, metric.header) == ("partial_auc@0.8", "pAUC@0.8")
    labels, scores = np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    assert metric(labels, scores) == partial_auc(labels, scores, 0.8)
    assert metric_named("partial_auc")(labels, scores) == partial_auc(labels, scores, 0.9)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("partial_auc@1.5", r"partial_auc@1\.5: its specificity lies between 0 and 1, both excluded"),
        ("partial_auc@much", "needs a number behind @, such as partial_auc@0.9"),
        ("f2@0.5", "metric f2 takes no number; name it without @0.5"),
    ],
)
def test_a_number_that_cannot_be_is_refused(name, said):
    with pytest.raises(ConfigError, match=said):
        metric_named(name)


def test_an_unknown_metric_gives_the_nearest_name():
    with pytest.raises(UnknownNameError, match="unknown metric 'recal'; did you mean 'recall'"):
        metric_named("recal")
    with pytest.raises(UnknownNameError, match="did you mean 'partial_auc'"):
        metric_named("partial_auk@0.9")
    with pytest.raises(UnknownNameError, match=r"specificity_at_recall; MODULE:NAME names one of your own$"):
        metric_named("nonsense")


def test_a_metric_of_the_user_is_found_in_a_module(tmp_path, monkeypatch):
    (tmp_path / "my_own_metrics.py").write_text(OWN_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    metric = metric_named("my_own_metrics:MISSES")
    assert metric.name == "my_own_metrics:MISSES"
    assert metric(np.array([[3, 1], [1, 3]])) == 0.25
    with pytest.raises(ConfigError, match=r"must be a Metric .* found int"):
        metric_named("my_own_metrics:NOT_A_METRIC")
    with pytest.raises(ConfigError, match="module my_own_metrics has no 'HITS'"):
        metric_named("my_own_metrics:HITS")
    with pytest.raises(ConfigError, match="cannot be imported"):
        metric_named("no_such_module_at_all:HITS")


def test_a_registered_metric_is_found_and_names_cannot_be_taken_twice(request):
    request.addfinalizer(lambda: forget("metric", "halved"))
    own = Metric(name="halved", kind="decisions", function=lambda matrices: matrices, header="half")
    register_metric(own)
    assert metric_named("halved") is own
    with pytest.raises(ConfigError, match="'halved' is registered already"):
        register_metric(own)
    register_metric(own, replace=True)
    with pytest.raises(ConfigError, match="'auc' is one of this package's own"):
        register_metric(METRICS["auc"])
    with pytest.raises(ConfigError, match="letters, digits and _ only, found 'a b'"):
        register_metric(Metric(name="a b", kind="decisions", function=lambda matrices: matrices, header="x"))


def test_a_metric_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="a metric of decisions needs a function"):
        Metric(name="empty", kind="decisions", function=None, header="x")
    with pytest.raises(ConfigError, match="is measured and has no function"):
        Metric(name="timed", kind="cost", function=len, header="x")
    with pytest.raises(ConfigError, match="its range goes from low to high, found 1 to 0"):
        Metric(name="turned", kind="decisions", function=len, header="x", low=1.0, high=0.0)
    with pytest.raises(ConfigError, match="ms_per_image is measured where a trial ran"):
        METRICS["ms_per_image"](np.zeros(2))
