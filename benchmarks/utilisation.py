"""How busy the device is while trials of several kinds run, one after the other.

    python -m benchmarks.utilisation [--device cpu|cuda] [--patients 60] [--json FILE]

Each kind runs on the phantom, four folds, as a worker of a search runs it: features from a cold store, all
epochs, predictions; `benchmarks.device_watch` says what "busy" means. Images a second are images times folds
times epochs, trained, over the wall time of the trial.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.device_watch import DeviceWatch
from results.scores.metrics import scores
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import select_rows, store_patch_set
from trainables.data.phantom import make_phantom
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.models.weights import take_inventory
from trainables.runtime.memory import PeakMemory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.factory import open_validation

TASK: Final = "benign_malignant"
BACKBONES: Final = ("efficientnet_lite0", "scratch4", "intensity", "texture")  # whose weights are installed
_LITE0: Final = {"model.backbone": "efficientnet_lite0", "model.head.hidden": [64]}
_SCRATCH: Final = {
    "model.backbone": "scratch4",
    "model.weights": "random",
    "model.trained_stages": "all",
    "training.average_views": False,
}
KINDS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("frozen, cold store", {**_LITE0, "training.epochs": 10}),
    ("frozen, warm store", {**_LITE0, "model.head.dropout": 0.2, "training.epochs": 10}),
    ("last block trains", {**_LITE0, "model.trained_stages": 1, "training.epochs": 3}),
    ("from pixels", {**_SCRATCH, "training.epochs": 3}),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What a kind of trial took.

    Attributes:
        kind: Its name.
        seconds: Wall time of the trial.
        busy: Share of the time in [0, 1] in which the device worked; None if the driver does not say.
        idle: Share of the time in [0, 1] in which it did next to nothing; None likewise.
        images_a_second: Images trained a second, counted once for each fold and epoch.
        peak_mib: Peak of the device's memory in MiB; None if it is not known.
    """

    kind: str
    seconds: float
    busy: float | None
    idle: float | None
    images_a_second: float
    peak_mib: float | None


def phantom_material(store: Path, patients: int, device: torch.device) -> tuple[TrainingData, TrialRuntime]:
    """Make a phantom and split it; returns it and what trials on it share, as a worker of a search has it.

    Args:
        store: Folder for data and features.
        patients: Number of patients.
        device: Device that trials compute on.
    """
    task = task_named(TASK)
    patches = store_patch_set(make_phantom(patients=patients), store / "data")
    chosen = select_rows(patches, task)
    split = make_split(chosen, fingerprint=patches.fingerprint, task=TASK, folds=4, test_share=0.0, seed=0)
    usable = take_inventory(BACKBONES, weights_dir=None, may_download=False).usable
    return training_data_of(patches, task, split), TrialRuntime(store, device, usable)


def measured(kind: str, settings: dict[str, Any], data: TrainingData, runtime: TrialRuntime) -> Row:
    """Run a trial of one kind and measure it."""
    config = decode(settings)
    peak = PeakMemory(runtime.device)
    with DeviceWatch(runtime.device, cores=torch.get_num_threads()) as watch:
        run = open_validation(config, data, runtime, seed=0, score=scores, metric="auc")
        while not run.is_over:
            run.epoch()
    used = peak.use()
    folds = int(data.folds.max()) + 1
    trained = len(data.rows) * (folds - 1) * config.training.epochs
    peak_mib = used.peak_bytes / 2**20 if used else None
    return Row(kind, watch.seconds, watch.busy, watch.idle, trained / watch.seconds, peak_mib)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--patients", type=int, default=60, help="of the phantom (default: 60)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    rows = []
    print("| trial | seconds | device busy | idle | images/s | peak, MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        data, runtime = phantom_material(Path(folder), arguments.patients, device)
        for kind, settings in KINDS:
            rows.append(measured(kind, settings, data, runtime))
            print(_line(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def share_text(share: float | None) -> str:
    """Return a share as text, such as `35%`; None says that it is not known."""
    return "not known" if share is None else f"{share:.0%}"


def _line(row: Row) -> str:
    peak = "not known" if row.peak_mib is None else f"{row.peak_mib:,.0f}"
    shares = f"{share_text(row.busy)} | {share_text(row.idle)}"
    return f"| {row.kind} | {row.seconds:.1f} | {shares} | {row.images_a_second:,.0f} | {peak} |"


if __name__ == "__main__":
    main()
