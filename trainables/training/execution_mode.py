"""Choice between fused and sequential execution of a trial's models, measured once per shape and stored.

The two agree up to the order of summation, so the choice decides speed only. It is stored, since a timed
choice that changed from run to run would change the last digits of a repeated search.
"""

import contextlib
import copy
import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from trainables.common.files import write_atomically
from trainables.common.processor import processor_name
from trainables.common.types import IntArray
from trainables.config.fine_tuning_config import FineTuningConfig
from trainables.config.trial_config import TrialConfig
from trainables.data.training_data import TrainingData
from trainables.models.stages import TrainedPart
from trainables.runtime.memory import is_out_of_memory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.assembly import build_part
from trainables.training.fused import FusedModels, can_fuse
from trainables.training.random_streams import RandomStreams
from trainables.training.sequential import ExecutionMode, SequentialModels, TrainingInputs

_STEPS: Final = 4
_MARGIN: Final = 0.95  # fused must be this much faster: a tie goes to what needs less memory


def choose_mode(
    config: TrialConfig, shape: tuple[int, ...], runtime: TrialRuntime, training_data: TrainingData
) -> ExecutionMode:
    """Choose the execution mode of a trial's models on this machine.

    Args:
        config: The trial.
        shape: Shape of one image's features, (D,) or (C, H, W).
        runtime: Runtime settings; `fusion` decides unless it is `auto`.
        training_data: The training part.
    """
    models = (int(training_data.folds.max()) + 1) * config.training.repeats
    if models == 1 or runtime.fusion == "sequential":
        return "sequential"
    if runtime.fusion == "auto" and _has_stages(config) and runtime.device.type == "cpu":
        return "sequential"  # grouped convolutions are slower on a CPU core: python -m benchmarks.fusion
    with torch.random.fork_rng(devices=()):
        part = build_part(config, shape, runtime, training_data, classes=training_data.classes).to(
            runtime.dtype
        )
    if not can_fuse(part):
        return "sequential"
    if runtime.fusion == "fused":
        return "fused"
    kept = runtime.store / "fusion" / f"{_key(config, shape, models, runtime.device)}.json"
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError, KeyError):
        return _as_mode(json.loads(kept.read_text())["how"])
    seconds = _measure(part, config, shape, models, runtime.device)
    mode: ExecutionMode = "fused" if seconds["fused"] < _MARGIN * seconds["sequential"] else "sequential"
    if all(map(math.isfinite, seconds.values())):  # memory may be short only now
        with contextlib.suppress(OSError):  # a read-only store only costs the measurement again
            write_atomically(kept, json.dumps({"how": mode, "seconds_per_step": seconds}))
    return mode


@dataclass(frozen=True, slots=True)
class _Blank:
    """Blank features to measure on."""

    batch: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.batch.shape[1:])

    def for_training(
        self, positions: IntArray, generators: Sequence[torch.Generator], *, augmented: bool = True
    ) -> Tensor:
        return self.batch.repeat(len(positions), *[1] * self.batch.dim())

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        yield self.batch.repeat(-(-len(positions) // len(self.batch)), *[1] * len(self.shape))


def _measure(
    part: TrainedPart, config: TrialConfig, shape: tuple[int, ...], models: int, device: torch.device
) -> dict[str, float]:
    """Seconds of a training step and a prediction in each mode; infinite where memory does not suffice."""
    size = config.training.batch_size
    dtype = next(part.parameters()).dtype
    blank = _Blank(torch.zeros(size, *shape, dtype=dtype, device=device))
    labels = torch.zeros(size, dtype=torch.long, device=device)
    weights = torch.ones(models, 2, dtype=dtype, device=device)
    positions = np.tile(np.arange(size), (models, 1))
    seconds = {}
    kinds: dict[str, Any] = {"sequential": SequentialModels, "fused": FusedModels}
    for mode, kind in kinds.items():
        streams = [RandomStreams.seeded(model, device) for model in range(models)]
        try:
            parts = [copy.deepcopy(part) for _ in range(models)]
            side_input = None if config.model.type_input == "none" else labels.unsqueeze(1).to(dtype)
            run = kind(parts, TrainingInputs(config, blank, labels, weights, streams, side_input), device)
            seconds[mode] = _seconds(run, positions, device)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            seconds[mode] = float("inf")
    return seconds


def _seconds(run: Any, positions: IntArray, device: torch.device) -> float:
    """Shortest of a few steps in seconds, after one to warm up."""
    # Processor time leaves out other processes of the machine, but it also leaves out the work of a GPU.
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    times = []
    for _ in range(1 + _STEPS):
        start = clock()
        run.train_step(positions, active=[True] * len(positions))
        run.predict(positions)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - start)
    return min(times[1:])


def _has_stages(config: TrialConfig) -> bool:
    return config.model.trained_stages != 0 or config.model.channels == "conv1x1"


def _key(config: TrialConfig, shape: tuple[int, ...], models: int, device: torch.device) -> str:
    """Name of a stored measurement: a hash of everything that its outcome can depend on."""
    facts: dict[str, Any] = {
        "machine": torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "model": config.model.model_dump(mode="json"),
        "optimizer": config.optimizer.name,
        "batch_size": config.training.batch_size,
        "augmentation": [config.training.feature_noise > 0, config.training.feature_dropout > 0],
        "shape": shape,
        "models": models,
    }
    if config.fine_tuning != FineTuningConfig():  # else as in earlier versions
        facts["fine_tuning"] = config.fine_tuning.model_dump(mode="json")
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _as_mode(text: str) -> ExecutionMode:
    return "fused" if text == "fused" else "sequential"
