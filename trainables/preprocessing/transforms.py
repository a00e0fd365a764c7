"""Transform of raw pixels for the first stage: one torch module for training, prediction and export."""

from dataclasses import MISSING, asdict, dataclass, fields
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig
from trainables.models.stages import Backbone
from trainables.preprocessing.clahe import equalise

_Normalisation = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation by channel; empty: none

_GRID: Final = 8  # OpenCV's tiles along each side
_GREY_LEVEL: Final = 1 / 255
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # of the torchvision weights
_IMAGENET_GREY: Final = ((0.449,), (0.226,))  # their mean over the channels


@dataclass(frozen=True, slots=True)
class TransformSpec:
    """Settings of the pixel transform; part of the key of stored features.

    Attributes:
        max_value: Raw value that becomes 1.0, such as 255, 4095 or 65535; 1 for float images.
        contrast: Contrast factor around each image's and channel's own mean; 1 is off.
        clip: Clip to [0, 1] after the contrast change.
        size_px: Side of the square output, in pixels.
        channels: Number of output channels.
        mean: Value subtracted from each channel, after scaling to [0, 1]; empty for no normalisation.
        std: Divisor of each channel, after the subtraction; empty for no normalisation.
        standardises: Give each image, at its final size, zero mean and unit variance.
        clahe: Clip limit of an adaptive equalisation (CLAHE) before the contrast change; None for none.
        clahe_grid: Number of CLAHE tiles along each side.
    """

    max_value: float
    contrast: float
    clip: bool
    size_px: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    standardises: bool = False
    clahe: float | None = None
    clahe_grid: int = _GRID

    def as_key(self) -> dict[str, object]:
        """Plain values for hashing, without options that are off: keys stay valid when options are added."""
        off = {field.name: field.default for field in fields(self) if field.default is not MISSING}
        return {name: value for name, value in asdict(self).items() if name not in off or value != off[name]}


def adjust_contrast(images: Tensor, factor: float) -> Tensor:
    """Stretch each image and channel around its own mean, as `tf.image.adjust_contrast` does.

    Values may leave [0, 1], as TensorFlow's do for float images. For 8-bit images TensorFlow also saturates
    and rounds; saturating is `input.clip`, rounding to whole grey levels is not reproduced.

    Args:
        images: Images, shape (B, C, H, W).
        factor: Contrast factor; 1 leaves the images unchanged.

    >>> adjust_contrast(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2.0).tolist()
    [[[[-0.5, 1.5], [3.5, 5.5]]]]
    """
    mean = images.mean(dim=(2, 3), keepdim=True)
    return (images - mean) * factor + mean


def standardise(images: Tensor) -> Tensor:
    """Give each image zero mean and unit variance over all its pixels and channels, shape (B, C, H, W).

    A deviation below one grey level of 255 counts as one, so that an empty image becomes zero, not noise.

    >>> standardise(torch.tensor([[[[0.0, 1.0]]]])).tolist()
    [[[[-1.0, 1.0]]]]
    """
    centred = images - images.mean(dim=(1, 2, 3), keepdim=True)
    deviation = (centred**2).mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return centred / deviation.clamp(min=_GREY_LEVEL)


class PixelTransform(nn.Module):
    """Scale to [0, 1], equalise, change contrast, resize, spread grey over channels, normalise."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: TransformSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        """Map raw pixels (B, H, W) or (B, H, W, 3), any number type, to float32 (B, C, size, size)."""
        spec = self.spec
        images = raw.to(torch.float32) / spec.max_value
        images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)
        if spec.clahe is not None:
            images = equalise(images, clip_limit=spec.clahe, grid=spec.clahe_grid)
        if spec.contrast != 1.0:
            images = adjust_contrast(images, spec.contrast)
            if spec.clip:
                images = images.clamp(0.0, 1.0)
        size = (spec.size_px, spec.size_px)
        images = F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
        if images.shape[1] == 1 and spec.channels == 3:
            images = images.repeat(1, 3, 1, 1)
        if spec.standardises:
            images = standardise(images)
        if spec.mean:
            images = (images - self.mean) / self.std
        return images


def input_side(config: TrialConfig, backbone: Backbone, image_shape: tuple[int, ...]) -> int:
    """Side of a configuration's square input, in pixels: the configured one, else `default_side`.

    Raises:
        ConfigError: If the configured side is below the backbone's smallest.
    """
    wanted = config.input.size_px
    if wanted is not None and wanted < backbone.min_size_px:
        raise ConfigError(f"input.size_px={wanted}: {backbone.name} needs at least {backbone.min_size_px}")
    return wanted or default_side(backbone, image_shape)


def default_side(backbone: Backbone, image_shape: tuple[int, ...]) -> int:
    """Side of the input in pixels when the configuration leaves it open.

    It is the image's own longer side, but not above the size that the weights were trained at, nor below the
    smallest that the backbone accepts.
    """
    return max(backbone.min_size_px, min(backbone.size_px, max(image_shape[:2])))


def transform_spec(
    config: TrialConfig, backbone: Backbone, image_shape: tuple[int, ...], max_value: float, *, is_test: bool
) -> TransformSpec:
    """Derive the transform of a trial.

    Args:
        config: The trial.
        backbone: Backbone of the trial, with the normalisation that its weights expect.
        image_shape: Shape (H, W) or (H, W, 3) of the raw images.
        max_value: Raw value that becomes 1.0.
        is_test: True for the contrast of validation, test and export.

    Raises:
        ConfigError: If the size is too small, or a channel adapter meets RGB images or scaled pixels.
    """
    image_channels = 3 if len(image_shape) == 3 else 1
    adapts = config.model.channels == "conv1x1"
    if adapts and (image_channels == 3 or backbone.channels != 3):
        raise ConfigError(
            f"model.channels=conv1x1 leads from grey images to an RGB backbone; here the images have "
            f"{image_channels} channel(s) and {backbone.name} takes {backbone.channels or 'any'}"
        )
    if adapts and config.input.scaling not in ("auto", "unit"):
        raise ConfigError(
            "model.channels=conv1x1 starts from pixels in [0, 1] and learns its own scaling; found "
            f"input.scaling={config.input.scaling}; set it to auto or unit, or model.channels to replicate"
        )
    channels = 1 if adapts else backbone.channels or image_channels
    mean, std = _normalisation(config, backbone, channels)
    clahe = config.input.clahe
    return TransformSpec(
        max_value=max_value,
        contrast=config.input.contrast_at_test if is_test else config.input.contrast,
        clip=config.input.clip,
        size_px=input_side(config, backbone, image_shape),
        channels=channels,
        mean=mean,
        std=std,
        standardises=config.input.scaling == "standardise",
        clahe=clahe,
        # Without equalisation the grid has no effect, so it must not make two keys differ.
        clahe_grid=_GRID if clahe is None else config.input.clahe_grid,
    )


def _normalisation(config: TrialConfig, backbone: Backbone, channels: int) -> _Normalisation:
    """Mean and standard deviation, for pixels in [0, 1], that realise `input.scaling`."""
    is_normalised = backbone.has_imagenet_weights and config.model.channels != "conv1x1"
    centre = config.input.centre * _GREY_LEVEL
    found: dict[str, _Normalisation] = {
        "auto": (backbone.mean, backbone.std) if is_normalised else ((), ()),
        "unit": ((), ()),
        "raw": ((0.0,), (_GREY_LEVEL,)),
        "centred": ((centre,), (_GREY_LEVEL,)),
        "centred_scaled": ((centre,), (1.0,)),
        "imagenet": _IMAGENET if channels == 3 else _IMAGENET_GREY,
        "standardise": ((), ()),
    }
    return found[config.input.scaling]
