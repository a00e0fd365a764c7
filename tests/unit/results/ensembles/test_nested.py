"""Nested evaluation: honest on noise, better than one trial where possible, a tie to the simpler method."""

import numpy as np
import pytest
from simulated_trials import simulate

from results.ensembles.members import align
from results.ensembles.methods import METHODS, fit
from results.ensembles.nested import EnsembleScore, choose, nested_evaluation
from results.errors import ScoreError
from results.run.records import OutOfFold
from results.scores.fold_scores import out_of_fold_metrics
from results.scores.interval import Interval
from results.scores.metrics import STANDARD, mean_fold_auc
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.ranking import Objectives
from trainables.common.errors import UnknownNameError


def test_averaging_independent_noise_beats_the_best_single_trial_beyond_doubt():
    scores = nested_evaluation(align(simulate(trials=5, images=600)), ["average"], max_members=5, seed=0)
    single, average = scores
    assert single.method == "best_single"
    assert single.difference is None
    assert average.auc.estimate > single.auc.estimate + 0.05
    assert average.difference.low > 0


def test_on_noise_every_method_is_no_better_than_chance_although_its_fit_looks_good():
    nested: dict[str, list[float]] = {method: [] for method in METHODS}
    fitted: dict[str, list[float]] = {method: [] for method in METHODS}
    for seed in range(4):
        members = align(simulate(trials=8, images=300, strength=0.0, seed=seed))
        for score in nested_evaluation(members, max_members=3, seed=seed)[1:]:
            nested[score.method].append(score.auc.estimate)
            best = members.only(members.order(3))
            combined = fit(score.method, best, seed).combine(best.probabilities)
            fitted[score.method].append(float(mean_fold_auc(members.labels, combined, members.folds)))
    for method in METHODS:
        assert np.mean(nested[method]) == pytest.approx(0.5, abs=0.05), method
        assert np.mean(fitted[method]) > 0.54, method
        assert np.mean(fitted[method]) > np.mean(nested[method]) + 0.02, method


def test_a_fold_is_predicted_without_its_labels():
    trials = simulate(trials=3)
    labels = trials[0].labels.copy()
    own = trials[0].folds == 2
    labels[own] = 1 - labels[own]
    turned = {
        n: OutOfFold(one.rows, labels, one.folds, one.groups, one.probabilities) for n, one in trials.items()
    }
    for method in METHODS:
        before, after = (
            nested_evaluation(align(one), [method], max_members=2, seed=0)[1].out_of_fold
            for one in (trials, turned)
        )
        assert (before.probabilities[own] == after.probabilities[own]).all(), method
    assert not (before.probabilities[~own] == after.probabilities[~own]).all()


def test_the_best_single_trial_is_scored_like_on_the_leaderboard():
    trials = simulate(trials=1)
    score = nested_evaluation(align(trials), [], max_members=1, seed=0)[0]
    only = trials[0]
    assert score.auc.estimate == pytest.approx(mean_fold_auc(only.labels, only.probabilities, only.folds))
    assert np.mean(score.fold_auc) == pytest.approx(score.auc.estimate)
    assert set(score.metrics) == set(STANDARD)


def test_each_fold_of_the_best_single_trial_comes_from_one_trial():
    pool = align(simulate(trials=5, images=600))
    found = nested_evaluation(pool, [], max_members=5, seed=0)[0].out_of_fold
    for fold in range(5):
        own = pool.folds == fold
        assert any((found.probabilities[own] == one[own]).all() for one in pool.probabilities)


@pytest.mark.parametrize("folds", [1, 2])
def test_trials_with_few_folds_get_patient_grouped_ones(folds):
    pool = align(simulate(folds=folds))
    found = nested_evaluation(pool, ["average"], max_members=2, seed=0)[1].out_of_fold
    assert len(np.unique(found.folds)) == (5 if folds == 1 else 6)  # three of each of two folds
    for patient in np.unique(found.groups):
        assert len(np.unique(found.folds[found.groups == patient])) == 1


def test_a_score_needs_patients_to_hold_out():
    trials = simulate(trials=1, images=4, folds=1, labels=np.array([0, 0, 0, 1]))
    with pytest.raises(ScoreError, match="at least two patients of each class, found 1"):
        nested_evaluation(align(trials), [], max_members=1, seed=0)


def test_no_method_is_fitted_before_all_names_are_known():
    with pytest.raises(UnknownNameError, match="unknown ensemble method 'vote'"):
        nested_evaluation(align(simulate()), ["average", "vote"], max_members=2, seed=0)


def test_methods_are_scored_by_the_decisions_that_are_asked_for():
    asked = Operation.of(at="sensitivity=0.97")
    pool = align(simulate(trials=3), objectives=Objectives(("recall",)))
    plain, other = (
        nested_evaluation(pool, ["average"], max_members=2, seed=0, operation=operation)
        for operation in (NOTHING_ASKED, asked)
    )
    for before, after in zip(plain, other, strict=True):
        assert (before.out_of_fold.probabilities == after.out_of_fold.probabilities).all()
        assert after.metrics == out_of_fold_metrics(after.out_of_fold, pool.objectives.at(asked))
        assert after.metrics["recall"] > before.metrics["recall"] + 0.02
        assert after.value.estimate == pytest.approx(after.metrics["recall"])
    assert other[1].difference.estimate == pytest.approx(
        other[1].metrics["recall"] - other[0].metrics["recall"]
    )


def scored(method, out_of_fold):
    given = Interval(0.5, 0.4, 0.6)
    return EnsembleScore(method, out_of_fold, given, given, (0.5,), None, {})


def test_methods_that_the_data_cannot_tell_apart_give_way_to_the_simplest():
    trials = simulate(trials=3)
    found = choose(
        [scored("best_single", trials[0]), scored("stack_mlp", trials[1]), scored("greedy", trials[2])],
        seed=0,
    )
    assert found.method == "greedy"


def test_a_clearly_better_method_is_chosen_however_complex():
    good, bad = (
        simulate(trials=1, images=600, strength=3.0)[0],
        simulate(trials=1, images=600, strength=0.2)[0],
    )
    assert choose([scored("average", bad), scored("stack_mlp", good)], seed=0).method == "stack_mlp"


def test_the_single_trial_is_chosen_only_when_alone():
    assert choose([scored("best_single", simulate(trials=1)[0])], seed=0).method == "best_single"


@pytest.mark.long
def test_on_noise_hardly_any_method_is_said_to_beat_the_single_trial():
    claims = 0
    for seed in range(20):
        members = align(simulate(trials=12, images=120, strength=0.0, seed=seed))
        scores = nested_evaluation(members, max_members=4, seed=seed)[1:]
        claims += any(score.difference.low > 0 for score in scores)
    assert claims <= 3  # 5 % are expected
