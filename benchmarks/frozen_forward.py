"""Speed of frozen stages on one CPU core: as published, folded, and in ONNX Runtime, by batch size.

    python -m benchmarks.frozen_forward [--backbone NAME] [--side PIXELS] [--json FILE]

It counts CPU seconds, so that other work on the machine disturbs little; weights are random. All compute the
same features. The last lines give the cost of an export and the number of images from which it pays.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from trainables.features.executor import TorchStages, multiply_adds
from trainables.features.onnx_stages import OnnxStore
from trainables.models.registry import backbone_named
from trainables.models.weights import build_stages

BATCHES, ROUNDS = (1, 4, 8, 32), 5
Run = Callable[[Tensor], Tensor]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stages = build_stages(backbone_named(arguments.backbone), channels=3, weights=None)
    body = torch.nn.Sequential(stages).eval().requires_grad_(False)
    pixels = torch.randn(max(BATCHES), 3, arguments.side, arguments.side)
    deepest = list(stages)[-1:]
    folded = TorchStages(stages, pixels[:4])
    start = time.process_time()
    exported = OnnxStore(None, stages, tuple(pixels.shape[1:])).open(folded.stages, pixels[:4])
    export_seconds = time.process_time() - start
    runs: dict[str, Run] = {
        "as published": body,
        "folded": lambda images: folded(images, deepest)[deepest[0]],
        "ONNX Runtime": lambda images: exported(images, deepest)[deepest[0]],
    }
    with torch.inference_mode():
        rates = {name: {size: _rate(run, pixels[:size]) for size in BATCHES} for name, run in runs.items()}
        truth = body(pixels[:4])
        errors = {
            name: float((run(pixels[:4]) - truth).abs().max() / truth.abs().max())
            for name, run in runs.items()
        }
    print(f"{arguments.backbone}, {arguments.side} px, images a CPU second")
    print(f"{'at a time':14}", *(f"{size:7}" for size in BATCHES), "  largest difference, of the largest")
    for name, by_size in rates.items():
        print(f"{name:14}", *(f"{rate:7.1f}" for rate in by_size.values()), f"  {errors[name]:.0e}")
    saved = 1 / max(rates["folded"].values()) - 1 / max(rates["ONNX Runtime"].values())
    work = multiply_adds(stages, pixels) / 1e9
    print(f"export {export_seconds:.1f} s, saves {saved * 1e3:.1f} ms of {work:.2f} G multiply-adds an image")
    if saved > 0:
        images = export_seconds / saved
        print(f"pays from {images:.0f} images or {images * work:.0f} G multiply-adds on")
    if arguments.json:
        found = {"images_per_cpu_second": rates, "difference": errors, "export_seconds": export_seconds}
        arguments.json.write_text(json.dumps(found, indent=1))


def _rate(run: Run, images: Tensor) -> float:
    """Images per CPU second, in the fastest of some rounds."""
    run(images)
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        run(images)
        times.append(time.process_time() - start)
    return len(images) / min(times)


if __name__ == "__main__":
    main()
