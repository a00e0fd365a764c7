"""The novelty score keeps the promised share of false alarms, and finds what lies elsewhere."""

import numpy as np
import pytest
import torch

from results.novelty.reference import (
    NoveltyReference,
    fit_cloud,
    fit_reference,
    is_at_most,
    level_for,
    p_values,
)
from results.predictors.novelty_module import NoveltyGraph

WIDTH = 24


def features(patients: int, images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of patients whose images are alike, with tails heavier than a normal distribution's."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(WIDTH, WIDTH))
    own = random.standard_t(4, (patients, 1, WIDTH))
    found = own + 0.5 * random.standard_t(4, (patients, images, WIDTH))
    return found.reshape(-1, WIDTH) @ mixing, np.repeat(np.arange(patients), images)


def reference(patients: int = 150, seed: int = 0) -> NoveltyReference:
    rows, patient = features(patients, 3, seed)
    found = fit_reference(rows, patient % 4, patient)
    assert found is not None
    return found


def test_new_patients_raise_at_most_the_promised_share_of_false_alarms() -> None:
    rates = []
    for seed in range(8):
        one = reference(seed=seed)
        new, _ = features(300, 1, 1000 + seed)
        rates.append((one.p_values(new) <= 0.05).mean())
    assert reference().level == 0.01
    assert 0.01 < np.mean(rates) <= 0.06


def test_features_elsewhere_have_the_smallest_p() -> None:
    one = reference()
    far, _ = features(20, 1, 5)
    assert (one.p_values(far + 60) <= one.level).all()
    assert one.p_values(one.cloud.mean[None])[0] > 0.5


def test_the_graph_gives_the_same_p_values() -> None:
    one = reference()
    new, _ = features(40, 2, 7)
    found = NoveltyGraph(one)(torch.tensor(new, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(found, one.p_values(new), atol=2.5 / one.patients / 3)
    assert np.median(np.abs(found - one.p_values(new))) < 1e-6


def test_distances_are_those_of_mahalanobis_where_images_are_many() -> None:
    rows = np.random.default_rng(0).normal(size=(4000, 3)) @ np.array([[2, 0, 0], [1, 1, 0], [0, 0, 5.0]])
    centred = rows - rows.mean(axis=0)
    exact = np.sqrt(np.einsum("ni,ij,nj->n", centred, np.linalg.inv(np.cov(rows.T)), centred))
    np.testing.assert_allclose(fit_cloud(rows).distances(rows), exact, rtol=0.02)


def test_many_distances_are_put_together_so_that_no_p_gets_smaller() -> None:
    rows, patient = features(800, 2, 3)
    one = fit_reference(rows, patient % 4, patient)
    assert one is not None
    assert len(one.distances) == 1024
    assert one.weights.sum() == pytest.approx(800)
    assert (np.diff(one.distances) >= 0).all()


def test_images_that_no_fold_holds_out_have_no_distance() -> None:
    rows, patient = features(60, 2, 4)
    folds = np.where(patient < 40, -1, 0)
    one = fit_reference(rows, folds, patient)
    assert one is not None
    assert (one.patients, one.images, one.level) == (20, 40, 0.05)


def test_too_few_patients_give_no_score() -> None:
    rows, patient = features(12, 4, 4)
    assert fit_reference(rows, patient % 2, patient) is None
    assert level_for(18) is None


@pytest.mark.parametrize("patients", [19, 39, 99])
def test_the_smallest_p_that_a_level_allows_is_unlike_in_the_graph_too(patients: int) -> None:
    rows, patient = features(patients, 2, 4)
    one = fit_reference(rows, patient % 2, patient)
    assert one is not None
    far = np.full((1, rows.shape[1]), 1e3)
    p = NoveltyGraph(one)(torch.tensor(far, dtype=torch.float32)).numpy()
    assert p == pytest.approx(1 / (patients + 1))
    assert is_at_most(p, one.level).all()
    assert is_at_most(one.p_values(far), one.level).all()
    assert not is_at_most(2 * one.level, one.level)


def test_a_patient_counts_once_however_many_images_there_are() -> None:
    distances, weights = np.array([1.0, 1.0, 1.0, 2.0]), np.array([1 / 3, 1 / 3, 1 / 3, 1.0])
    assert p_values(np.array([1.5]), distances, weights).tolist() == pytest.approx([2 / 3])
