"""Measurement of a backbone's compute time on this machine, on a few images, before a search starts."""

import functools
import math
import resource
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from trainables.common.cores import count_cpus
from trainables.common.types import IntArray
from trainables.config.trial_config import TrialConfig
from trainables.features.batches import StoredFeatures
from trainables.features.executor import StageExecutor
from trainables.models.registry import backbone_named
from trainables.models.stages import Backbone, TrainedPart
from trainables.models.taps import feature_shapes
from trainables.models.weights import WeightsFile, build_stages
from trainables.runtime.memory import is_out_of_memory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.assembly import assemble_part
from trainables.training.cost import Cost
from trainables.training.folds import FoldData, Folds
from trainables.training.fused import can_fuse
from trainables.training.losses import weighted_loss
from trainables.training.sequential import ExecutionMode

Clock = Callable[[], float]

_BATCH: Final = 8
_RATE: Final = 1e-6  # of a timed training step, whose result nobody uses
_PASS_BATCH: Final = 2  # on a CPU a search waits for it, and at eight an image takes as long within a tenth
_LONG_ENOUGH: Final = 0.2  # seconds of a run beside which what only the first one does is small
_MOST_IMAGES: Final = 64  # of a probed epoch; the time of more is in proportion


def measure_cost(  # noqa: PLR0913 - what passes, at which sides, how often, and where
    backbone: Backbone,
    *,
    size_px: int,
    channels: int,
    weights: WeightsFile | None,
    device: torch.device,
    images: int = 0,
    cache: Path | None = None,
    larger_px: int | None = None,
) -> Cost:
    """Time a forward pass and the training steps that a search may ask for, on random pixels.

    Nets without pretrained weights train from pixels; the others train their last stage, at each cut level.

    Args:
        backbone: Backbone from the registry.
        size_px: Side of the input, in pixels.
        channels: Channels of the images, 1 or 3.
        weights: Pretrained file, or None.
        device: Device that trials will run on.
        images: Number of images that a search will send through the frozen stages; for many an export pays.
            0 takes an export only if it is there.
        cache: Folder of exported stages.
        larger_px: A larger side at which forward passes are timed, too.
    """
    channels = backbone.channels or channels
    sides = [size_px] if larger_px is None else [size_px, larger_px]
    forward, *more = _forward_costs(backbone, sides, channels, weights, device, images=images, cache=cache)
    if backbone.is_fixed:
        return Cost(forward, None, dict.fromkeys(backbone.levels, math.inf))
    if not backbone.has_imagenet_weights:
        model: dict[str, object] = {"weights": "random", "trained_stages": "all"}
        step = _training_cost(backbone, model, (channels, size_px, size_px), device)
        return Cost(forward, step, {})
    shapes = feature_shapes(backbone.name, channels, size_px)
    stages = build_stages(backbone, channels=channels, weights=None)  # which takes longer than a step of one
    last_stage = {}
    for level in backbone.levels:
        before = backbone.stage_names[backbone.stage_names.index(level) - 1]
        model = {"cut": level, "trained_stages": 1}
        last_stage[level] = _training_cost(backbone, model, shapes[before], device, built=stages)
    return Cost(forward, None, last_stage, larger=None if larger_px is None else (larger_px, more[0]))


def trial_seconds(step: float, *, trained: int, predicted: int, epochs: int, views: int) -> float:
    """Expected time in seconds of a trial that trains stages, if it uses all its epochs.

    Args:
        step: Time of a training step, in seconds per image.
        trained: Number of images that all folds train on in an epoch, counted once per fold.
        predicted: Number of images that all folds predict in an epoch.
        epochs: Largest number of epochs.
        views: Number of views averaged at prediction; a prediction costs a third of a training step.

    >>> round(trial_seconds(0.03, trained=300, predicted=100, epochs=10, views=1), 1)
    100.0
    """
    return epochs * step * (trained + views * predicted / 3)


@dataclass(frozen=True, slots=True)
class EpochCost:
    """Cost of an epoch of all folds on one worker, for a head on stored features.

    Attributes:
        seconds: Time of training and prediction, in seconds.
        parameters: Number of trained weights of one model.
    """

    seconds: float
    parameters: int


def measure_epoch(
    config: TrialConfig,
    shape: tuple[int, ...],
    *,
    folds: IntArray,
    prediction_views: int,
    device: torch.device,
) -> EpochCost:
    """Time an epoch of a configuration's head, with its own batches, folds and optimiser, on blank features.

    Args:
        config: The trial; stages that it trains are not measured.
        shape: Shape of one image's features at the input of the head, (D,) or (C, H, W).
        folds: Fold of each image of the training part, or `TRAINING`, shape (images,); a part of the images
            is measured, and the time scaled up.
        prediction_views: Number of views that a prediction is averaged over.
        device: Device that trials will run on.

    Raises:
        Exception: What says that the memory of the device does not suffice, even for one model at a time.
    """
    # Neither stages nor a layer below them are part of a head, and blank features are not pixels to adapt.
    only_the_head = config.model.model_copy(update={"trained_stages": 0, "channels": "replicate"})
    config = config.model_copy(update={"model": only_the_head})
    measured = min(len(folds), max(_MOST_IMAGES, config.training.batch_size))
    shares = np.sort(folds)[np.linspace(0, len(folds) - 1, measured).round().astype(np.int64)]
    blank = np.zeros((measured, *shape), dtype=np.float16)
    features = StoredFeatures([blank], [blank] * prediction_views, np.arange(measured), device)
    labels = np.arange(measured) % 2
    runtime = TrialRuntime(Path(), device, {})
    side_input = None if config.model.type_input == "none" else labels[:, None].astype(np.float64)
    data = FoldData(features, shares, labels, 2, np.arange(measured).astype(np.str_), side_input)

    def build(fold: int) -> TrainedPart:
        return assemble_part(config, shape, weights=None, image_channels=1, classes=2)

    def measure(mode: ExecutionMode) -> EpochCost:
        run = Folds(config, data, build, seed=0, runtime=runtime, mode=mode)
        seconds = _seconds(lambda: _epoch(run, data.count), device, runs=1)
        return EpochCost(seconds * len(folds) / measured, run.trained_parameters)

    found = []
    if can_fuse(build(0)):
        try:
            found.append(measure("fused"))
        except Exception as error:
            if not is_out_of_memory(error):  # a trial then trains its models one after the other
                raise
    return min([*found, measure("sequential")], key=lambda cost: cost.seconds)


def measure_step(config: TrialConfig, shape: tuple[int, ...], device: torch.device) -> float:
    """Time a training step of all that a configuration trains, in seconds per image.

    Args:
        config: The trial.
        shape: Shape of one image at the input of the trained part, (D,) or (C, H, W).
        device: Device that trials will run on.
    """
    backbone = backbone_named(config.model.backbone)
    # Stages see one image at a time, whatever the head takes in besides; the caller counts both of a pair.
    head = config.model.head.model_copy(update={"branch": ()})
    single = config.model.model_copy(update={"pair": "none", "type_input": "none", "head": head})
    return _training_cost(backbone, single.model_dump(), shape, device)


def measure_crowding(workers: int) -> float:
    """Measure the slowdown of a worker while all work, relative to working alone, from 1 to `workers`.

    Cores that share caches, memory or a physical core slow each other down, and so does other work.

    Args:
        workers: Number of parallel trials.
    """
    if workers == 1:
        return 1.0
    alone, together = (_crowd(count) for count in (1, min(workers, count_cpus())))
    return min(float(workers), max(1.0, together / alone))


def peak_memory_bytes() -> int:
    """Peak resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def clock_on(device: torch.device) -> Clock:
    """Processor time of this thread, if it alone computes: Ray starts beside it, and would count as work.

    On the wall clock the same pass took up to five times as long at some starts, and its net was left out.
    """
    is_alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.thread_time if is_alone else time.perf_counter


def count_gpus() -> int:
    """Number of GPUs that torch can use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _epoch(run: Folds, folds: int) -> None:
    run.train_epoch(0, active=[True] * folds)
    run.predict()


def _crowd(workers: int) -> float:
    """Seconds of some convolutions in `workers` threads; torch releases the interpreter lock meanwhile."""
    body = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU()).eval()
    pixels = torch.rand(_BATCH, 3, 96, 96)

    def work() -> None:
        torch.set_num_threads(1)  # each thread begins with all of them
        with torch.inference_mode():
            for _ in range(2):
                body(pixels)

    def together() -> None:
        crowd = [threading.Thread(target=work) for _ in range(workers)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()

    return _seconds(together, torch.device("cpu"), runs=5, clock=time.perf_counter)


def _forward_costs(
    backbone: Backbone,
    sides: Sequence[int],
    channels: int,
    weights: WeightsFile | None,
    device: torch.device,
    *,
    images: int = 0,
    cache: Path | None = None,
) -> list[float]:
    """Seconds of a forward pass of an image at each side; at the first as the many passes of a search run."""
    stages = build_stages(backbone, channels=channels, weights=weights)
    batch_size = _PASS_BATCH if device.type == "cpu" else _BATCH
    deepest = backbone.stage_names[-1:]
    # A pass of statistics takes milliseconds, so that one which other work has interrupted is no measurement.
    enough = math.inf if backbone.is_fixed else _LONG_ENOUGH

    def run(executor: StageExecutor, pixels: torch.Tensor) -> None:
        for batch in pixels.split(executor.batch_size):
            executor(batch, deepest)

    found = []
    for place, side in enumerate(sides):
        pixels = torch.rand(batch_size, channels, side, side, device=device)
        executor = StageExecutor(stages, pixels, cache=cache)
        executor.expect(0 if place else images)
        executor(pixels[:1], deepest)  # opens a session
        found.append(_seconds(functools.partial(run, executor, pixels), device, enough=enough) / batch_size)
    return found


def _training_cost(
    backbone: Backbone,
    model: dict[str, object],
    shape: tuple[int, ...],
    device: torch.device,
    *,
    built: OrderedDict[str, nn.Module] | None = None,
) -> float:
    config = TrialConfig.model_validate({"model": {**model, "backbone": backbone.name}})
    image_channels = backbone.channels or shape[0]
    part = assemble_part(config, shape, weights=None, image_channels=image_channels, classes=2, built=built)
    part = part.to(device).train()
    trained: list[torch.Tensor] = [one for one in part.parameters() if one.requires_grad]
    features = torch.rand(_BATCH, *shape, device=device)
    labels, ones = torch.zeros(_BATCH, dtype=torch.long, device=device), torch.ones(2, device=device)

    def step() -> None:
        loss = weighted_loss(part(features), labels, ones)
        gradients = torch.autograd.grad(loss, trained)
        with torch.no_grad():  # an optimiser would import torch's compiler, which takes two seconds
            torch._foreach_add_(trained, gradients, alpha=-_RATE)

    return _seconds(step, device, enough=_LONG_ENOUGH) / _BATCH


def _seconds(
    work: Callable[[], object],
    device: torch.device,
    *,
    runs: int = 2,
    enough: float = math.inf,
    clock: Clock | None = None,
) -> float:
    """Shortest of several timed runs in seconds, after one to warm up; one that is long is enough.

    Args:
        work: What is timed.
        device: Where it computes.
        runs: Number of runs.
        enough: Seconds from which one run is enough, on a CPU.
        clock: Returns seconds; None takes `clock_on`.
    """
    clock = clock_on(device) if clock is None else clock
    times = list[float]()
    for _ in range(1 + runs):
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - start)
        if device.type == "cpu" and times[-1] > enough:
            return min(times)
    return min(times[1:])
