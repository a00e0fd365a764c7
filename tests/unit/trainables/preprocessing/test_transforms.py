import dataclasses

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as reference

from trainables.common.errors import ConfigError
from trainables.config.trial_config import decode, parse_setting
from trainables.models.registry import backbone_named
from trainables.preprocessing.clahe import equalise
from trainables.preprocessing.transforms import (
    PixelTransform,
    TransformSpec,
    adjust_contrast,
    default_side,
    standardise,
    transform_spec,
)


def spec(**fields: object) -> TransformSpec:
    defaults: dict[str, object] = {
        "max_value": 65535.0,
        "contrast": 1.0,
        "clip": False,
        "size_px": 32,
        "channels": 1,
        "mean": (),
        "std": (),
    }
    return TransformSpec(**(defaults | fields))


def test_contrast_is_taken_around_each_image_and_channel() -> None:
    images = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[0.0, 0.0], [0.0, 4.0]]]])
    adjusted = adjust_contrast(images, 2.0)
    assert adjusted[0].flatten().tolist() == [-0.5, 1.5, 3.5, 5.5]
    torch.testing.assert_close(adjusted.mean(dim=(2, 3)), images.mean(dim=(2, 3)))


def test_clipping_is_explicit() -> None:
    raw = (
        torch.tensor([[[0, 65535], [0, 65535]]], dtype=torch.int32)
        .repeat_interleave(16, 1)
        .repeat_interleave(16, 2)
    )
    free = PixelTransform(spec(contrast=2.0))(raw)
    clipped = PixelTransform(spec(contrast=2.0, clip=True))(raw)
    assert (free.min().item(), free.max().item()) == (-0.5, 1.5)
    assert (clipped.min().item(), clipped.max().item()) == (0.0, 1.0)


def test_sixteen_bit_pixels_keep_their_depth() -> None:
    raw = torch.tensor([[[0, 1], [256, 65535]]], dtype=torch.int32)
    out = PixelTransform(spec(size_px=2))(raw)
    np.testing.assert_allclose(out.numpy().ravel(), [0, 1 / 65535, 256 / 65535, 1], rtol=1e-6)


def test_resizing_agrees_with_torchvision() -> None:
    raw = torch.randint(0, 65535, (2, 75, 60), dtype=torch.int32)
    expected = reference.resize((raw / 65535.0)[:, None], [32, 32], antialias=True)
    torch.testing.assert_close(PixelTransform(spec())(raw), expected)


def test_grey_is_copied_to_three_channels_and_normalised() -> None:
    raw = torch.full((1, 32, 32), 65535, dtype=torch.int32)
    out = PixelTransform(spec(channels=3, mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1)))(raw)
    np.testing.assert_allclose(out[0, :, 0, 0].numpy(), [1.0, 3.0, 7.0], rtol=1e-5)


def test_the_side_lies_between_the_smallest_and_that_of_the_weights() -> None:
    lite0, inception = backbone_named("efficientnet_lite0"), backbone_named("inception_v3")
    assert default_side(lite0, (150, 150)) == 150
    assert default_side(lite0, (3328, 2560)) == 224
    assert default_side(inception, (50, 50)) == 75


def test_a_side_below_the_smallest_is_refused() -> None:
    config = decode({"model.backbone": "inception_v3", "input.size_px": 64})
    with pytest.raises(ConfigError, match=r"input\.size_px=64: inception_v3 needs at least 75"):
        transform_spec(config, backbone_named("inception_v3"), (50, 50), 255.0, is_test=False)


def test_an_adapter_for_rgb_images_is_refused() -> None:
    config = decode({"model.backbone": "vgg16", "model.channels": "conv1x1"})
    with pytest.raises(ConfigError, match="leads from grey images to an RGB backbone"):
        transform_spec(config, backbone_named("vgg16"), (50, 50, 3), 255.0, is_test=False)


def test_the_test_contrast_follows_training_unless_it_is_set() -> None:
    vgg16 = backbone_named("vgg16")
    same = decode({"model.backbone": "vgg16", "input.contrast": 2.0})
    other = decode({"model.backbone": "vgg16", "input.contrast": 2.0, "input.contrast_test": 1.5})
    found = [
        transform_spec(config, vgg16, (150, 150), 255.0, is_test=is_test).contrast
        for config in (same, other)
        for is_test in (False, True)
    ]
    assert found == [2.0, 2.0, 2.0, 1.5]


GREYS = torch.tensor([[[0, 51], [102, 255]]], dtype=torch.int32)


def scaled(backbone: str = "resnet50", **settings: object) -> torch.Tensor:
    """2x2 grey levels after the transform, without the resize; shape (channels, 2, 2)."""
    chosen = backbone_named(backbone)
    from_scratch = SCRATCH if chosen.trains_from_scratch else {}
    config = decode({"model.backbone": backbone, **from_scratch, **settings})
    found = transform_spec(config, chosen, (2, 2), 255.0, is_test=False)
    return PixelTransform(dataclasses.replace(found, size_px=2))(GREYS)[0]


SCRATCH = {"model.weights": "random", "model.trained_stages": "all"}
GREY = GREYS.float()
SHARE = GREY / 255
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (SHARE - MEAN) / STD),
        ({"input.scaling": "auto"}, (SHARE - MEAN) / STD),
        ({"input.scaling": "unit"}, SHARE),
        ({"input.scaling": "raw"}, GREY),
        ({"input.scaling": "centred"}, GREY - 104.1353),
        ({"input.scaling": "centred", "input.centre": 51}, GREY - 51),
        ({"input.scaling": "centred_scaled"}, (GREY - 104.1353) / 255),
        ({"input.scaling": "imagenet"}, (SHARE - MEAN) / STD),
        ({"input.scaling": "standardise"}, (GREY - 102) / GREY.std(correction=0)),
        ({"input.scaling": "raw", "input.contrast": 2.0}, 2 * GREY - 102),
        ({"input.scaling": "raw", "input.contrast": 2.0, "input.clip": True}, (2 * GREY - 102).clamp(0, 255)),
    ],
)
def test_each_scaling_is_the_formula_of_its_source(
    settings: dict[str, object], expected: torch.Tensor
) -> None:
    out = scaled(**settings)
    assert out.shape[0] == 3
    torch.testing.assert_close(out, expected.expand(3, 2, 2), rtol=1e-6, atol=2e-5)


def test_weights_with_another_normalisation_keep_theirs_unless_imagenet_is_asked_for() -> None:
    torch.testing.assert_close(scaled("inception_v3"), ((SHARE - 0.5) / 0.5).expand(3, 2, 2))
    asked = scaled("inception_v3", **{"input.scaling": "imagenet"})
    torch.testing.assert_close(asked, (SHARE - MEAN) / STD)


def test_nets_from_scratch_see_zero_to_one_unless_told_otherwise() -> None:
    torch.testing.assert_close(scaled("scratch4"), SHARE)
    torch.testing.assert_close(scaled("scratch4", **{"input.scaling": "imagenet"}), (SHARE - 0.449) / 0.226)


def test_raw_sixteen_bit_pixels_become_grey_levels_of_0_to_255() -> None:
    config = decode({"model.backbone": "vgg16", "input.scaling": "raw"})
    found = transform_spec(config, backbone_named("vgg16"), (32, 32), 65535.0, is_test=False)
    out = PixelTransform(found)(torch.full((1, 32, 32), 257, dtype=torch.int32))
    torch.testing.assert_close(out, torch.ones(1, 3, 32, 32))


def test_standardised_images_have_zero_mean_and_unit_variance_each() -> None:
    images = torch.rand(3, 3, 20, 20) * torch.tensor([0.1, 0.5, 1.0]).view(3, 1, 1, 1)
    out = standardise(images)
    torch.testing.assert_close(out.mean(dim=(1, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.std(dim=(1, 2, 3), correction=0), torch.ones(3))
    assert standardise(torch.full((1, 1, 8, 8), 0.3)).abs().max() < 1e-3


def test_equalisation_comes_before_the_contrast_and_only_where_it_is_asked_for() -> None:
    raw = (torch.rand(2, 40, 40, generator=torch.Generator().manual_seed(0)) ** 3 * 255).to(torch.uint8)
    wanted = spec(max_value=255.0, size_px=40, contrast=1.5, clahe=2.0, clahe_grid=4)
    equalised = equalise(raw[:, None] / 255, clip_limit=2.0, grid=4)
    torch.testing.assert_close(PixelTransform(wanted)(raw), adjust_contrast(equalised, 1.5))
    plain = PixelTransform(dataclasses.replace(wanted, clahe=None))(raw)
    torch.testing.assert_close(plain, adjust_contrast(raw[:, None] / 255, 1.5))


def test_a_transform_without_new_settings_keeps_the_key_that_features_are_stored_under() -> None:
    names = ["max_value", "contrast", "clip", "size_px", "channels", "mean", "std"]
    assert list(spec().as_key()) == names
    assert list(spec(clahe=2.0, standardises=True).as_key()) == [*names, "standardises", "clahe"]


def test_settings_that_change_nothing_do_not_tell_keys_apart() -> None:
    def key(**settings: object) -> dict[str, object]:
        config = decode({"model.backbone": "vgg16", **settings})
        return transform_spec(config, backbone_named("vgg16"), (50, 50), 255.0, is_test=False).as_key()

    assert key() == key(**{"input.clahe_grid": 4}) == key(**{"input.centre": 50.0})
    assert key() == key(**{"input.scaling": "imagenet"})
    keys = [
        key(**{"input.scaling": scaling}) for scaling in ("auto", "unit", "raw", "centred", "standardise")
    ]
    keys += [key(**{"input.clahe": 2.0}), key(**{"input.clahe": 2.0, "input.clahe_grid": 4})]
    assert len({str(one) for one in keys}) == 7


def test_an_adapter_takes_pixels_from_zero_to_one_only() -> None:
    config = decode({"model.backbone": "vgg16", "model.channels": "conv1x1", "input.scaling": "raw"})
    with pytest.raises(
        ConfigError, match=r"learns its own scaling; found input\.scaling=raw; set it to auto"
    ):
        transform_spec(config, backbone_named("vgg16"), (50, 50), 255.0, is_test=False)


def test_equalisation_may_be_switched_off_by_a_word() -> None:
    assert decode({"model.backbone": "vgg16", "input.clahe": "none"}).input.clahe is None
    parse_setting("input.clahe", "none")
    parse_setting("input.clahe", 2.0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("input.clahe", 0.5, r"input\.clahe: .*greater than or equal to 1"),
        ("input.clahe_grid", 1, r"input\.clahe_grid: .*greater than or equal to 2"),
        ("input.centre", 300, r"input\.centre: .*less than or equal to 255"),
        ("input.scaling", "centered", r"input\.scaling: .*'centred'"),
    ],
)
def test_an_input_setting_out_of_range_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decode({"model.backbone": "vgg16", name: value})
