import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as reference

from trainables.config import decode
from trainables.data.transforms import (
    PixelTransform,
    TransformSpec,
    adjust_contrast,
    default_side,
    transform_spec,
)
from trainables.errors import ConfigError
from trainables.models.registry import backbone_named


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
