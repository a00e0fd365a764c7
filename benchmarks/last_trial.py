"""The last long trial of a search, with the other workers idle and with its folds on them.

    python -m benchmarks.last_trial [--workers 2] [--folds 4] [--epochs 60] [--size 64] [--rounds 2]
        [--json FILE]

A search of one trial that trains all its stages from pixels of the phantom, by the command line: with one
worker, and with more of them, of which all but the first are idle. In each round both run, one after the
other. Seconds are those of the trial, in its record; a worker that helps starts while the trial goes on.
Nothing else should run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from results.run.run_folder import RunFolder

_HELD = (
    "model.backbone=scratch4",
    "model.trained_stages=all",
    "model.cut=top",
    "model.also=none",
    "classical.name=none",
    "training.patience=null",
    "training.average_views=false",
    "training.augmentation=none",
    "training.batch_size=32",
    "optimizer.name=sgd",
    "optimizer.lr=0.001",
)


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of the trial with one worker and with more, and the largest difference of its mean losses."""

    alone: float
    shared: float
    difference: float


def trial(folder: Path, name: str, workers: int, asked: argparse.Namespace) -> tuple[float, np.ndarray]:
    """Run the search; returns the seconds of its trial, and its losses, of shape (epochs,)."""
    settings = [*_HELD, f"training.epochs={asked.epochs}", f"input.size_px={asked.size}"]
    command = [sys.executable, "-m", "orchestrator.cli.main", "search", "benign_malignant", "--offline"]
    command += ["--address", "local", "--trials", "1", "--workers", str(workers), "--cpus-per-trial", "1"]
    command += ["--sampler", "random", "--pruner", "none", "--folds", str(asked.folds), "--no-pictures"]
    command += ["--no-audit", "--trial-minutes", "600", "--name", name]
    command += [part for setting in settings for part in ("--set", setting)]
    subprocess.run([*command, "--quiet"], cwd=folder, check=True)
    (record,) = RunFolder(folder / "runs" / "benign_malignant" / name).records()
    return record.wall_seconds, np.array(record.losses)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rounds = []
    print(f"| round | one worker, s | {asked.workers} workers, s | times as fast | difference of losses |")
    print("| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.rounds):
            alone, losses = trial(Path(folder), f"alone-{number}", 1, asked)
            shared, others = trial(Path(folder), f"shared-{number}", asked.workers, asked)
            found = Round(alone, shared, float(np.abs(losses - others).max()))
            rounds.append(found)
            cells = f"{alone:.0f} | {shared:.0f} | {alone / shared:.2f} | {found.difference:.0e}"
            print(f"| {number + 1} | {cells} |", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(own) for own in rounds], indent=1))


if __name__ == "__main__":
    main()
