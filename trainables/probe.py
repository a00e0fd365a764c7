"""What a backbone costs on this machine, measured on a few images before a search starts."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from trainables.assembly import assemble_part
from trainables.config import TrialConfig
from trainables.models.stages import Backbone
from trainables.models.weights import WeightsFile, build_stages
from trainables.prefix.compute import in_channels_last
from trainables.prefix.folding import folded
from trainables.prefix.taps import feature_shapes
from trainables.training.losses import weighted_loss

_BATCH = 8


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds an image on one worker.

    Attributes:
        forward: Through all stages, frozen.
        from_pixels: One training step of all stages; None for pretrained backbones.
        last_stage: One training step of the last kept stage, by the stage that is kept last.
    """

    forward: float
    from_pixels: float | None
    last_stage: dict[str, float]


def measure_cost(
    backbone: Backbone, *, size_px: int, channels: int, weights: WeightsFile | None, device: torch.device
) -> Cost:
    """Time a forward pass and the training steps that a search may ask for, on random pixels.

    Nets without pretrained weights train from pixels; the others train their last stage, at each cut level.

    Args:
        backbone: From the registry.
        size_px: Side of the input.
        channels: Of the images, 1 or 3.
        weights: Pretrained file, or None.
        device: Where trials will run.
    """
    channels = backbone.channels or channels
    forward = _forward_cost(backbone, size_px, channels, weights, device)
    if not backbone.has_imagenet_weights:
        model: dict[str, object] = {"weights": "random", "trained_stages": "all"}
        step = _training_cost(backbone, model, (channels, size_px, size_px), device)
        return Cost(forward, step, {})
    shapes = feature_shapes(backbone.name, channels, size_px)
    last_stage = {}
    for level in backbone.levels:
        before = backbone.stage_names[backbone.stage_names.index(level) - 1]
        model = {"cut": level, "trained_stages": 1}
        last_stage[level] = _training_cost(backbone, model, shapes[before], device)
    return Cost(forward, None, last_stage)


def trial_seconds(step: float, *, images: int, folds: int, epochs: int, views: int) -> float:
    """Expected time of a trial that trains stages, if it uses all its epochs.

    Args:
        step: Seconds of a training step, for one image.
        images: In the training part.
        folds: Number of folds.
        epochs: Largest number of epochs.
        views: Views averaged at prediction; a prediction costs a third of a training step.

    >>> round(trial_seconds(0.03, images=100, folds=4, epochs=10, views=1), 1)
    100.0
    """
    return epochs * images * ((folds - 1) * step + views * step / 3)


def _forward_cost(
    backbone: Backbone, size_px: int, channels: int, weights: WeightsFile | None, device: torch.device
) -> float:
    stages = build_stages(backbone, channels=channels, weights=weights)
    body: torch.nn.Module = torch.nn.Sequential(stages).eval().to(device)
    pixels = torch.rand(_BATCH, channels, size_px, size_px, device=device)
    body = in_channels_last(folded(body, pixels))
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        return _seconds(lambda: body(pixels), device) / _BATCH


def _training_cost(
    backbone: Backbone, model: dict[str, object], shape: tuple[int, ...], device: torch.device
) -> float:
    config = TrialConfig.model_validate({"model": {"backbone": backbone.name, **model}})
    image_channels = backbone.channels or shape[0]
    part = assemble_part(config, shape, weights=None, image_channels=image_channels, classes=2)
    part = part.to(device).train()
    optimizer = torch.optim.SGD([p for p in part.parameters() if p.requires_grad], lr=1e-6)
    features = torch.rand(_BATCH, *shape, device=device)
    labels, ones = torch.zeros(_BATCH, dtype=torch.long, device=device), torch.ones(2, device=device)

    def step() -> None:
        optimizer.zero_grad()
        weighted_loss(part(features), labels, ones).backward()
        optimizer.step()

    return _seconds(step, device) / _BATCH


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Shorter of two timed runs, after one to warm up."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])
