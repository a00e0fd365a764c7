"""Confident learning finds planted wrong labels, and nothing where predictions and labels agree."""

import numpy as np

from results.scores.label_issues import label_issues


def test_planted_wrong_labels_come_first() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 400)
    probabilities = np.full((400, 3), 0.1)
    probabilities[np.arange(400), truth] = 0.8
    probabilities += random.uniform(0, 0.05, (400, 3))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    wrong = random.permutation(400)[:20]
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + 1) % 3
    found = label_issues(labels, probabilities)
    assert {one.place for one in found} == set(wrong.tolist())
    assert all(one.suggested == truth[one.place] and one.label == labels[one.place] for one in found)
    margins = [one.margin for one in found]
    assert margins == sorted(margins, reverse=True)


def test_the_rule_is_that_of_the_confident_joint() -> None:
    random = np.random.default_rng(1)
    probabilities = random.dirichlet(np.ones(3), 200)
    labels = random.integers(0, 3, 200)
    thresholds = [probabilities[labels == one, one].mean() for one in range(3)]
    expected = set()
    for place in range(200):
        sure = [one for one in range(3) if probabilities[place, one] >= thresholds[one]]
        if sure:
            best = max(sure, key=lambda one: probabilities[place, one])
            if best != labels[place]:
                expected.add(place)
    assert expected
    assert {one.place for one in label_issues(labels, probabilities)} == expected


def test_agreement_leaves_nothing_to_review() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    assert label_issues(np.array([0, 0, 1, 1]), probabilities) == []
