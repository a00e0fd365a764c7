import numpy as np
import pytest
import torch

from trainables.config.augmentation_policies import AUGMENTATIONS
from trainables.preprocessing.views import (
    IDENTITY,
    View,
    apply_symmetry,
    augment_online,
    prediction_views,
    random_view,
    training_views,
)

RANDOM = ["rotate", "affine", "e001", "e001_scratch", "e002", "e004"]
SQUARE = torch.arange(16.0).reshape(1, 1, 4, 4)


def test_the_eight_symmetries_are_eight_different_images() -> None:
    images = {tuple(apply_symmetry(SQUARE, index).flatten().tolist()) for index in range(8)}
    assert len(images) == 8


def test_symmetry_zero_is_the_identity() -> None:
    torch.testing.assert_close(apply_symmetry(SQUARE, IDENTITY.index), SQUARE)


def test_flips_are_a_subgroup_of_the_symmetries() -> None:
    flips = [apply_symmetry(SQUARE, view.index) for view in training_views("flips")]
    expected = [SQUARE, SQUARE.flip(2, 3), SQUARE.flip(3), SQUARE.flip(2)]
    for expectation in expected:
        assert any(torch.equal(flip, expectation) for flip in flips)
    assert len(flips) == 4


@pytest.mark.parametrize("policy", AUGMENTATIONS)
def test_prediction_views_are_symmetries_so_that_an_export_has_them(policy: str) -> None:
    views = prediction_views(policy, average=True)
    assert all(view.is_symmetry for view in views)
    assert IDENTITY in views
    assert prediction_views(policy, average=False) == (IDENTITY,)


@pytest.mark.parametrize(
    ("policy", "symmetries"),
    [
        ("none", (0,)),
        ("flips", (0, 2, 4, 6)),
        ("d4", tuple(range(8))),
        ("rotate", tuple(range(8))),
        ("affine", (0,)),
        ("idc", (0, 2, 4, 6)),
        ("e001", tuple(range(8))),
        ("e001_scratch", tuple(range(8))),
        ("e002", (0, 2, 4, 6)),
        ("e003", (0, 2, 4, 6)),
        ("e004", (0, 1, 3, 4, 5, 7)),
        ("e004_rot90", tuple(range(8))),
    ],
)
def test_predictions_are_averaged_over_the_symmetries_of_the_policy(
    policy: str, symmetries: tuple[int, ...]
) -> None:
    assert tuple(view.index for view in prediction_views(policy, average=True)) == symmetries


@pytest.mark.parametrize("shape", [(3, 40, 40), (3, 40, 40, 3)])
@pytest.mark.parametrize("kind", RANDOM)
def test_a_random_view_of_an_image_is_always_the_same(shape: tuple[int, ...], kind: str) -> None:
    raw = np.random.default_rng(0).integers(0, 65535, shape).astype(np.uint16)
    rows = np.array([5, 6, 7])
    first = random_view(raw, rows, View(kind, 2))
    again = random_view(raw[1:], rows[1:], View(kind, 2))
    other = random_view(raw, rows, View(kind, 3))
    np.testing.assert_array_equal(first[1:], again)
    assert first.dtype == raw.dtype
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, raw)


@pytest.mark.parametrize("policy", [policy for policy in AUGMENTATIONS if policy != "none"])
def test_online_augmentation_is_decided_by_its_generator(policy: str) -> None:
    images = torch.rand(16, 1, 24, 24)
    draw = [augment_online(images, policy, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    assert draw[0].shape == images.shape


def test_online_symmetries_only_move_pixels() -> None:
    images = torch.rand(16, 1, 8, 8)
    out = augment_online(images, "d4", torch.Generator().manual_seed(0))
    torch.testing.assert_close(out.flatten(1).sort().values, images.flatten(1).sort().values)


def test_no_augmentation_returns_the_images() -> None:
    images = torch.rand(2, 1, 8, 8)
    assert augment_online(images, "none", torch.Generator()) is images
