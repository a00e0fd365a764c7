from typing import get_args

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from trainables.common.errors import ConfigError
from trainables.config.augmentation_policies import AUGMENTATIONS, Augmentation, AugmentationPolicy
from trainables.config.trial_config import decode
from trainables.preprocessing.intensity import draw_intensity, shift_intensity
from trainables.preprocessing.views import View, apply_symmetry, augment_online, random_view, training_views

COUNT, SIDE = 200, 96
ROWS = np.arange(COUNT)
MOVING = [name for name, augmentation in AUGMENTATIONS.items() if augmentation.moves]
EXACT = [name for name, augmentation in AUGMENTATIONS.items() if augmentation.is_exact]
PLACES = (2 * np.arange(SIDE) + 1) / SIDE - 1  # of pixel centres, from -1 to 1


def ramps() -> np.ndarray:
    """Images that hold their own coordinates, so that a moved one tells where each pixel came from."""
    across, down = np.meshgrid((PLACES + 1) / 2, (PLACES + 1) / 2)
    image = np.stack([across, down, np.zeros_like(across)], axis=2).astype(np.float32)
    return np.repeat(image[None], COUNT, axis=0)


def moves_seen(images: np.ndarray) -> np.ndarray:
    """Where points went: matrices (count, 2, 3), fitted to the middle, which no filled edge has reached."""
    middle = np.flatnonzero(np.abs(PLACES) < 0.3)
    across, down = (axis.ravel() for axis in np.meshgrid(PLACES[middle], PLACES[middle]))
    places = np.stack([across, down, np.ones_like(across)], axis=1)
    came_from = 2 * images[:, middle][:, :, middle, :2].reshape(len(images), -1, 2) - 1
    back = np.repeat(np.eye(3)[None], len(images), axis=0)
    back[:, :2] = (np.linalg.pinv(places) @ came_from).transpose(0, 2, 1)
    return np.linalg.inv(back)[:, :2]


def measured(moves: np.ndarray) -> dict[str, np.ndarray]:
    turn = np.rad2deg(np.arctan2(moves[:, 1, 0], moves[:, 0, 0]))
    other = np.rad2deg(np.arctan2(-moves[:, 0, 1], moves[:, 1, 1]))
    return {
        "turn": turn,
        "turn of the other axis": other,
        "is mirrored": np.sign(np.linalg.det(moves[:, :, :2])),
        "zoom across": np.linalg.norm(moves[:, :, 0], axis=1),
        "zoom down": np.linalg.norm(moves[:, :, 1], axis=1),
        "shift across": moves[:, 0, 2] / 2,
        "shift down": moves[:, 1, 2] / 2,
    }


def stored(policy: str) -> dict[str, np.ndarray]:
    return measured(moves_seen(random_view(ramps(), ROWS, View(policy, 0))))


def online(policy: str) -> dict[str, np.ndarray]:
    pixels = torch.from_numpy(ramps()).permute(0, 3, 1, 2)
    moved = augment_online(pixels, policy, torch.Generator().manual_seed(0))
    return measured(moves_seen(moved.permute(0, 2, 3, 1).numpy()))


def test_the_table_holds_every_policy_that_a_configuration_may_name() -> None:
    assert set(AUGMENTATIONS) == set(get_args(AugmentationPolicy))
    assert len(AUGMENTATIONS) >= 12
    for name in AUGMENTATIONS:
        found = decode({"model.backbone": "vgg16", "training.augmentation": name})
        assert found.training.augmentation == name


def test_an_unknown_policy_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"training\.augmentation: .*'e004' or 'e004_rot90'"):
        decode({"model.backbone": "vgg16", "training.augmentation": "e005"})


def test_there_are_policies_of_each_kind() -> None:
    assert len(MOVING) >= 5
    assert len(EXACT) >= 6
    assert [name for name in AUGMENTATIONS if AUGMENTATIONS[name].changes_tones] == ["e002"]


def test_quarter_turns_beside_a_random_change_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"quarter turns needs exact symmetries only.*use rotation_deg"):
        Augmentation(quarter_turns=True, shift=0.1)


@pytest.mark.parametrize("policy", MOVING)
def test_stored_views_and_online_pixels_are_moved_alike(policy: str) -> None:
    seen, fresh = stored(policy), online(policy)
    for name in seen:
        values, others = seen[name], fresh[name]
        if max(np.ptp(values), np.ptp(others)) < 0.02:  # neither moves
            np.testing.assert_allclose(values.mean(), others.mean(), atol=0.01, err_msg=name)
            continue
        if name.startswith("shift"):  # stored views move by whole pixels
            values, others = (np.trunc(shift * SIDE + 1e-3 * np.sign(shift)) for shift in (values, others))
        assert ks_2samp(values, others).pvalue > 1e-3, name


@pytest.mark.parametrize("draw", [stored, online])
def test_the_scratch_policy_of_001_has_the_units_of_keras(draw) -> None:
    seen = draw("e001_scratch")
    for name in ("zoom across", "zoom down"):
        assert 0.9 - 1e-3 < seen[name].min() < 0.92, name
        assert 1.08 < seen[name].max() < 1.1 + 1e-3, name
    assert np.std(seen["zoom across"] - seen["zoom down"]) > 0.05  # each axis by itself
    for name in ("shift across", "shift down"):
        assert -0.101 < seen[name].min() < -0.09, name
        assert 0.09 < seen[name].max() < 0.101, name
    assert np.histogram(seen["turn"], bins=8, range=(-180, 180))[0].min() > COUNT / 32


@pytest.mark.parametrize("draw", [stored, online])
def test_a_shear_of_a_hundredth_of_a_degree_leaves_the_axes_square(draw) -> None:
    seen = draw("e001_scratch")
    upright = np.deg2rad(seen["turn"] - seen["turn of the other axis"])
    # Parallel or opposite axes of turning, whichever mirror was drawn; zoom by axis slants a turned image.
    assert np.abs(np.sin(upright)).max() < 0.25
    slanted = draw("affine")
    assert 3 < np.abs(np.rad2deg(np.arcsin(np.sin(np.deg2rad(slanted["turn"]))))).max() < 7


@pytest.mark.parametrize("draw", [stored, online])
def test_the_policy_of_004_turns_up_to_a_quarter_and_mirrors_left_and_right_only(draw) -> None:
    seen = draw("e004")
    is_mirrored = seen["is mirrored"] < 0
    # The second axis is left where it is by a mirror of the first.
    turn = seen["turn of the other axis"]
    assert 0.35 < is_mirrored.mean() < 0.65
    assert np.abs(turn).max() < 90.1
    assert np.abs(turn).max() > 80
    assert np.abs(turn[is_mirrored]).mean() > 30


def test_online_mirrors_are_drawn_independently_along_both_axes() -> None:
    pixels = torch.from_numpy(ramps()).permute(0, 3, 1, 2)
    moved = augment_online(pixels, "affine", torch.Generator().manual_seed(0)).permute(0, 2, 3, 1)
    moves = moves_seen(moved.numpy())
    signs = 2 * (moves[:, 0, 0] < 0) + (moves[:, 1, 1] < 0)
    assert np.bincount(signs, minlength=4).min() > COUNT / 8


def test_new_stored_views_draw_both_mirrors_and_the_shift_independently() -> None:
    seen = stored("e001_scratch")
    is_mirrored = seen["is mirrored"] < 0
    assert 0.35 < is_mirrored.mean() < 0.65
    names = ("is mirrored", "turn", "zoom across", "zoom down", "shift across", "shift down")
    correlations = np.corrcoef([seen[name] for name in names])
    assert np.abs(correlations - np.eye(len(names))).max() < 0.25


@pytest.mark.parametrize("fill", ["nearest", "reflect"])
def test_what_lies_outside_is_filled_alike(fill: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.preprocessing import views

    monkeypatch.setattr(views, "AUGMENTATIONS", {"rotate": Augmentation(rotation_deg=180, fill=fill)})
    raw = ramps()[:60, :32, :32]
    seen = random_view(raw, np.arange(60), View("rotate", 0))
    pixels = torch.from_numpy(raw).permute(0, 3, 1, 2)
    fresh = augment_online(pixels, "rotate", torch.Generator().manual_seed(0)).permute(0, 2, 3, 1).numpy()
    corners = [images[:, 0, 0, 0] for images in (seen, fresh)]
    assert ks_2samp(*corners).pvalue > 1e-3
    edge = raw[0, :, :, 0].min()
    touches_edge = [np.isclose(corner, edge, atol=1e-4).mean() for corner in corners]
    assert min(touches_edge) > 0.1 if fill == "nearest" else max(touches_edge) < 0.05


@pytest.mark.parametrize("policy", EXACT)
def test_online_draws_of_an_exact_policy_are_its_stored_views(policy: str) -> None:
    image = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    views = {tuple(apply_symmetry(image, view.index).flatten().tolist()) for view in training_views(policy)}
    drawn = augment_online(image.repeat(200, 1, 1, 1), policy, torch.Generator().manual_seed(1))
    assert {tuple(one.flatten().tolist()) for one in drawn} == views


def test_the_symmetries_of_a_policy_are_its_own_mirrors() -> None:
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    left_right, top_bottom = (
        [apply_symmetry(image, index) for index in augmentation.symmetries]
        for augmentation in (Augmentation(hflip=True), Augmentation(vflip=True))
    )
    assert len(left_right) == len(top_bottom) == 2
    assert torch.equal(left_right[1], image.flip(3))
    assert torch.equal(top_bottom[1], image.flip(2))


def blobs(count: int) -> torch.Tensor:
    """Images (count, 3, 32, 32) that mirrors leave as they are."""
    place = torch.linspace(-2, 2, 32)
    blob = torch.exp(-(place**2)).unsqueeze(0) * torch.exp(-(place**2)).unsqueeze(1)
    return (0.3 + 0.3 * blob).repeat(count, 3, 1, 1)


def tones_seen(images: torch.Tensor, before: torch.Tensor) -> dict[str, np.ndarray]:
    """Brightness, contrast and noise of the first channel, in spreads of the image before."""
    old, new = (pixels[:, 0].flatten(1).numpy().astype(np.float64) for pixels in (before, images))
    spread = old.std(axis=1)
    centred = old - old.mean(axis=1, keepdims=True)
    contrast = (centred * new).mean(axis=1) / spread**2
    rest = new - new.mean(axis=1, keepdims=True) - contrast[:, None] * centred
    return {
        "brightness": (new.mean(axis=1) - old.mean(axis=1)) / spread,
        "contrast": contrast,
        "noise": rest.std(axis=1) / spread,
    }


def test_stored_views_and_normalised_online_pixels_change_their_tones_alike() -> None:
    before = blobs(COUNT)
    raw = (before * 65535).round().permute(0, 2, 3, 1).numpy().astype(np.uint16)
    drawn = torch.from_numpy(random_view(raw, ROWS, View("e002", 0)).astype(np.float32)).permute(0, 3, 1, 2)
    seen = tones_seen(drawn / 65535, before)
    normalised = (before - 0.45) / 0.225
    fresh = tones_seen(augment_online(normalised, "e002", torch.Generator().manual_seed(0)), normalised)
    for name, (low, high) in {"brightness": (-0.2, 0.2), "contrast": (0.8, 1.2), "noise": (0.0, 0.1)}.items():
        assert ks_2samp(seen[name], fresh[name]).pvalue > 1e-3, name
        for values in (seen[name], fresh[name]):
            assert low - 0.02 < values.min() < low + 0.03, name
            assert high - 0.03 < values.max() < high + 0.02, name


def test_changed_tones_do_not_depend_on_scaling() -> None:
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    tones = draw_intensity(images, AUGMENTATIONS["e002"], torch.Generator().manual_seed(1))
    scaled = shift_intensity(255 * images - 104, tones)
    torch.testing.assert_close(scaled, 255 * shift_intensity(images, tones) - 104, rtol=0, atol=1e-3)


def test_noise_keeps_grey_images_grey() -> None:
    drawn = augment_online(blobs(8), "e002", torch.Generator().manual_seed(3))
    torch.testing.assert_close(drawn[:, 0], drawn[:, 2])


@pytest.mark.parametrize("shape", [(6, 40, 30), (6, 40, 30, 3)])
def test_tones_of_whole_numbers_end_at_the_range_and_keep_type_and_shape(shape: tuple[int, ...]) -> None:
    raw = np.zeros(shape, dtype=np.uint8)
    raw[:, :, 10:20] = 255  # mirrors leave it as it is
    for draw in range(8):
        drawn = random_view(raw, np.arange(6), View("e002", draw))
        assert (drawn.dtype, drawn.shape) == (np.uint8, shape)
        assert drawn[:, :, 10:20].min() > 150
        assert drawn[:, :, :10].max() < 100


@pytest.mark.parametrize("policy", ["e001", "e001_scratch", "e002", "e004"])
def test_float_images_keep_their_type_in_stored_views(policy: str) -> None:
    raw = ramps()[:3]
    drawn = random_view(raw, np.arange(3), View(policy, 1))
    assert (drawn.dtype, drawn.shape) == (np.float32, raw.shape)
    assert np.isfinite(drawn).all()
