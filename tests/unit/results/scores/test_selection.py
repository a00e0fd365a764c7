"""A selection is scored on folds that had no part in it."""

import numpy as np
import pytest

from results.errors import ScoreError
from results.run.records import OutOfFold
from results.scores.calibration import sigmoid
from results.scores.metrics import mean_fold_auc
from results.scores.selection import best_by, selected_again


def trial(seed, strength=0.0, images=120, folds=4):
    labels, rows = np.arange(images) % 2, np.arange(images)
    value = strength * labels + np.random.default_rng(seed).normal(size=images)
    probabilities = np.stack([sigmoid(-value), sigmoid(value)], axis=1)
    return OutOfFold(rows, labels, rows // 2 % folds, rows.astype(str), probabilities)


def area(one):
    return float(mean_fold_auc(one.labels, one.probabilities, one.folds))


def test_the_best_of_many_noisy_trials_is_worth_nothing_when_selected_again():
    best, again = [], []
    for seed in range(25):
        trials = [trial(100 * seed + number) for number in range(40)]
        best.append(max(map(area, trials)))
        again.append(area(selected_again(trials, seed=0)))
    assert np.mean(best) > 0.58
    assert np.mean(again) == pytest.approx(0.5, abs=0.035)


def test_a_fold_is_predicted_by_the_trial_that_is_best_on_the_others():
    trials = [trial(0), trial(1, strength=0.7), trial(2, strength=0.7)]
    found = selected_again(trials, seed=0)
    given = np.stack([one.probabilities for one in trials])
    for fold in range(4):
        own, others = trials[0].folds == fold, trials[0].folds != fold
        (wanted,) = best_by(trials[0].labels[others], given[:, others], trials[0].folds[others], 1)
        np.testing.assert_array_equal(found.probabilities[own], given[wanted, own])


def test_a_clear_winner_keeps_its_score():
    trials = [trial(0), trial(1, strength=4.0)]
    assert area(selected_again(trials, seed=0)) == area(trials[1])


def test_a_selection_needs_patients_to_hold_out():
    one = trial(0, images=4, folds=1)
    labels = np.array([0, 0, 0, 1])
    with pytest.raises(ScoreError, match="at least two patients of each class, found 1"):
        selected_again([OutOfFold(one.rows, labels, one.folds, one.groups, one.probabilities)], seed=0)
