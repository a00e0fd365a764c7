import numpy as np
import pytest

from results.errors import ScoreError
from results.run.records import OutOfFold
from results.scores.calibration import sigmoid
from results.scores.decision_rule import cross_fit, fit_decision_rule
from results.scores.fold_scores import out_of_fold_metrics
from results.scores.operating_point import Operation, odds_shift, parse_operating_point, threshold_at
from results.scores.prevalence import rates_at_prevalence
from results.scores.ranking import BY_AUC
from trainables.common.errors import ConfigError, UnknownNameError


def _drawn(images=400, seed=0, share=0.3):
    random = np.random.default_rng(seed)
    labels = (random.random(images) < share).astype(np.int64)
    positive = sigmoid(random.normal(size=images) + 2 * labels - 1.5)
    return labels, np.stack([1 - positive, positive], axis=1)


def _out_of_fold(images=400, seed=0):
    labels, probabilities = _drawn(images, seed)
    rows = np.arange(images)
    return OutOfFold(rows, labels, rows % 4, rows.astype(str), probabilities)


def _shares(labels, probabilities, threshold, prevalence):
    called = probabilities[:, 1] >= threshold
    found, alarms = called[labels == 1].mean(), called[labels == 0].mean()
    share = labels.mean() if prevalence is None else prevalence
    rate = share * found + (1 - share) * alarms
    return {"sensitivity": found, "specificity": 1 - alarms, "recall-rate": rate, "ppv": share * found / rate}


@pytest.mark.parametrize("prevalence", [None, 0.05])
@pytest.mark.parametrize(
    ("text", "is_at_most"),
    [("sensitivity=0.95", False), ("specificity=0.9", False), ("recall-rate=0.1", True), ("ppv=0.4", False)],
)
def test_of_all_thresholds_that_keep_it_none_is_better(text, is_at_most, prevalence):
    labels, probabilities = _drawn()
    point = parse_operating_point(text)
    threshold = threshold_at(labels, probabilities, point, prevalence=prevalence)
    own = _shares(labels, probabilities, threshold, prevalence)
    sign = -1 if is_at_most else 1
    assert sign * own[point.aim] >= sign * point.value - 1e-12
    for other in np.unique(probabilities[:, 1]):
        shares = _shares(labels, probabilities, other, prevalence)
        if sign * shares[point.aim] >= sign * point.value - 1e-12:
            rival = "specificity" if point.aim == "sensitivity" else "sensitivity"
            assert shares[rival] <= own[rival] + 1e-12


def test_a_cost_has_the_threshold_of_decision_theory():
    labels, probabilities = _drawn()
    assert threshold_at(labels, probabilities, parse_operating_point("cost=10:1")) == pytest.approx(1 / 11)
    assert threshold_at(labels, probabilities, parse_operating_point("cost=1:4")) == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sensitivity", "needs an aim and a number"),
        ("sensitivity=1.2", "a share between 0 and 1"),
        ("sensitivity=high", "'high' is not a number"),
        ("cost=10:0", "both costs are positive"),
        ("cost=-1", "a positive number"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_operating_point(text)


def test_a_misspelt_aim_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'sensitivity'"):
        parse_operating_point("sensitvity=0.9")


def test_a_predictive_value_that_no_threshold_reaches_is_refused_with_the_best():
    labels, probabilities = _drawn()
    labels = np.where(probabilities[:, 1] == probabilities[:, 1].max(), 0, labels)
    with pytest.raises(ScoreError, match=r"no threshold keeps ppv=0.99: the most .* is 0\.\d+"):
        threshold_at(labels, probabilities, parse_operating_point("ppv=0.99"), prevalence=0.001)


def test_the_threshold_of_a_model_is_chosen_out_of_fold_and_kept_there():
    predictions = _out_of_fold(2000)
    operation = Operation.of(at="sensitivity=0.9")
    rule = fit_decision_rule(predictions, operation=operation)
    metrics = out_of_fold_metrics(predictions, BY_AUC.at(operation))
    assert rule.operation == operation
    assert metrics["recall"] == pytest.approx(0.9, abs=0.03)
    assert metrics["auc"] == out_of_fold_metrics(predictions)["auc"]
    assert metrics["log_loss"] == out_of_fold_metrics(predictions)["log_loss"]


def test_another_prevalence_moves_the_odds_and_no_decision_of_a_sensitivity():
    predictions = _out_of_fold(1000)
    here = fit_decision_rule(predictions, operation=Operation.of(at="sensitivity=0.9"))
    there = fit_decision_rule(predictions, operation=Operation.of(at="sensitivity=0.9", prevalence=0.01))
    own, moved = (one.calibration.apply(predictions.probabilities)[:, 1] for one in (here, there))
    odds = moved / (1 - moved) / (own / (1 - own))
    np.testing.assert_allclose(np.log(odds), odds_shift(predictions.labels.mean(), 0.01), atol=1e-9)
    np.testing.assert_array_equal(own >= here.threshold, moved >= there.threshold)


def test_nothing_asked_changes_nothing():
    predictions = _out_of_fold()
    assert fit_decision_rule(predictions) == fit_decision_rule(predictions, operation=Operation())
    assert cross_fit(predictions).outcomes is None


def test_more_classes_than_two_have_no_operating_point():
    predictions = _out_of_fold()
    three = np.concatenate([predictions.probabilities * 0.5, np.full((400, 1), 0.5)], axis=1)
    of_three = OutOfFold(predictions.rows, predictions.labels, predictions.folds, predictions.groups, three)
    with pytest.raises(ScoreError, match="needs two classes, found 3"):
        fit_decision_rule(of_three, operation=Operation.of(at="specificity=0.9"))


def test_predictive_values_at_the_prevalence_of_the_data_are_those_of_the_data():
    labels, probabilities = _drawn()
    decided = (probabilities[:, 1] >= 0.5).astype(np.int64)
    found = rates_at_prevalence(labels, decided, np.arange(400), labels.mean(), seed=0)
    assert found["ppv"].estimate == pytest.approx(labels[decided == 1].mean())
    assert found["npv"].estimate == pytest.approx(1 - labels[decided == 0].mean())
    assert found["recall_rate"].estimate == pytest.approx(decided.mean())
    assert all(one.low < one.estimate < one.high for one in found.values())
