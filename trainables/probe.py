"""What a backbone costs on this machine, measured on a few images before a search starts."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from trainables.config import TrialConfig
from trainables.evaluation import assemble_part
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
        training: One training step, by number of trained stages; "all" trains from pixels.
    """

    forward: float
    training: dict[int | str, float]


def measure_cost(
    backbone: Backbone,
    *,
    size_px: int,
    channels: int,
    weights: WeightsFile | None,
    depths: tuple[int | str, ...],
    device: torch.device,
) -> Cost:
    """Time a forward pass and one training step for each depth, on random pixels.

    Args:
        backbone: From the registry.
        size_px: Side of the input.
        channels: Of the images, 1 or 3.
        weights: Pretrained file, or None.
        depths: Numbers of trained stages to time, apart from 0, whose head costs next to nothing.
        device: Where trials will run.
    """
    channels = backbone.channels or channels
    stages = build_stages(backbone, channels=channels, weights=weights)
    body = in_channels_last(torch.nn.Sequential(stages).eval().to(device))
    pixels = torch.rand(_BATCH, channels, size_px, size_px, device=device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    body = folded(body, pixels)
    with torch.inference_mode():
        forward = _seconds(lambda: body(pixels), device)
    training = {
        depth: _training_cost(backbone, depth, size_px, channels, device) for depth in depths if depth
    }
    return Cost(forward / _BATCH, training)


def _training_cost(
    backbone: Backbone, depth: int | str, size_px: int, channels: int, device: torch.device
) -> float:
    config = TrialConfig.model_validate(
        {
            "model": {
                "backbone": backbone.name,
                "weights": "random" if depth == "all" else "imagenet",
                "trained_stages": depth,
            }
        }
    )
    shape: tuple[int, ...] = (channels, size_px, size_px)
    if isinstance(depth, int):
        before = backbone.stage_names[-1 - depth]
        shape = feature_shapes(backbone.name, channels, size_px)[before]
    part = assemble_part(config, shape, weights=None, image_channels=channels, classes=2).to(device).train()
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


def trial_seconds(cost: Cost, depth: int | str, *, images: int, folds: int, epochs: int, views: int) -> float:
    """Expected time of a trial that trains stages, if it uses all its epochs.

    Args:
        cost: Measured.
        depth: Number of trained stages, or "all".
        images: In the training part.
        folds: Number of folds.
        epochs: Largest number of epochs.
        views: Views averaged at prediction.

    >>> round(trial_seconds(Cost(0.01, {"all": 0.03}), "all", images=100, folds=4, epochs=10, views=1), 1)
    100.0
    """
    step = cost.training[depth]
    return epochs * images * ((folds - 1) * step + views * step / 3)
