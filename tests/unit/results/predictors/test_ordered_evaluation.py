"""Scores of the test part where the classes stand in an order."""

import csv
import io

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from results.ensembles.weighted_mean import WeightedMean
from results.predictors.selected_model import SelectedModel
from results.predictors.test_evaluation import (
    TestEvaluation,
    evaluation_as_csv,
    evaluation_as_json,
    evaluation_table,
    score_test,
)
from results.scores.decision_rule import DecisionRule
from results.scores.interval import Interval
from results.scores.metrics import ORDINAL, STANDARD
from results.scores.ranking import Objectives


def ordinal_model() -> SelectedModel:
    return SelectedModel(
        name="trial 1",
        trials=(1,),
        classes=("A", "B", "C", "D"),
        fitted=WeightedMean(weights=(1.0,)),
        rule=DecisionRule(calibration=None, mean_calibration=None, threshold=0.5, thresholds={}),
        auc=Interval(0.8, 0.7, 0.9),
        metrics={**dict.fromkeys(STANDARD, 0.5), "quadratic_kappa": 0.6},
        objectives=Objectives(("auc",), also=tuple(ORDINAL)),
        value=Interval(0.8, 0.7, 0.9),
        is_trial=True,
        is_ordinal=True,
    )


def ordinal_evaluation() -> tuple[np.ndarray, np.ndarray, TestEvaluation]:
    labels = np.arange(60) % 4
    decided = np.clip(labels + (np.arange(60) % 5 == 0), 0, 3)
    probabilities = np.full((60, 4), 0.1)
    probabilities[np.arange(60), decided] = 0.7
    groups = np.array([f"p{row // 4}" for row in range(60)])
    found = score_test(
        ordinal_model(),
        probabilities,
        labels,
        groups,
        training_shares=np.full(4, 0.25),
        seed=0,
    )
    return labels, decided, found


def test_classes_in_an_order_are_scored_by_how_far_decisions_lie_from_the_truth():
    labels, decided, found = ordinal_evaluation()
    kappa, distance = found.metrics["quadratic_kappa"], found.metrics["class_distance"]
    assert kappa.estimate == pytest.approx(cohen_kappa_score(labels, decided, weights="quadratic"))
    assert distance.estimate == pytest.approx(mean_absolute_error(labels, decided))
    assert found.expected["quadratic_kappa"] == 0.6
    assert found.baseline["quadratic_kappa"] == 0.0
    assert found.baseline["class_distance"] == pytest.approx(1.5)
    assert TestEvaluation.model_validate(evaluation_as_json(found)) == found


def test_tables_of_classes_in_an_order_hold_those_scores():
    _, _, found = ordinal_evaluation()
    names = [row["metric"] for row in csv.DictReader(io.StringIO(evaluation_as_csv(found)))]
    assert names == ["auc", *ORDINAL, *(name for name in STANDARD if name != "auc")]
    text = io.StringIO()
    Console(width=80, file=text).print(evaluation_table(found))
    shown = " ".join(text.getvalue().split())
    assert all(word in shown for word in ("QWKappa", "Distance", "the further from the diagonal"))


def test_many_long_class_names_are_numbered_in_the_confusion_matrix():
    names = tuple(f"type_number_{place}" for place in range(8))
    _, _, found = ordinal_evaluation()
    wide = found.model_copy(update={"classes": names, "confusion": tuple((1,) * 8 for _ in names)})
    text = io.StringIO()
    Console(width=80, file=text).print(evaluation_table(wide))
    assert all(f"{place} {name}" in text.getvalue() for place, name in enumerate(names, 1))


def test_a_look_is_not_called_the_first_where_those_of_an_earlier_search_are_not_known():
    _, _, found = ordinal_evaluation()
    said = "looks at the test part by the earlier run first are not known"
    lost = found.model_copy(update={"unknown_looks": said})
    assert found.said_of_look == "the first look"
    assert lost.said_of_look == "look number 1 of those that are known"
    text = io.StringIO()
    Console(width=80, file=text).print(evaluation_table(lost))
    shown = " ".join(text.getvalue().split())
    assert f"L{said[1:]}; of those known: look number 1." in shown
    assert "The first look" not in shown
