"""Influences of patients give the variance that resampled patients have, whatever the metric."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_trials import simulate

from results.run.records import OutOfFold
from results.scores.calibration import sigmoid
from results.scores.decision_rule import cross_fit
from results.scores.decisions import confusion
from results.scores.fold_scores import mean_over_folds, objective_value
from results.scores.influence import influences, probability_influences
from results.scores.joint_comparison import confidence_set, differences_to
from results.scores.metric import Metric
from results.scores.metric_interval import metric_interval
from results.scores.metrics import metric_named, register_metric
from results.scores.ranking import Objectives
from trainables.common.errors import DataError
from trainables.common.registered import forget

pytestmark = pytest.mark.slow

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


def two_equal_models(random, *, patients, positives, folds):
    """Predictions of two models with the same true AUC of 0.8; each patient has one image."""
    rows = np.arange(patients)
    labels = (rows < positives).astype(np.int64)
    within = np.where(labels == 1, rows, rows - positives)
    common = random.normal(size=patients)
    for _ in range(2):
        score = (common + random.normal(size=patients)) / np.sqrt(2) + 1.19 * labels
        yield OutOfFold(rows, labels, within % folds, rows.astype(str), of_positive(sigmoid(score)))


def of_positive(positive):
    return np.stack([1 - positive, positive], axis=1)


@pytest.mark.parametrize(
    "name",
    ["average_precision", "partial_auc@0.9", "recall_at_specificity@0.9", "specificity_at_recall@0.9"],
)
def test_the_standard_error_is_the_true_spread_where_a_fold_holds_four_positives(name):
    random, sets = np.random.default_rng(1), 60
    values, variances, apart, variances_apart = [], [], [], []
    for _ in range(sets):
        models = list(two_equal_models(random, patients=160, positives=16, folds=4))
        found = [influences(one, name, (name,)) for one in models]
        both = [objective_value(one, name) for one in models]
        values += both
        variances += [(one**2).sum() for one in found]
        apart.append(both[0] - both[1])
        variances_apart.append(((found[0] - found[1]) ** 2).sum())
    assert 0.8 < np.sqrt(np.mean(variances)) / np.std(values) < 1.4
    assert 0.8 < np.sqrt(np.mean(variances_apart)) / np.std(apart) < 1.4
    told_apart = np.abs(apart) > 1.96 * np.sqrt(variances_apart)
    assert told_apart.mean() <= 0.15


@pytest.mark.parametrize("name", ["average_precision", "partial_auc@0.8"])
@pytest.mark.parametrize("decimals", [1, 6])
def test_many_patients_left_out_at_once_are_the_same_as_one_by_one(name, decimals):
    random = np.random.default_rng(decimals)
    labels, patients = random.integers(0, 2, size=60), random.integers(0, 25, size=60)
    probabilities = of_positive(random.random(60).round(decimals))
    metric = metric_named(name)
    found = probability_influences(metric, labels, probabilities, patients)
    slow = probability_influences(replace(metric, influences=None), labels, probabilities, patients)
    np.testing.assert_allclose(found, slow, atol=1e-12)


def test_a_patient_without_whom_a_class_is_missing_has_no_influence():
    labels, patients = np.array([0, 0, 0, 1]), np.arange(4)
    probabilities = of_positive(np.array([0.1, 0.9, 0.4, 0.6]))
    metric = metric_named("average_precision")
    for own in (metric, replace(metric, influences=None)):
        found = probability_influences(own, labels, probabilities, patients)
        assert found[3] == 0.0
        assert found[1] < 0.0


@pytest.mark.parametrize("name", ["recall_at_specificity@0.9", "specificity_at_recall@0.9"])
def test_equal_scores_and_few_patients_give_numbers_for_points_of_the_curve(name):
    for score in ([0.5, 0.5, 0.5, 0.5], [0.1, 0.2, 0.8, 0.9], [0.9, 0.8, 0.2, 0.1], [1.0, 0.0, 0.5, 0.5]):
        found = probability_influences(
            metric_named(name), np.array([0, 0, 1, 1]), of_positive(np.array(score)), np.arange(4)
        )
        assert np.isfinite(found).all()
        assert found.sum() == pytest.approx(0.0, abs=1e-12)


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
