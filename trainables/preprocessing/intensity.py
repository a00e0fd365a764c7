"""Brightness, contrast and noise of augmented images, in units of each image's own mean and spread."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.config.augmentation_policies import Augmentation


@dataclass(frozen=True, slots=True)
class IntensityShift:
    """A drawn change of intensity for each image; a spread is the image's own standard deviation.

    Attributes:
        brightness: Number of spreads to add, shape (B,).
        contrast: Factors around the mean, shape (B,).
        noise: Number of spreads to add to each pixel, shape (B, 1, H, W); None for none.
    """

    brightness: Tensor
    contrast: Tensor
    noise: Tensor | None


def draw_intensity(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> IntensityShift:
    """Draw a change of intensity for each image.

    Args:
        images: Images, shape (B, C, H, W); only shape, number type and device are read.
        augmentation: Ranges of brightness, contrast and noise.
        generator: Generator on the CPU. Noise is drawn on the device of the images, with a seed from it.
    """
    count, (height, width) = images.shape[0], images.shape[2:]
    brightness, contrast, sigma = (
        limit * torch.rand(count, generator=generator)
        for limit in (2 * augmentation.brightness, 2 * augmentation.contrast, augmentation.noise)
    )
    noise = None
    if augmentation.noise:
        own = torch.Generator(images.device)
        own.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        noise = torch.randn(count, 1, height, width, generator=own, device=images.device, dtype=images.dtype)
        noise *= sigma.view(-1, 1, 1, 1).to(images)
    return IntensityShift(
        (brightness - augmentation.brightness).to(images),
        (1 + contrast - augmentation.contrast).to(images),
        noise,
    )


def shift_intensity(images: Tensor, tones: IntensityShift) -> Tensor:
    """Change the intensity of images (B, C, H, W); values may leave their range.

    The result of `a * images + b` is `a` times the result of `images`, plus `b`, for any positive `a`.

    >>> tones = IntensityShift(torch.tensor([1.0]), torch.tensor([2.0]), None)
    >>> shift_intensity(torch.tensor([[[[1.0, 3.0]]]]), tones).tolist()
    [[[[1.0, 5.0]]]]
    """
    spread, mean = torch.std_mean(images, dim=(2, 3), correction=0, keepdim=True)
    stretched = (images - mean) * tones.contrast.view(-1, 1, 1, 1) + mean
    added = tones.brightness.view(-1, 1, 1, 1)
    return stretched + spread * (added if tones.noise is None else added + tones.noise)
