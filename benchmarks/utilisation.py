"""How busy the device is while trials of several kinds run, one after the other.

    python -m benchmarks.utilisation [--device cpu|cuda] [--patients 60] [--json FILE]

Each kind runs on the phantom, four folds, as a worker of a search runs it: features from a cold store, all
epochs, predictions. On a GPU its utilisation is asked of the driver five times a second: the share of time in
which a kernel ran, not how much of the card it filled. On a CPU the column is processor time over wall time
and cores. Images a second are images times folds times epochs, trained, over the wall time of the trial.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

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

_TASK: Final = "benign_malignant"
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
        images_a_second: Images trained a second, counted once for each fold and epoch.
        peak_mib: Peak of the device's memory in MiB; None if it is not known.
    """

    kind: str
    seconds: float
    busy: float | None
    images_a_second: float
    peak_mib: float | None


class Watch:
    """Measures how busy a device is between `with` and its end.

    Args:
        device: The device that trials compute on.

    Attributes:
        seconds: Wall time.
        busy: Share in [0, 1]; None if the driver does not say.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0
        self.busy: float | None = None
        self._stop = threading.Event()
        self._seen: list[float] = []

    def __enter__(self) -> "Watch":
        self._began, self._processor = time.perf_counter(), time.process_time()
        if self.device.type == "cuda":
            self._thread = threading.Thread(target=self._look, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        if self.device.type == "cuda":
            self._stop.set()
            self._thread.join()
            self.busy = sum(self._seen) / len(self._seen) / 100 if self._seen else None
        else:
            self.busy = (time.process_time() - self._processor) / self.seconds / torch.get_num_threads()

    def _look(self) -> None:
        tool = shutil.which("nvidia-smi")
        while tool and not self._stop.wait(0.2):
            query = [tool, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
            asked = subprocess.run(query, capture_output=True, text=True, check=False)
            number = asked.stdout.strip().splitlines()[:1]
            if number and number[0].strip().isdigit():
                self._seen.append(float(number[0]))


def measured(kind: str, settings: dict[str, Any], data: TrainingData, runtime: TrialRuntime) -> Row:
    """Run a trial of one kind and measure it."""
    config = decode(settings)
    peak = PeakMemory(runtime.device)
    with Watch(runtime.device) as watch:
        run = open_validation(config, data, runtime, seed=0, score=scores, metric="auc")
        while not run.is_over:
            run.epoch()
    used = peak.use()
    folds = int(data.folds.max()) + 1
    trained = len(data.rows) * (folds - 1) * config.training.epochs
    return Row(
        kind, watch.seconds, watch.busy, trained / watch.seconds, used.peak_bytes / 2**20 if used else None
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--patients", type=int, default=60, help="of the phantom (default: 60)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    rows = []
    print("| trial | seconds | device busy | images/s | peak, MiB |\n| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        store, task = Path(folder), task_named(_TASK)
        patches = store_patch_set(make_phantom(patients=arguments.patients), store / "data")
        chosen = select_rows(patches, task)
        split = make_split(
            chosen, fingerprint=patches.fingerprint, task=_TASK, folds=4, test_share=0.0, seed=0
        )
        data = training_data_of(patches, task, split)
        usable = take_inventory(
            ("efficientnet_lite0", "scratch4"), weights_dir=None, may_download=False
        ).usable
        runtime = TrialRuntime(store, device, usable)
        for kind, settings in KINDS:
            rows.append(measured(kind, settings, data, runtime))
            print(_line(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def _line(row: Row) -> str:
    busy = "not known" if row.busy is None else f"{row.busy:.0%}"
    peak = "not known" if row.peak_mib is None else f"{row.peak_mib:,.0f}"
    return f"| {row.kind} | {row.seconds:.1f} | {busy} | {row.images_a_second:,.0f} | {peak} |"


if __name__ == "__main__":
    main()
