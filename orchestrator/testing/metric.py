"""Tests that every metric must pass.

A metric of your own is tested by a class of a few lines, which pytest collects::

    from orchestrator.testing.metric import MetricContract
    from my_metrics import MISSES

    class TestMisses(MetricContract):
        metric = MISSES
"""

from typing import ClassVar, Final

import numpy as np

from results.run.records import OutOfFold
from results.scores.decision_rule import deciding_metric, fit_decision_rule
from results.scores.decisions import confusion
from results.scores.fold_scores import objective_value
from results.scores.influence import influences
from results.scores.metric import Metric
from results.scores.metric_interval import metric_interval
from results.scores.metrics import METRICS, metric_named, register_metric
from results.scores.ranking import Objective
from trainables.common.registered import forget
from trainables.common.types import FloatArray, IntArray

_IMAGES: Final = 240
_FOLDS: Final = 4
_SLACK: Final = 1e-9


class MetricContract:
    """What a metric must do, whatever it judges; a subclass says which metric it is.

    Attributes:
        metric: The metric under test.
    """

    metric: ClassVar[Metric]

    def teardown_method(self) -> None:
        """Forget the metric, which the tests register if the package does not have it."""
        forget("metric", self.metric.name)

    def test_it_is_found_by_its_name(self) -> None:
        assert metric_named(_known(self.metric)).header == self.metric.header
        assert self.metric.header.strip() == self.metric.header != ""

    def test_values_lie_in_its_range_and_are_numbers(self) -> None:
        for strength in (0.0, 1.0, 1e3, -1e3):
            for predictions in _cases(self.metric, strength):
                value = _value(self.metric, predictions)
                assert np.isfinite(value)
                assert self.metric.low - _SLACK <= value <= self.metric.high + _SLACK

    def test_perfect_predictions_are_at_least_as_good_as_any(self) -> None:
        objective = Objective(_known(self.metric))
        for perfect, noisy in zip(_cases(self.metric, 1e3), _cases(self.metric, 0.5), strict=True):
            best = objective.merit(_value(self.metric, perfect))
            assert best >= objective.merit(_value(self.metric, noisy)) - _SLACK

    def test_better_predictions_are_better(self) -> None:
        # A metric that a threshold alone can bring to its best value says nothing of the scores.
        if self.metric.judges_decisions and not self.metric.has_own_threshold:
            return
        objective = Objective(_known(self.metric))
        for strong, weak in zip(_cases(self.metric, 5.0), _cases(self.metric, 0.0), strict=True):
            assert objective.is_better(_value(self.metric, strong), _value(self.metric, weak))

    def test_the_order_of_the_images_does_not_matter(self) -> None:
        random = np.random.default_rng(1)
        for predictions in _cases(self.metric, 1.0):
            order = random.permutation(len(predictions.labels))
            turned = OutOfFold(*(getattr(predictions, name)[order] for name in OutOfFold.ARRAYS))
            assert np.isclose(_value(self.metric, turned), _value(self.metric, predictions), atol=_SLACK)

    def test_decisions_are_scored_for_many_matrices_at_once(self) -> None:
        if not self.metric.judges_decisions:
            return
        random = np.random.default_rng(0)
        for classes in _classes(self.metric):
            matrices = random.integers(0, 30, size=(3, 2, classes, classes))
            found = np.asarray(self.metric(matrices))
            assert found.shape == (3, 2)
            one_by_one = [[float(self.metric(one)) for one in row] for row in matrices]
            assert np.allclose(found, one_by_one)

    def test_nothing_called_or_nothing_there_is_a_number(self) -> None:
        if not self.metric.judges_decisions:
            return
        for classes in _classes(self.metric):
            labels = np.arange(40) % classes
            for decided in (np.zeros_like(labels), np.full_like(labels, classes - 1)):
                assert np.isfinite(float(self.metric(confusion(labels, decided, classes))))
            assert np.isfinite(float(self.metric(np.zeros((classes, classes), dtype=np.int64))))

    def test_a_search_can_compare_trials_by_it(self) -> None:
        if self.metric.is_cost:
            return
        name = _known(self.metric)
        for predictions in _cases(self.metric, 1.0):
            found = influences(predictions, name, (name,))
            assert found.shape == (len(np.unique(predictions.groups)),)
            assert np.isfinite(found).all()
            interval = metric_interval(predictions, name, (name,), seed=0)
            assert interval.low <= interval.estimate <= interval.high

    def test_a_model_that_is_searched_by_it_has_a_threshold(self) -> None:
        if self.metric.classes == "ordinal":
            return
        name = _known(self.metric)
        rule = fit_decision_rule(next(iter(_cases(METRICS["auc"], 1.0))), searched=(name,))
        assert rule.best_for == deciding_metric((name,))
        assert np.isfinite(rule.threshold)

    def test_a_cost_is_measured_and_never_computed(self) -> None:
        if self.metric.is_cost:
            assert self.metric.function is None
            assert not self.metric.higher_is_better


def _known(metric: Metric) -> str:
    """The name of the metric, which is registered if the package does not have it."""
    if ":" not in metric.name and "@" not in metric.name and metric.name not in METRICS:
        register_metric(metric, replace=True)
    return metric.name


def _classes(metric: Metric) -> tuple[int, ...]:
    """Numbers of classes that the metric fits."""
    return {"two": (2,), "any": (2, 3, 5), "ordinal": (3, 5)}[metric.classes]


def _cases(metric: Metric, strength: float) -> list[OutOfFold]:
    """Predictions for each number of classes; none for a metric that predictions do not hold."""
    return [] if metric.is_cost else [_predictions(classes, strength) for classes in _classes(metric)]


def _value(metric: Metric, predictions: OutOfFold) -> float:
    return objective_value(predictions, _known(metric))


def _predictions(classes: int, strength: float) -> OutOfFold:
    """Predictions of patients with two images each, better for a larger strength and wrong below zero."""
    random = np.random.default_rng(classes)
    rows = np.arange(_IMAGES)
    patients = rows // 2
    labels: IntArray = random.permutation(_IMAGES // 2)[patients] % classes
    logits: FloatArray = strength * np.eye(classes)[labels] + random.normal(size=(_IMAGES, classes))
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    return OutOfFold(rows, labels, patients % _FOLDS, patients.astype(str), probabilities)
