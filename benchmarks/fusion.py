"""Folds of a trial trained as one batched computation, against one after the other.

    python -m benchmarks.fusion [--device cpu|cuda] [--images 120] [--epochs 3] [--json FILE]

Both sides train the same models on the same draws; the last column is how far their predictions lie apart
after the epochs that were timed, in single precision. On a CPU processor seconds are counted, so that other
work on the machine disturbs little.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from trainables.config.trial_config import TrialConfig, decode
from trainables.features.batches import StoredFeatures
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.assembly import assemble_part
from trainables.training.folds import FoldData, Folds
from trainables.training.sequential import ExecutionMode

FOLDS = 4
_HEAD: Final = {"model.backbone": "efficientnet_lite0", "model.head.dropout": 0.2}
_STAGE: Final = {**_HEAD, "model.trained_stages": 1, "model.head.hidden": "64"}
_SCRATCH: Final = {"model.backbone": "scratch4", "model.weights": "random", "model.trained_stages": "all"}


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Attributes:
        name: Description of the trained layers.
        settings: Settings of the trial.
        shape: Shape of one image's features.
    """

    name: str
    settings: dict[str, Any]
    shape: tuple[int, ...]


CASES: Final = (
    Case("linear head, 1280 features", {**_HEAD, "model.head.hidden": "none"}, (1280,)),
    Case("head of 64", {**_HEAD, "model.head.hidden": "64"}, (1280,)),
    Case("head of 256", {**_HEAD, "model.head.hidden": "256"}, (1280,)),
    Case(
        "head of 256, batches of 128",
        {**_HEAD, "model.head.hidden": "256", "training.batch_size": 128},
        (1280,),
    ),
    Case("head of 512-256", {**_HEAD, "model.head.hidden": "512-256"}, (1280,)),
    Case(
        "head of 256 on a 4x4x512 map",
        {**_HEAD, "model.head.hidden": "512", "model.head.pooling": "flatten"},
        (512, 4, 4),
    ),
    Case("last block of Lite0", _STAGE, (320, 5, 5)),
    Case("last two blocks of Lite0", {**_STAGE, "model.trained_stages": 2}, (192, 5, 5)),
    Case("net from scratch, 64 px", _SCRATCH, (1, 64, 64)),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--images", type=int, default=120, help="an even number (default: 120)")
    parser.add_argument("--epochs", type=int, default=3, help="the fastest counts (default: 3)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.set_num_threads(1)
    what = f"{FOLDS} folds, {arguments.images} images, {_hardware(device)}"
    print(f"{what}; milliseconds an epoch with its evaluation\n")
    print(f"{'what trains':30} {'sequential':>10} {'fused':>8} {'ratio':>6} {'difference':>11}")
    rows = [_measure(case, device, arguments.images, arguments.epochs) for case in CASES]
    if arguments.json:
        arguments.json.write_text(json.dumps({"hardware": _hardware(device), "rows": rows}, indent=1))


def _measure(case: Case, device: torch.device, images: int, epochs: int) -> dict[str, Any]:
    config = decode({**case.settings, "training.epochs": epochs})
    data = _data(case.shape, device, images)
    slow, first = _run(case, config, data, device, "sequential")
    fast, second = _run(case, config, data, device, "fused")
    difference = float(np.abs(first - second).max())
    print(f"{case.name:30} {slow * 1e3:10.1f} {fast * 1e3:8.1f} {slow / fast:5.2f}x {difference:11.0e}")
    return {
        "what": case.name,
        "sequential": slow,
        "fused": fast,
        "ratio": slow / fast,
        "difference": difference,
    }


def _run(
    case: Case, config: TrialConfig, data: FoldData, device: torch.device, mode: ExecutionMode
) -> tuple[float, np.ndarray[Any, Any]]:
    """Seconds of the fastest epoch, and the predictions after the last epoch."""
    torch.manual_seed(0)
    channels = case.shape[0] if config.model.weights == "random" else 3

    def build(fold: int) -> Any:
        return assemble_part(config, case.shape, weights=None, image_channels=channels, classes=2)

    runtime = TrialRuntime(Path(), device, {})
    folds = Folds(config, data, build, seed=0, runtime=runtime, mode=mode)
    times = [_seconds(partial(_epoch, folds, epoch), device) for epoch in range(config.training.epochs)]
    return min(times), folds.predict()


def _epoch(folds: Folds, epoch: int) -> None:
    folds.train_epoch(epoch, active=[True] * FOLDS)
    folds.predict()


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def _data(shape: tuple[int, ...], device: torch.device, images: int) -> FoldData:
    """Random features with a signal; four views for training, one for prediction."""
    random = np.random.default_rng(0)
    labels = np.tile([0, 1], images // 2)
    views = [
        (random.normal(0.0, 1.0, (images, *shape)) + 0.1 * labels.reshape(-1, *[1] * len(shape))).astype(
            np.float16
        )
        for _ in range(4)
    ]
    features = StoredFeatures(views, views[:1], np.arange(images), device)
    rows = np.arange(images)
    return FoldData(features, rows % FOLDS, labels, 2, rows.astype(np.str_))


def _hardware(device: torch.device) -> str:
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"one core of {platform.machine()}"
    )
    return f"{name}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
