import cv2
import numpy as np
import pytest
import torch

from trainables.preprocessing.clahe import equalise


def textured(height: int, width: int) -> np.ndarray:
    """An 8-bit image with waves and noise, bright on one side, dark on the other."""
    down, across = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 15, (height, width))
    values = 60 + 120 * across / width + 40 * np.sin(across / 7) * np.cos(down / 11) + noise
    return np.clip(values, 0, 255).astype(np.uint8)


def equalised(image: np.ndarray, clip_limit: float, grid: int) -> np.ndarray:
    pixels = torch.from_numpy(image)[None, None] / 255
    return equalise(pixels, clip_limit=clip_limit, grid=grid)[0, 0].numpy() * 255


@pytest.mark.parametrize("shape", [(64, 64), (150, 150), (160, 128), (51, 70), (203, 101)])
@pytest.mark.parametrize(("clip_limit", "grid"), [(1.0, 8), (2.0, 8), (2.3, 4), (40.0, 8)])
def test_it_agrees_with_opencv_within_a_grey_level(
    shape: tuple[int, int], clip_limit: float, grid: int
) -> None:
    image = textured(*shape)
    expected = cv2.createCLAHE(clip_limit, (grid, grid)).apply(image).astype(np.float64)
    difference = np.abs(equalised(image, clip_limit, grid) - expected)
    assert difference.max() < 2
    assert (difference < 1).mean() > 0.99
    assert np.abs(expected - image).mean() > 2  # there was something to agree on


def test_images_and_channels_are_equalised_by_themselves() -> None:
    images = torch.from_numpy(np.stack([textured(48, 40), textured(48, 40)[::-1].copy()]) / 255).float()
    apart = [equalise(image[None, None], clip_limit=2.0, grid=4) for image in images]
    as_batch = equalise(images[:, None], clip_limit=2.0, grid=4)
    as_channels = equalise(images[None], clip_limit=2.0, grid=4)
    torch.testing.assert_close(as_batch, torch.cat(apart))
    torch.testing.assert_close(as_channels, torch.cat(apart, dim=1))


def test_sixteen_bit_images_keep_more_than_256_levels() -> None:
    ramp = torch.linspace(0.2, 0.8, 128 * 128).reshape(1, 1, 128, 128)
    assert equalise(ramp, clip_limit=2.0, grid=4).unique().numel() > 5_000


def test_values_outside_the_range_are_clipped() -> None:
    images = torch.from_numpy(textured(32, 32) / 255).float()[None, None]
    wide = torch.where(images > 0.5, images + 1.0, images - 1.0)
    torch.testing.assert_close(
        equalise(wide, clip_limit=2.0, grid=4), equalise(wide.clamp(0, 1), clip_limit=2.0, grid=4)
    )


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_empty_image_stays_even(value: float) -> None:
    out = equalise(torch.full((1, 1, 20, 33), value), clip_limit=2.0, grid=8)
    assert out.unique().numel() == 1
    assert 0 <= out.min() <= 1


def test_an_image_with_fewer_pixels_than_tiles_is_equalised_all_the_same() -> None:
    out = equalise(torch.rand(1, 1, 5, 3), clip_limit=2.0, grid=8)
    assert torch.isfinite(out).all()
    assert out.shape == (1, 1, 5, 3)
