"""Ensemble methods: equal to sklearn, repeatable, whole after JSON, and never fooled by a weak member."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from simulated_trials import simulate
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from results.ensembles.fitted import fit_standardiser, sample_points
from results.ensembles.members import align, positive_logits
from results.ensembles.methods import METHODS, FittedEnsemble, fit
from results.ensembles.methods.grid import weight_grid
from results.ensembles.methods.mlp import HIDDEN_UNITS, MOST_ITERATIONS, PENALTY
from results.ensembles.weighted_mean import WeightedMean
from results.errors import EnsembleError
from results.run.records import OutOfFold
from results.scores.metrics import mean_fold_auc
from trainables.common.errors import OneClassError, UnknownNameError
from trainables.common.seeds import LARGEST_SEED

STACKED = [name for name in METHODS if name.startswith("stack_")]


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_survives_json_and_gives_probabilities(method):
    members = align(simulate())
    fitted = fit(method, members, seed=0)
    adapter = TypeAdapter(FittedEnsemble)
    again = adapter.validate_json(adapter.dump_json(fitted))
    combined = again.combine(members.probabilities)
    assert type(again) is type(fitted)
    assert (combined == fitted.combine(members.probabilities)).all()
    assert combined.shape == (300, 2)
    assert ((combined >= 0) & (combined <= 1)).all()
    assert combined.sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_is_repeatable_and_works_with_one_member(method):
    members = align(simulate(trials=1))
    first, again = (fit(method, members, seed=3).combine(members.probabilities) for _ in range(2))
    assert (first == again).all()


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_takes_a_seed_beyond_32_bits(method):
    members = align(simulate())
    assert np.isfinite(fit(method, members, seed=LARGEST_SEED).combine(members.probabilities)).all()


@pytest.mark.parametrize("method", list(METHODS))
def test_certain_members_do_not_break_a_method(method):
    members = align(simulate(strength=2000.0))
    assert np.isfinite(fit(method, members, seed=0).combine(members.probabilities)).all()


def new_images(seed=9):
    return np.stack([one.probabilities for one in simulate(images=100, seed=seed).values()])


def standardised(members, probabilities):
    scaler = fit_standardiser(positive_logits(members.probabilities))
    return scaler.apply(positive_logits(members.probabilities)), scaler.apply(positive_logits(probabilities))


def test_the_logistic_stack_equals_sklearn():
    members, unseen = align(simulate()), new_images()
    train, test = standardised(members, unseen)
    wanted = LogisticRegression(max_iter=1000).fit(train, members.labels).predict_proba(test)
    assert fit("stack_logistic", members, 0).combine(unseen) == pytest.approx(wanted, abs=1e-6)


def test_the_neighbour_stack_equals_sklearn():
    members, unseen = align(simulate()), new_images()
    train, test = standardised(members, unseen)
    fitted = fit("stack_knn", members, 0)
    wanted = KNeighborsClassifier(fitted.neighbours).fit(train, members.labels).predict_proba(test)
    assert fitted.neighbours == 17
    # One more neighbour of each class keeps the share from 0 and 1, where it has no logit.
    assert fitted.combine(unseen) == pytest.approx((17 * wanted + 1) / 19, abs=1e-6)


def test_the_support_vector_stack_equals_sklearn():
    members, unseen = align(simulate()), new_images()
    train, test = standardised(members, unseen)
    wanted = SVC(class_weight="balanced").fit(train, members.labels).decision_function(test)
    fitted = fit("stack_svm", members, 0)
    assert fitted.decision(unseen) == pytest.approx(wanted, abs=1e-6)
    assert fitted.combine(unseen)[:, 1] == pytest.approx(fitted.platt.apply_to_scores(wanted), abs=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_perceptron_stack_equals_sklearn():
    members, unseen = align(simulate()), new_images()
    train, test = standardised(members, unseen)
    reference = MLPClassifier(
        (HIDDEN_UNITS,),
        activation="tanh",
        solver="lbfgs",
        alpha=PENALTY,
        max_iter=MOST_ITERATIONS,
        random_state=0,
    )
    wanted = reference.fit(train, members.labels).predict_proba(test)
    assert fit("stack_mlp", members, 0).combine(unseen) == pytest.approx(wanted, abs=1e-6)


def test_blocks_of_images_do_not_change_the_combination(monkeypatch):
    members, unseen = align(simulate()), new_images()
    for method, module in (("stack_knn", "knn"), ("stack_svm", "svm")):
        fitted = fit(method, members, 0)
        whole = fitted.combine(unseen)
        monkeypatch.setattr(f"results.ensembles.methods.{module}._CELLS_AT_ONCE", 1000)
        assert fitted.combine(unseen) == pytest.approx(whole, abs=1e-12)


def test_weighted_means_take_more_than_two_classes():
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    raw = random.random((2, 60, 3)) + np.eye(3)[labels]
    trials = {
        number: OutOfFold(np.arange(60), labels, np.arange(60) // 3 % 4, np.arange(60).astype(str), one)
        for number, one in enumerate(raw / raw.sum(axis=-1, keepdims=True))
    }
    for method in ("average", "greedy", "grid"):
        assert fit(method, align(trials), 0).combine(align(trials).probabilities).shape == (60, 3)
    for method in STACKED:
        with pytest.raises(EnsembleError, match="needs two classes, found 3"):
            fit(method, align(trials), 0)


@pytest.mark.parametrize("method", ["greedy", "grid"])
def test_fitted_weights_leave_out_a_member_that_is_wrong(method):
    right, wrong = simulate(trials=1, strength=3.0)[0], simulate(trials=1, strength=-3.0)[0]
    assert fit(method, align({0: wrong, 1: right}), 0).weights == (0.0, 1.0)


def test_greedy_never_falls_below_the_best_member():
    members = align(simulate(trials=6, images=120, strength=0.5))
    combined = fit("greedy", members, 0).combine(members.probabilities)
    best = mean_fold_auc(members.labels, members.probabilities, members.folds).max()
    assert mean_fold_auc(members.labels, combined, members.folds) >= best


def test_a_perfect_member_needs_no_company():
    usual = simulate(trials=1)[0]
    perfect, weak = 0.1 + 0.8 * usual.labels, 0.4 + 0.2 * usual.probabilities[:, 1]
    members = {
        number: OutOfFold(
            usual.rows, usual.labels, usual.folds, usual.groups, np.stack([1 - positive, positive], axis=1)
        )
        for number, positive in enumerate([weak, perfect])
    }
    assert fit("greedy", align(members), 0).weights == (0.0, 1.0)


def test_greedy_gives_equal_members_to_the_earlier():
    one = simulate(trials=1)[0]
    assert fit("greedy", align({0: one, 1: one}), 0).weights == (1.0, 0.0)


def test_the_weight_grid_holds_the_seeds_weights_once():
    grid = weight_grid(3)
    assert any(np.allclose(row, [0.203, 0.401, 0.401], atol=0.01) for row in grid)  # (.34, .67, .67)
    assert len(np.unique(grid.round(9), axis=0)) == len(grid) < 4**3 - 1
    assert grid.sum(axis=1) == pytest.approx(1.0)
    assert grid[0] == pytest.approx(1 / 3)


def test_the_grid_finds_the_best_of_all_its_weights():
    members = align(simulate(trials=3, images=90))
    values = [
        mean_fold_auc(members.labels, np.tensordot(row, members.probabilities, axes=1), members.folds)
        for row in weight_grid(3)
    ]
    combined = fit("grid", members, 0).combine(members.probabilities)
    assert mean_fold_auc(members.labels, combined, members.folds) == pytest.approx(max(values))


def test_the_grid_weighs_the_best_four_of_more():
    weak = simulate(trials=5, strength=0.2)
    strong = simulate(trials=1, strength=2.0, seed=5, labels=weak[0].labels)[0]
    weights = fit("grid", align({**weak, 5: strong}), 0).weights
    assert np.count_nonzero(weights) <= 4
    assert weights[5] > 0


def test_very_many_images_are_sampled_by_class():
    labels = (np.arange(1000) % 10 == 0).astype(np.int64)
    kept = sample_points(labels, seed=0, limit=100)
    assert (len(kept), labels[kept].sum()) == (100, 10)
    assert (np.diff(kept) > 0).all()


def test_weights_that_are_no_shares_are_refused():
    with pytest.raises(ValidationError, match="shares that sum to 1"):
        WeightedMean(weights=(0.5, 0.6))


def test_an_unknown_method_answers_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'greedy'"):
        fit("greed", align(simulate()), 0)


def test_a_method_needs_two_classes():
    with pytest.raises(OneClassError, match="ensemble method average needs images of two classes"):
        fit("average", align(simulate(labels=np.ones(300, dtype=np.int64))), 0)
