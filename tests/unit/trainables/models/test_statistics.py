"""Statistics of intensity and texture against numpy and scikit-image."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern
from torch import Tensor

from trainables.common.errors import ConfigError
from trainables.config.trial_config import decode
from trainables.models.families import texture
from trainables.models.families.intensity import INTENSITY, QUANTILES, FirstOrder
from trainables.models.families.texture import TEXTURE, Texture, co_occurrence, pattern_shares, ring_powers
from trainables.models.registry import BACKBONES
from trainables.models.stages import Backbone

Image = NDArray[np.float64]
FIXED = [backbone for backbone in BACKBONES.values() if backbone.is_fixed]


def image(seed: int = 0, side: int = 64) -> Image:
    random = np.random.default_rng(seed)
    waves = np.sin(np.arange(side) / 3)[:, None] * np.cos(np.arange(side) / 5)
    return np.clip(0.5 + 0.2 * waves + 0.1 * random.normal(size=(side, side)), 0, 1)


def as_batch(*images: Image) -> Tensor:
    return torch.from_numpy(np.stack(images))


def test_first_order_statistics_are_those_of_numpy() -> None:
    images = [image(0), image(1) ** 2]
    found = FirstOrder()(as_batch(*images).unsqueeze(1)).squeeze()
    for own, row in zip(images, found.numpy(), strict=True):
        centred = own - own.mean()
        skewness = (centred**3).mean() / own.std() ** 3
        expected = [own.mean(), own.std(), skewness, *np.quantile(own, QUANTILES)]
        np.testing.assert_allclose(row, expected, atol=1e-9)


def test_colours_are_shares_and_ratios_of_the_means() -> None:
    colours = np.stack([image(0) * 0.9, image(1) * 0.5, image(2) * 0.7])
    found = FirstOrder()(torch.from_numpy(colours)[None]).flatten().numpy()
    assert len(found) == 35
    means = colours.mean(axis=(1, 2))
    np.testing.assert_allclose(found[:3], means, atol=1e-9)
    np.testing.assert_allclose(found[30:33], means / means.sum(), atol=1e-9)
    np.testing.assert_allclose(found[33:], np.log(means[:2] / means[1:]), atol=1e-9)


@pytest.mark.parametrize("distance", texture.DISTANCES)
def test_co_occurrence_is_scikit_images(distance: int) -> None:
    own = image(3)
    levels = np.floor((own - own.min()) / (own.max() - own.min()) * texture.LEVELS)
    levels = np.minimum(levels, texture.LEVELS - 1).astype(np.uint8)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    pairs = graycomatrix(levels, [distance], angles, texture.LEVELS, symmetric=True, normed=True)
    names = ("contrast", "homogeneity", "energy", "correlation", "entropy")
    expected = np.stack([graycoprops(pairs, name)[0] for name in names])
    found = co_occurrence(as_batch(own))[texture.DISTANCES.index(distance)][0].numpy()
    np.testing.assert_allclose(found[:5], expected.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found[5:], np.ptp(expected, axis=1), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("radius", texture.RADII)
def test_local_patterns_are_scikit_images(radius: float) -> None:
    own, margin = (255 * image(4)).astype(np.uint8), int(np.ceil(radius))
    patterns = local_binary_pattern(own, texture.POINTS, radius, "uniform")[margin:-margin, margin:-margin]
    expected = np.bincount(patterns.astype(int).ravel(), minlength=10) / patterns.size
    np.testing.assert_allclose(
        pattern_shares(as_batch(own.astype(np.float64)), radius)[0].numpy(), expected, atol=2e-3
    )


def test_the_spectrum_is_that_of_a_fourier_transform() -> None:
    own = image(5)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    power = np.abs(np.fft.fft2((own - own.mean()) * window[:, None] * window)) ** 2 / 64**2
    radius = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64))
    ends = np.linspace(0, 0.5, texture.RINGS + 1)
    expected = [np.log(power[(radius > low) & (radius <= high)].mean()) for low, high in pairwise(ends)]
    np.testing.assert_allclose(ring_powers(as_batch(own))[0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("make", [FirstOrder, Texture])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_an_empty_image_has_finite_statistics(make: Callable[[], torch.nn.Module], value: float) -> None:
    found = make()(torch.full((2, 3, 40, 40), value))
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("backbone", FIXED, ids=lambda backbone: backbone.name)
def test_statistics_have_no_weights_and_never_train(backbone: Backbone) -> None:
    stages = backbone.build(1)
    assert tuple(stages) == backbone.stage_names
    assert not any(list(stage.parameters()) for stage in stages.values())
    plan = backbone.plan(decode({"model.backbone": backbone.name}).model)
    assert (plan.frozen, plan.trained, plan.is_prefix_fixed) == (backbone.stage_names, (), True)
    trains = {"model.backbone": backbone.name, "model.trained_stages": 1}
    with pytest.raises(ConfigError, match="has no weights, so nothing of it trains"):
        backbone.plan(decode(trains).model)


@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.long), 3])
@pytest.mark.parametrize("make", [FirstOrder, pytest.param(Texture, marks=pytest.mark.long)])
def test_onnx_runtime_computes_the_same_statistics(
    make: Callable[[], torch.nn.Module], channels: int, tmp_path: Path
) -> None:
    images = torch.from_numpy(np.stack([[image(seed)] * channels for seed in range(3)])).float()
    program = torch.onnx.export(make().eval(), (images,), dynamo=True, input_names=["images"], verbose=False)
    assert program is not None
    program.save(str(tmp_path / "statistics.onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "statistics.onnx")
    (found,) = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(found, make()(images).numpy(), rtol=1e-4, atol=1e-5)


def test_both_statistics_are_registered() -> None:
    assert {backbone.name for backbone in FIXED} >= {INTENSITY.name, TEXTURE.name}
