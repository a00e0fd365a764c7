"""One training step of a head on one CPU core, with torch's default Adam and with its fused one.

python -m benchmarks.adam_step
"""

import time

import torch
from torch import nn

STEPS = 30


def main() -> None:
    """Measure the times and print them."""
    torch.set_num_threads(1)
    for features, units in ((1280, 256), (15680, 512)):
        default, fused = (_cpu_milliseconds(features, units, fused=choice) for choice in (False, True))
        print(
            f"head {features} -> {units} -> 1: {default:.2f} ms, fused {fused:.2f} ms, {default / fused:.2f}x"
        )


def _cpu_milliseconds(features: int, units: int, *, fused: bool) -> float:
    head = nn.Sequential(nn.Linear(features, units), nn.ReLU(), nn.Linear(units, 1))
    optimizer = torch.optim.Adam(head.parameters(), fused=fused)
    batch = torch.randn(32, features)

    def step() -> None:
        optimizer.zero_grad()
        head(batch).sum().backward()
        optimizer.step()

    step()
    start = time.process_time()
    for _ in range(STEPS):
        step()
    return (time.process_time() - start) / STEPS * 1e3


if __name__ == "__main__":
    main()
