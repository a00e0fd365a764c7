"""A model whose probabilities were moved to another prevalence, on labelled data that it never saw."""

import numpy as np
import pytest

from results.scores.calibration import Platt, sigmoid
from results.scores.operating_point import NOTHING_ASKED, Operation, odds_shift, to_share_of
from results.scores.outside import score_outside

SCREENING = Operation.of(prevalence=0.006)


def _drawn(images=2000, share=0.5, seed=0):
    """Labels, and probabilities that are right where `share` of the images are positive."""
    random = np.random.default_rng(seed)
    labels = (np.arange(images) < share * images).astype(np.int64)
    logits = 2.0 * (labels - 0.5) + random.normal(size=images) * np.sqrt(2.0) + np.log(share / (1 - share))
    return labels, np.stack([sigmoid(-logits), sigmoid(logits)], axis=1)


def _scored(labels, probabilities, operation, threshold):
    return score_outside(
        labels,
        probabilities,
        np.arange(len(labels)),
        {"view": np.array(["CC", "MLO"])[np.arange(len(labels)) % 2]},
        classes=("benign", "malignant"),
        threshold=threshold,
        training_shares=np.array([0.5, 0.5]),
        operation=operation,
        seed=0,
        model="model",
        data="other",
        chosen_for="balanced accuracy",
        look=1,
        expected={},
        shift=None,
    )


@pytest.mark.parametrize("share", [0.5, 0.02])
def test_probabilities_of_another_prevalence_are_compared_with_labels_at_that_of_the_labels(share):
    labels, right = _drawn(share=share)
    moved = Platt(intercept=odds_shift(share, 0.006)).apply(right)
    threshold = float(Platt(intercept=odds_shift(share, 0.006)).apply(np.array([[1 - share, share]]))[0, 1])
    one = _scored(labels, right, NOTHING_ASKED, share)
    other = _scored(labels, moved, SCREENING, threshold)
    for name, found in one.metrics.items():
        assert other.metrics[name].estimate == pytest.approx(found.estimate, rel=1e-6), name
    assert other.confusion == one.confusion
    assert other.calibration.intercept.holds(0.0)
    assert other.calibration.intercept.estimate == pytest.approx(one.calibration.intercept.estimate, abs=1e-5)
    assert other.calibration.expected == pytest.approx(other.calibration.observed, abs=0.03)
    for here, there in zip(one.strata.strata, other.strata.strata, strict=True):
        assert there.expected == pytest.approx(here.expected)
        assert there.metrics["log_loss"].estimate == pytest.approx(here.metrics["log_loss"].estimate)


def test_probabilities_without_a_prevalence_stay_as_they_are():
    labels, right = _drawn(images=100)
    assert to_share_of(labels, None) == Platt()
    assert to_share_of(labels, 0.5).intercept == pytest.approx(0.0)
    off = Platt(intercept=1.0).apply(right)
    assert not _scored(labels, off, NOTHING_ASKED, 0.5).calibration.intercept.holds(0.0)
