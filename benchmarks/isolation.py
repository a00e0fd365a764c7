"""Memory that a trial leaves behind in its worker: folds side by side, or a process for each fold.

    python -m benchmarks.isolation [--backbone resnet50] [--folds 4] [--epochs 2] [--json FILE]

Each side is a fresh process that works like a Ray worker: it opens a small set of images, runs one trial,
writes its weights, and releases it. Its resident memory is read before the trial, at its peak, and after it.
The isolated side also reports its fork server and the process of its largest fold; of the server only memory
that it shares with no other process counts. The machine's allocator decides how much freed memory comes back.
"""

import argparse
import gc
import json
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from results.scores.metrics import scores
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import RawPatches, select_rows, store_patch_set
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.runtime.checkpoint import write_fold_weights
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.factory import open_validation

_IMAGES, _SIDE = 64, 64
_TASK: Final = "benign_malignant"
_MIB: Final = 2**20
_SIDES: Final = ("side by side", "a process each")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet50", help="trained as a whole (default: resnet50)")
    parser.add_argument("--folds", type=int, default=4, help="of the trial (default: 4)")
    parser.add_argument("--epochs", type=int, default=2, help="of the trial (default: 2)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    found = {
        side: _measured(arguments.backbone, arguments.folds, arguments.epochs, isolated=side == _SIDES[1])
        for side in _SIDES
    }
    together, apart = found.values()
    difference = float(np.abs(np.array(together.pop("predictions")) - apart.pop("predictions")).max())
    print(
        f"{arguments.backbone} trained as a whole, {arguments.folds} folds, {arguments.epochs} epochs of "
        f"{_IMAGES} images of {_SIDE} px\nMiB resident{'':21}{_SIDES[0]:>14}{_SIDES[1]:>16}"
    )
    for name in together:
        print(f"  {name:30}{together[name]:>15.0f}{apart[name]:>16.0f}")
    grown = [one["worker, trial gone"] - one["worker, before"] for one in found.values()]
    peaks = [one["worker, peak"] + one["fold's process, peak"] for one in found.values()]
    print(
        f"left in the worker: {grown[0]:.0f} against {grown[1]:.0f} MiB, {grown[0] / max(grown[1], 1):.0f} "
        f"times as much side by side\nworker and fold at their peaks: {peaks[0]:.0f} against "
        f"{peaks[1]:.0f} MiB, {peaks[0] / peaks[1]:.1f} times\ntime: {together['seconds']:.1f} against "
        f"{apart['seconds']:.1f} s; predictions differ by at most {difference:.1e}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def _measured(backbone: str, folds: int, epochs: int, *, isolated: bool) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, backbone, folds, epochs, isolated))
    process.start()
    theirs.close()
    found: dict[str, Any] = ours.recv()
    process.join()
    return found


def _work(pipe: Connection, backbone: str, folds: int, epochs: int, isolated: bool) -> None:
    """Work of a worker process: run one trial and send the measured memory."""
    torch.set_num_threads(1)
    config = decode(
        {
            "model.backbone": backbone,
            "model.weights": "random",
            "model.trained_stages": "all",
            "training.epochs": epochs,
            "training.average_views": False,
            "training.batch_size": 16,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        training_data = _material(Path(folder), folds)
        runtime = TrialRuntime(Path(folder), torch.device("cpu"), {backbone: None}, fusion="sequential")
        found: dict[str, Any] = {"worker, before": _status("VmRSS")}
        begun = time.perf_counter()
        trial = open_validation(
            config, training_data, runtime, seed=0, score=scores, metric="auc", isolated=isolated
        )
        while not trial.is_over:
            trial.epoch()
        best, memory = trial.best, trial.child_peak_memory
        if best is None:
            raise RuntimeError("a trial that is over has a best epoch")
        write_fold_weights(Path(folder) / "weights", best.weights)
        seconds, predictions = time.perf_counter() - begun, best.probabilities
        del trial, best
        gc.collect()
        found["worker, peak"] = _status("VmHWM")
        found["worker, trial gone"] = _status("VmRSS")
        found["fork server, its own"] = _own(_fork_server()) if isolated else 0.0
        found["fold's process, peak"] = memory.peak_bytes / _MIB if memory else 0.0
        found["seconds"] = seconds
        found["predictions"] = predictions
    pipe.send(found)


def _material(folder: Path, folds: int) -> TrainingData:
    random, task = np.random.default_rng(0), task_named(_TASK)
    images = random.integers(0, 65536, (_IMAGES, _SIDE, _SIDE)).astype(np.uint16)
    stored = store_patch_set(RawPatches(images, np.arange(_IMAGES) % 2, "task"), folder / "data")
    rows = select_rows(stored, task)
    split = make_split(rows, fingerprint=stored.fingerprint, task=_TASK, folds=folds, test_share=0.0, seed=0)
    return training_data_of(stored, task, split)


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"this system does not tell {field}")


def _fork_server() -> int:
    """Process id of the fork server."""
    for child in Path("/proc/self/task").glob("*/children"):
        for process in child.read_text().split():
            if b"multiprocessing.forkserver" in Path(f"/proc/{process}/cmdline").read_bytes():
                return int(process)
    raise RuntimeError("no fork server runs")


def _own(process: int) -> float:
    """Memory of a process that it shares with no other, in MiB."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024


if __name__ == "__main__":
    main()
