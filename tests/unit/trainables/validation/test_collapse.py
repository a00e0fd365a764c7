"""Collapse is a score without spread, wherever the scores lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainables.validation.collapse import is_collapsed

Array = NDArray[np.float64]


def two_classes(logits: Array) -> NDArray[np.float32]:
    positive = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return np.stack([1 - positive, positive], axis=1)


def calibrated_fold(prevalence: float, distance: float, seed: int, images: int = 60) -> tuple[Array, Array]:
    """Labels and logits of a perfectly calibrated model; a distance of 0.954 is an AUC of 0.75."""
    random = np.random.default_rng(seed)
    labels = (np.arange(images) < prevalence * images).astype(np.int64)
    shown = random.normal(size=images) + distance * labels
    return labels, distance * shown - distance**2 / 2 + np.log(prevalence / (1 - prevalence))


@pytest.mark.parametrize("prevalence", [0.03, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("distance", [0.545, 0.954], ids=["AUC 0.65", "AUC 0.75"])
def test_a_calibrated_model_has_not_collapsed_although_no_image_reaches_one_half(
    prevalence: float, distance: float
) -> None:
    for seed in range(200):
        labels, logits = calibrated_fold(prevalence, distance, seed)
        assert not is_collapsed(labels, two_classes(logits))


@pytest.mark.parametrize("weight", [2.0, 7.0, 100.0])
def test_class_weights_move_scores_and_collapse_nothing(weight: float) -> None:
    labels, logits = calibrated_fold(0.5, 0.74, seed=0)
    assert not is_collapsed(labels, two_classes(logits + np.log(weight)))


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("images", [3, 60, 1000])
def test_a_dead_network_has_collapsed_at_any_number_of_classes(classes: int, images: int) -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(classes)).astype(np.float32)
    assert is_collapsed(np.arange(images) % classes, np.tile(shares, (images, 1)))


def test_rounding_is_no_spread() -> None:
    noise = np.random.default_rng(0).normal(scale=1e-7, size=60)
    assert is_collapsed(np.arange(60) % 2, two_classes(-1.3 + noise))


@pytest.mark.parametrize("logit", [-200.0, 0.0, 40.0], ids=["all 0", "all 1/2", "all 1"])
def test_saturated_scores_are_one_score(logit: float) -> None:
    assert is_collapsed(np.arange(60) % 2, two_classes(np.full(60, logit)))


@pytest.mark.parametrize(("others", "has_collapsed"), [(10, True), (11, False)])
def test_99_of_a_hundred_images_with_one_score_are_a_collapse(others: int, has_collapsed: bool) -> None:
    logits = np.zeros(1000)
    logits[:others] = 3.0
    assert is_collapsed(np.arange(1000) % 2, two_classes(logits)) is has_collapsed


def test_where_one_class_holds_nearly_all_images_the_few_others_may_differ() -> None:
    labels = (np.arange(1000) < 8).astype(np.int64)
    assert not is_collapsed(labels, np.eye(2)[labels])


def test_more_classes_have_collapsed_only_if_every_score_has() -> None:
    labels, random = np.arange(90) % 3, np.random.default_rng(0)
    first = np.full(90, 0.6)
    second = 0.2 + 0.1 * random.random(90)
    assert not is_collapsed(labels, np.stack([first, second, 1 - first - second], axis=1))


def test_tiny_scores_that_differ_are_not_one_score() -> None:
    labels, logits = calibrated_fold(0.5, 0.954, seed=1)
    assert not is_collapsed(labels, two_classes(logits - 30))


@pytest.mark.parametrize("seed", range(5))
def test_scores_that_hardly_differ_and_rank_well_are_no_collapse(seed: int) -> None:
    labels, logits = calibrated_fold(0.5, 1.55, seed, images=150)  # AUC 0.863
    flat = 1e-5 * (logits - np.median(logits))
    assert np.abs(flat).max() <= 1e-4
    assert not is_collapsed(labels, two_classes(flat))
    assert is_collapsed(np.random.default_rng(seed).permutation(labels), two_classes(flat))


def test_what_is_not_a_number_is_another_fault() -> None:
    assert not is_collapsed(np.arange(4) % 2, np.full((4, 2), np.nan))


@given(shift=st.floats(-12, 12), spread=st.floats(0.01, 3))
def test_a_shift_of_all_scores_changes_nothing(shift: float, spread: float) -> None:
    labels, logits = np.arange(40) % 2, np.linspace(-1, 1, 40) * spread
    probabilities = 1 / (1 + np.exp(-(logits + shift)))
    assert not is_collapsed(labels, np.stack([1 - probabilities, probabilities], axis=1))
