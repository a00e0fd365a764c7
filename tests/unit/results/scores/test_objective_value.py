"""One number of a trial: what it is for each kind of metric, how fast, and that tables show it."""

import time

import numpy as np
import pytest
from simulated_run import make_run
from simulated_trials import simulate, simulate_two_kinds
from sklearn import metrics as reference

from results.run.records import OutOfFold
from results.scores.decision_rule import best_threshold, cross_fit, deciding_metric, fit_decision_rule
from results.scores.decisions import confusion, decisions
from results.scores.fold_scores import (
    objective_value,
    objective_values,
    out_of_fold_metrics,
    value_and_folds,
)
from results.scores.leaderboard import leaderboard
from results.scores.metrics import STANDARD, f2, mean_fold_auc
from results.scores.ranking import Objectives, parse_requirement
from trainables.common.errors import ConfigError, OneClassError


def test_the_auc_is_what_it_was():
    # The default path: mean over folds of sklearn's AUC, on a seeded example.
    one = simulate(trials=1, images=300, seed=3)[0]
    by_fold = [
        reference.roc_auc_score(one.labels[one.folds == fold], one.probabilities[one.folds == fold, 1])
        for fold in range(5)
    ]
    assert objective_value(one, "auc") == pytest.approx(np.mean(by_fold), abs=1e-12)
    assert objective_value(one, "auc") == float(mean_fold_auc(one.labels, one.probabilities, one.folds))
    assert objective_value(one, "auc") == pytest.approx(0.7884606411874905, abs=1e-12)


def test_scores_of_two_fold_models_are_never_pooled():
    one = simulate(trials=1)[0]
    shifted = np.where((one.folds == 0)[:, None], one.probabilities**0.2, one.probabilities**5)
    moved = OutOfFold(
        one.rows, one.labels, one.folds, one.groups, shifted / shifted.sum(axis=1, keepdims=True)
    )
    for metric in ("auc", "average_precision", "partial_auc@0.8", "recall_at_specificity"):
        assert objective_value(moved, metric) == pytest.approx(objective_value(one, metric), abs=1e-9)


def test_decisions_are_at_the_best_threshold_of_the_other_folds():
    one = simulate(trials=1, images=400)[0]
    decided = np.zeros_like(one.labels)
    for fold in range(5):
        own = one.folds == fold
        others = OutOfFold(*(getattr(one, name)[~own] for name in OutOfFold.ARRAYS))
        rule = fit_decision_rule(others)
        calibrated = rule.calibration.apply(one.probabilities)
        threshold = best_threshold(one.labels[~own], calibrated[~own], metric="f2")
        decided[own] = decisions(calibrated[own], threshold)
    assert objective_value(one, "f2") == float(f2(confusion(one.labels, decided, 2)))


def test_the_threshold_of_a_model_is_that_of_the_first_metric_that_has_one():
    assert deciding_metric(("auc", "log_loss")) == "balanced_accuracy"
    assert deciding_metric(("auc", "f2", "mcc")) == "f2"
    assert deciding_metric(("recall",)) == "balanced_accuracy"  # a threshold of 0 would make any recall 1
    one = simulate(trials=1)[0]
    rule = fit_decision_rule(one, searched=("auc", "mcc"))
    assert rule.best_for == "mcc"
    assert rule.threshold == rule.thresholds["mcc"]
    assert set(rule.thresholds) == {"f1", "f2", "mcc"}


def test_a_required_recall_is_that_of_the_model_that_is_searched():
    one = simulate_two_kinds()[1]
    by_f2 = Objectives(("f2",), (parse_requirement("recall>=0.9"),))
    by_auc = Objectives(("auc",), (parse_requirement("recall>=0.9"),))
    assert objective_values(one, by_f2)["recall"] > 0.95
    assert objective_values(one, by_auc) == {
        "auc": objective_value(one, "auc"),
        "recall": out_of_fold_metrics(one)["recall"],
    }


def test_metrics_of_cost_are_not_in_predictions():
    with pytest.raises(ConfigError, match="ms_per_image is measured where a trial ran"):
        objective_value(simulate(trials=1)[0], "ms_per_image")
    found = objective_values(simulate(trials=1)[0], Objectives(("auc", "ms_per_image")))
    assert set(found) == {"auc"}


def test_a_fold_of_one_class_has_no_part_and_all_of_them_are_refused():
    one = simulate(trials=1, folds=2)[0]
    folds = np.where(one.labels == 1, 1, 0)
    with pytest.raises(OneClassError, match="average_precision needs two classes within a fold"):
        objective_value(
            OutOfFold(one.rows, one.labels, folds, one.groups, one.probabilities), "average_precision"
        )


@pytest.mark.parametrize("metric", ["f2", "log_loss", "average_precision", "mcc", "partial_auc@0.9"])
def test_the_leaderboard_shows_the_value_that_ranks(tmp_path, metric):
    trials = simulate(trials=4, images=200)
    run = make_run(tmp_path, trials, metrics=(metric,))
    rows = [row for row in leaderboard(run) if row.rank]
    wanted = {number: objective_value(one, metric) for number, one in trials.items()}
    assert {row.trial: row.value for row in rows} == wanted
    is_higher_better = metric != "log_loss"
    assert [row.trial for row in rows] == sorted(wanted, key=wanted.get, reverse=is_higher_better)
    assert all(row.low <= row.value <= row.high for row in rows)
    if metric in STANDARD and metric != "average_precision" and hasattr(rows[0], metric):
        assert [getattr(row, metric) for row in rows] == [row.value for row in rows]


@pytest.mark.parametrize("metric", ["auc", "f2", "log_loss", "average_precision", "balanced_accuracy"])
def test_the_value_of_an_epoch_is_cheap(metric):
    one = simulate(trials=1, images=1000)[0]
    objective_value(one, metric)
    seconds = []
    for _ in range(5):
        begun = time.process_time()
        objective_value(one, metric)
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.03  # a third of it on a quiet machine


def test_each_fold_is_scored_by_the_thresholds_that_all_folds_are_scored_by():
    one = simulate(trials=1, seed=2)[0]
    value, by_fold = value_and_folds(one, "f2", Objectives(("f2",)))
    assert value == objective_value(one, "f2")
    decided = cross_fit(one, searched=("f2",), metrics=[STANDARD["f2"]]).decided["f2"]
    for fold, found in enumerate(by_fold):
        own = one.folds == fold
        assert found == pytest.approx(reference.fbeta_score(one.labels[own], decided[own], beta=2))
    area, areas = value_and_folds(one, "auc", Objectives(("auc",)))
    assert area == pytest.approx(np.mean(areas))
    assert len(areas) == len(by_fold) == 5
