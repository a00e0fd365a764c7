"""Scores of ordered classes, compared with scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from results.scores.decision_intervals import ordinal_intervals
from results.scores.metrics import confusion
from results.scores.ordinal import ORDINAL_METRICS, class_distance, quadratic_kappa


@pytest.mark.parametrize("classes", [2, 3, 4, 8])
def test_both_scores_are_those_of_scikit_learn(classes: int) -> None:
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, 200)
    decided = np.clip(labels + random.integers(-1, 2, 200), 0, classes - 1)
    matrix = confusion(labels, decided, classes)
    assert quadratic_kappa(matrix) == pytest.approx(cohen_kappa_score(labels, decided, weights="quadratic"))
    assert class_distance(matrix) == pytest.approx(mean_absolute_error(labels, decided))


def test_a_far_miss_is_worse_than_a_near_one() -> None:
    near, far = np.diag([5, 5, 5]), np.diag([5, 5, 5])
    near[0, 1], far[0, 2] = 1, 1
    assert quadratic_kappa(near) > quadratic_kappa(far)
    assert class_distance(near) < class_distance(far)


def test_many_matrices_are_scored_at_once() -> None:
    matrices = np.random.default_rng(0).integers(1, 9, (3, 2, 4, 4))
    for function in (quadratic_kappa, class_distance):
        found = function(matrices)
        assert found.shape == (3, 2)
        assert found[1, 1] == pytest.approx(float(function(matrices[1, 1])))


def test_one_class_alone_and_no_case_at_all_are_0() -> None:
    for matrix in (np.diag([7, 0, 0]), np.zeros((3, 3))):
        assert quadratic_kappa(matrix) == 0.0
        assert class_distance(matrix) == 0.0


def test_intervals_hold_the_score_and_narrow_with_more_patients() -> None:
    random = np.random.default_rng(0)

    def intervals(count: int) -> dict[str, float]:
        labels = np.arange(count) % 4
        decided = np.clip(labels + (random.random(count) < 0.3), 0, 3)
        found = ordinal_intervals(labels, decided, np.arange(count), classes=4, seed=0)
        assert all(one.low <= one.estimate <= one.high for one in found.values())
        return {name: one.high - one.low for name, one in found.items()}

    few, many = intervals(40), intervals(800)
    assert list(few) == list(ORDINAL_METRICS)
    assert all(many[name] < few[name] / 2 for name in few)
