"""Influences of patients give the variance that resampled patients have, whatever the metric."""

import numpy as np
import pytest
from simulated_trials import simulate

from results.scores.comparison import confidence_set, differences_to
from results.scores.decision_rule import cross_fit
from results.scores.decisions import confusion
from results.scores.fold_scores import mean_over_folds, objective_value
from results.scores.influence import influences
from results.scores.metric import Metric
from results.scores.metric_interval import metric_interval
from results.scores.metrics import metric_named, register_metric
from results.scores.ranking import Objectives
from trainables.common.errors import DataError
from trainables.common.registered import forget

RESAMPLES = 400


def resampled_variance(one, name):
    """Variance over resampled patients of a metric whose calibrations and thresholds stay as they are."""
    metric, random = metric_named(name), np.random.default_rng(0)
    fitted = cross_fit(one, searched=(name,), metrics=[metric])
    patients = np.unique(one.groups, return_inverse=True)[1]
    places = [np.flatnonzero(patients == patient) for patient in range(patients.max() + 1)]
    values = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([places[own] for own in random.integers(len(places), size=len(places))])
        if metric.within_folds:
            values.append(mean_over_folds(metric, one.labels[rows], one.probabilities[rows], one.folds[rows]))
        elif metric.judges_decisions:
            values.append(float(metric(confusion(one.labels[rows], fitted.decided[name][rows], 2))))
        else:
            values.append(float(metric(one.labels[rows], fitted.probabilities[rows])))
    return np.var(values)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        *((name, 0.2) for name in ("auc", "f2", "mcc", "accuracy", "log_loss", "brier")),
        *((name, 0.3) for name in ("average_precision", "partial_auc@0.8")),
        ("recall_at_specificity@0.8", 0.5),
        ("specificity_at_recall@0.8", 0.5),
    ],
)
def test_the_variance_is_that_of_resampled_patients(name, tolerance):
    ratios = []
    for seed in range(3):
        one = simulate(trials=1, images=600, folds=3, seed=seed)[0]
        ratios.append((influences(one, name, (name,)) ** 2).sum() / resampled_variance(one, name))
    assert np.mean(ratios) == pytest.approx(1.0, abs=tolerance)


def test_equal_trials_may_all_be_the_best_and_a_far_worse_one_is_not():
    strong = simulate(trials=2, images=400, strength=3.0)
    weak = simulate(trials=1, images=400, strength=0.0, labels=strong[0].labels)
    trials = [strong[0], strong[1], weak[0]]
    for metric in ("f2", "log_loss", "average_precision", "mcc"):
        found = confidence_set(trials, seed=0, objectives=Objectives((metric,)))
        assert found == (True, True, False), metric


def test_a_difference_of_a_loss_is_negative_where_the_other_is_better():
    trials = simulate(trials=2, images=400, strength=2.0)
    blurred = type(trials[0])(
        *(getattr(trials[0], name) for name in ("rows", "labels", "folds", "groups")),
        np.full_like(trials[0].probabilities, 0.5),
    )
    (found,) = differences_to(blurred, [trials[0]], seed=0, objectives=Objectives(("log_loss",)))
    assert found.high < 0
    assert found.estimate == objective_value(trials[0], "log_loss") - objective_value(blurred, "log_loss")


def test_influences_need_the_same_images():
    one, other = simulate(trials=1, images=40)[0], simulate(trials=1, images=60)[0]
    with pytest.raises(DataError, match="needs predictions of the same images"):
        confidence_set([one, other], seed=0, objectives=Objectives(("f2",)))


@pytest.mark.parametrize("name", ["f2", "mcc", "log_loss", "brier", "average_precision", "partial_auc@0.8"])
def test_an_interval_lies_around_its_estimate_within_the_range(name):
    for strength in (0.0, 1.0, 50.0):
        one = simulate(trials=1, images=120, strength=strength)[0]
        found, metric = metric_interval(one, name, (name,), seed=0), metric_named(name)
        assert metric.low <= found.low <= found.estimate <= found.high <= metric.high
        assert found.estimate == pytest.approx(objective_value(one, name), abs=1e-12)
        assert found.high > found.low


def test_a_metric_of_the_user_has_an_interval_too(request):
    def misses(matrices):
        return 1.0 - matrices[..., 1, 1] / np.maximum(matrices[..., 1, :].sum(axis=-1), 1)

    own = Metric(name="misses", kind="decisions", function=misses, header="Miss", higher_is_better=False)
    request.addfinalizer(lambda: forget("metric", "misses"))
    register_metric(own)
    found = metric_interval(simulate(trials=1)[0], "misses", ("misses",), seed=0)
    assert 0 < found.low < found.estimate < found.high < 1
