"""Members of ensembles are the trials that are best together, not the best alone."""

from dataclasses import replace

import numpy as np
from simulated_trials import simulate, simulate_two_kinds

from results.ensembles.choice import choose_members
from results.ensembles.members import Members, align
from results.run.records import OutOfFold
from results.scores.calibration import sigmoid
from results.scores.ranking import Objectives, parse_requirement


def variants_and_another(variants: int = 6, images: int = 400) -> Members:
    """Trials 0 to `variants` - 1 are one model with hardly any noise; the last is of another kind."""
    random = np.random.default_rng(3)
    patients = np.arange(images) // 2
    labels = random.permutation(np.arange(images) % 2)
    model, another = (random.normal(size=images) + strength * labels for strength in (1.2, 1.0))
    scores = [model + 0.05 * random.normal(size=images) for _ in range(variants)] + [another]
    trials = {}
    for number, score in enumerate(scores):
        positive = sigmoid(score)
        trials[number] = OutOfFold(
            np.arange(images),
            labels,
            patients % 4,
            patients.astype(str),
            np.stack([1 - positive, positive], axis=1),
        )
    return align(trials, kinds={**dict.fromkeys(range(variants), "a net"), variants: "statistics"})


def test_another_kind_of_model_is_a_member_before_variants_of_the_best():
    pool = variants_and_another()
    best, last = pool.order(7)[0], 6
    assert pool.order(7)[-1] == last  # alone it is the worst
    assert choose_members(pool, 2, considered=7) == [best, last]
    gained = pool.merits(pool.probabilities[[best, last]].mean(axis=0)[None])[0]
    assert gained > pool.merits(pool.probabilities[pool.order(2)].mean(axis=0)[None])[0] + 0.02
    assert choose_members(pool, 4, considered=7) == [best, last, *pool.order(3)[1:]]


def test_kinds_take_turns_in_the_order_of_their_best():
    trials = simulate(trials=6, seed=5)
    order = align(trials).order(6)
    kinds = dict(zip(order, ("a", "a", "b", "a", "b", "c"), strict=True))
    pool = align(trials, kinds=kinds)
    assert choose_members(pool, 6, considered=6) == [order[place] for place in (0, 2, 5, 1, 4, 3)]


def test_the_same_members_are_chosen_in_any_order_of_the_trials():
    pool = variants_and_another()
    turned = pool.only(list(range(7))[::-1])
    assert [turned.trials[place] for place in choose_members(turned, 4, 7)] == [
        pool.trials[place] for place in choose_members(pool, 4, 7)
    ]


def test_where_no_more_are_considered_than_are_wanted_the_best_are_members():
    pool = variants_and_another()
    assert choose_members(pool, 3, considered=3) == pool.order(3)
    assert choose_members(pool, 9, considered=3) == pool.order(3)


def test_a_kind_whose_best_trial_is_among_the_worse_half_has_no_member():
    pool = variants_and_another(variants=9)
    assert pool.order(10)[-1] == 9
    assert choose_members(pool, 8) == pool.order(5)


def test_trials_of_unknown_kind_are_of_one_kind():
    pool = align(simulate(trials=8, seed=1))
    assert choose_members(pool, 3) == pool.order(3)


def test_members_come_from_the_best_that_are_considered():
    pool = variants_and_another()
    assert 6 not in choose_members(pool, 3, considered=5)


def test_a_small_pool_has_few_members_and_the_same_model_twice_is_one():
    pool = align(simulate(trials=2))
    assert sorted(choose_members(pool, 9)) == [0, 1]
    twice = pool.only([0, 1, 0])
    assert len(choose_members(twice, 3)) == 2


def test_a_trial_that_misses_a_requirement_is_a_member_only_where_too_few_keep_it():
    objectives = Objectives(("auc",), (parse_requirement("balanced_accuracy >= 0.66"),))
    good = simulate(trials=4, strength=2.0)
    weak = simulate(trials=1, strength=0.6, seed=7, labels=good[0].labels)[0]
    pool = replace(align(good | {9: weak}), objectives=objectives)
    assert 4 not in choose_members(pool, 2, considered=5)
    assert 4 in choose_members(pool, 5, considered=5)


def test_a_trial_behind_the_front_of_two_metrics_is_no_member_while_others_are_left():
    found = simulate_two_kinds(each=1)
    worse = replace(found[0], probabilities=0.5 * found[0].probabilities + 0.25)  # the ranks of trial 0
    luck = np.random.default_rng(0).random((len(worse.rows), 2))
    noisy = replace(
        worse, probabilities=(luck + worse.probabilities) / (luck + worse.probabilities).sum(1)[:, None]
    )
    pool = replace(align(found | {5: noisy}), objectives=Objectives(("auc", "f2")))
    assert sorted(choose_members(pool, 2)) == [0, 1]
    assert sorted(choose_members(pool, 3)) == [0, 1, 2]
