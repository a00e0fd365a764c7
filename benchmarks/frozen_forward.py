"""Frozen EfficientNet-Lite0 on one CPU core: as published, with normalisations folded, and in ONNX Runtime.

    python -m benchmarks.frozen_forward [--json FILE]

Counts CPU seconds, so that other work on the machine disturbs little. All three compute the same features.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from trainables.models.registry import backbone_named
from trainables.models.weights import build_stages, find_weights
from trainables.prefix.compute import in_channels_last
from trainables.prefix.folding import folded

IMAGES, SIDE = 16, 224


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    weights = find_weights("efficientnet_lite0", weights_dir=None, may_download=False)
    stages = build_stages(backbone_named("efficientnet_lite0"), channels=3, weights=weights)
    body = torch.nn.Sequential(stages).eval().requires_grad_(False)
    pixels = torch.randn(IMAGES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    last = pixels.contiguous(memory_format=torch.channels_last)
    session = _session(body, pixels)
    faster = in_channels_last(folded(body, pixels))
    body = in_channels_last(body)
    runs: dict[str, Callable[[], np.ndarray]] = {
        "as published": lambda: body(last).numpy(),
        "folded": lambda: faster(last).numpy(),
        "ONNX Runtime": lambda: session.run(None, {session.get_inputs()[0].name: pixels.numpy()})[0],
    }
    with torch.inference_mode():
        rates = {name: IMAGES / _cpu_seconds(run) for name, run in runs.items()}
        truth = runs["as published"]()
        errors = {name: float(np.abs(run() - truth).max()) for name, run in runs.items()}
    for name, rate in rates.items():
        ratio = rate / rates["as published"]
        print(f"{name:14} {rate:6.1f} images/s  {ratio:5.2f}x  largest difference {errors[name]:.0e}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"images_per_cpu_second": rates, "difference": errors}, indent=1)
        )


def _session(body: torch.nn.Module, pixels: torch.Tensor) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.onnx"
        torch.onnx.export(body, (pixels,), dynamo=True, verbose=False).save(path)
        return onnxruntime.InferenceSession(path, options)


def _cpu_seconds(run: Callable[[], np.ndarray]) -> float:
    """Shortest of five runs, after one to warm up."""
    run()
    times = []
    for _ in range(5):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


if __name__ == "__main__":
    main()
