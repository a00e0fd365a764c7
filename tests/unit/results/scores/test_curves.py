"""Curves with bands over patients, against sklearn."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from results.run.records import OutOfFold
from results.scores.curves import precision_recall_curve_with_band, roc_curve_with_band
from trainables.common.errors import OneClassError


def predictions(*, images: int = 300, ties: bool = False, seed: int = 0) -> OutOfFold:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, images)
    score = 1 / (1 + np.exp(-(random.normal(size=images) + 1.2 * labels)))
    score = score.round(1) if ties else score
    groups = np.array([f"p{row // 2}" for row in range(images)])
    folds = (np.arange(images) // 2) % 3
    return OutOfFold(np.arange(images), labels, folds, groups, np.stack([1 - score, score], axis=1))


@pytest.mark.parametrize("ties", [False, True])
def test_the_roc_curve_is_the_mean_of_those_of_the_folds(ties: bool) -> None:
    own = predictions(ties=ties)
    found = roc_curve_with_band(own, seed=0)
    expected = []
    for fold in range(3):
        part = own.folds == fold
        across, up, _ = roc_curve(own.labels[part], own.probabilities[part, 1], drop_intermediate=False)
        expected.append(np.interp(found.across, across, up))
    np.testing.assert_allclose(found.up, np.mean(expected, axis=0), atol=1e-9)


def test_precision_is_that_of_the_highest_threshold_which_reaches_the_recall() -> None:
    own = predictions()
    found = precision_recall_curve_with_band(own, seed=0)
    expected = []
    for fold in range(3):
        part = own.folds == fold
        precision, recall, _ = precision_recall_curve(own.labels[part], own.probabilities[part, 1])
        ascending, matching = recall[::-1], precision[::-1]
        places = np.maximum(np.searchsorted(ascending, found.across - 1e-12, side="left"), 1)
        expected.append(matching[places])
    np.testing.assert_allclose(found.up, np.mean(expected, axis=0), atol=1e-9)


def test_bands_hold_the_curve_and_are_wider_for_fewer_patients() -> None:
    many, few = (roc_curve_with_band(predictions(images=number), seed=0) for number in (600, 60))
    inside = (many.low <= many.up + 0.02) & (many.up <= many.high + 0.02)
    assert inside.mean() > 0.95
    assert (few.high - few.low).mean() > 1.5 * (many.high - many.low).mean()


def test_a_curve_needs_two_classes_within_a_fold() -> None:
    own = predictions(images=12)
    one = OutOfFold(own.rows, np.zeros_like(own.labels), own.folds, own.groups, own.probabilities)
    with pytest.raises(OneClassError, match="two classes"):
        roc_curve_with_band(one, seed=0)
