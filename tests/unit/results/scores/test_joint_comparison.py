"""Many models compared at once: equals are rarely told apart, clear differences always."""

import dataclasses

import numpy as np
import pytest

from results.run.records import OutOfFold
from results.scores.auc_interval import auc_interval
from results.scores.calibration import sigmoid
from results.scores.interval import Interval
from results.scores.joint_comparison import confidence_set, differences_to
from trainables.common.errors import DataError


def trials(strengths, seed, images=160, folds=4):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(images) % 2)
    rows = np.arange(images)
    return [
        OutOfFold(
            rows, labels, rows % folds, rows.astype(str), np.stack([sigmoid(-value), sigmoid(value)], axis=1)
        )
        for value in (strength * labels + random.normal(size=images) for strength in strengths)
    ]


def test_of_equal_trials_at_least_one_leaves_the_set_in_at_most_a_few_data_sets():
    lost = sum(not all(confidence_set(trials([1.0] * 10, seed), seed=0)) for seed in range(60))
    assert lost <= 7  # 5 % of 60 are 3


def test_clearly_worse_trials_are_not_in_the_set():
    assert confidence_set(trials([3.0, 3.0, 0.0, 0.5], 0), seed=0) == (True, True, False, False)


@pytest.mark.parametrize("seed", range(4))
def test_what_chance_cannot_explain_is_told_without_draws_and_the_set_is_the_same(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = trials(np.random.default_rng(seed).uniform(0.0, 2.5, 80), seed)
    taken, quantile = [], np.quantile
    monkeypatch.setattr(np, "quantile", lambda *asked: taken.append(1) or quantile(*asked))
    found, drawn = confidence_set(compared, seed=0), len(taken)
    taken.clear()
    monkeypatch.setattr("results.scores.joint_comparison._beyond_chance", lambda trials: np.inf)
    assert found == confidence_set(compared, seed=0)
    assert 2 <= sum(found) < 70
    assert drawn < 0.7 * len(taken)


def test_one_trial_may_be_the_best():
    assert confidence_set(trials([1.0], 0), seed=0) == (True,)


def test_equal_predictions_stay_in_the_set_together():
    (one,) = trials([1.0], 0)
    assert confidence_set([one, one, one], seed=0) == (True, True, True)


def test_joint_intervals_all_hold_the_truth_about_as_often_as_they_say():
    held = 0
    for seed in range(60):
        reference, *others = trials([1.0] * 6, seed, folds=1)
        held += all(one.holds(0.0) for one in differences_to(reference, others, seed=0))
    assert held >= 51


def test_a_difference_is_that_of_the_aucs_and_nothing_is_compared_with_nothing():
    reference, better = trials([0.0, 3.0], 0)
    (found,) = differences_to(reference, [better], seed=0)
    assert found.low > 0
    assert found.estimate == pytest.approx((found.low + found.high) / 2)
    assert differences_to(reference, [], seed=0) == []


def test_other_images_cannot_be_compared():
    with pytest.raises(DataError, match="rows that do not match"):
        confidence_set([*trials([1.0], 0), *trials([1.0], 0, images=80)], seed=0)


def test_a_difference_is_narrower_than_what_the_two_intervals_suggest():
    (strong,) = trials([1.0], 6, images=600)
    noise = np.random.default_rng(0).normal(scale=0.05, size=600)
    positive = np.clip(strong.probabilities[:, 1] + noise, 0, 1)
    weak = dataclasses.replace(strong, probabilities=np.stack([1 - positive, positive], axis=1))
    (difference,) = differences_to(strong, [weak], seed=0)
    alone = auc_interval(strong)
    assert difference.high - difference.low < (alone.high - alone.low) / 2


def test_a_difference_to_itself_is_nothing():
    (one,) = trials([1.0], 7)
    assert differences_to(one, [one], seed=0) == [Interval(0.0, 0.0, 0.0)]


def test_a_reversed_ranking_is_not_in_the_set_of_a_perfect_one_although_no_patient_varies():
    (perfect,) = trials([50.0], 0)
    turned = dataclasses.replace(perfect, probabilities=perfect.probabilities[:, ::-1])
    assert confidence_set([perfect, turned], seed=0) == (True, False)
    assert confidence_set([turned, perfect, perfect, turned], seed=0) == (False, True, True, False)
    (found,) = differences_to(perfect, [turned], seed=0)
    assert found.low < found.estimate == -1.0 < found.high < 0.0


def test_of_perfect_and_constant_trials_with_few_patients_all_may_be_the_best():
    (perfect,) = trials([50.0], 0, images=12, folds=1)
    constant = dataclasses.replace(perfect, probabilities=np.full((12, 2), 0.5))
    assert confidence_set([perfect, constant], seed=0) == (True, True)
    (found,) = differences_to(perfect, [constant], seed=0)
    assert found.low < 0.0 < found.high
